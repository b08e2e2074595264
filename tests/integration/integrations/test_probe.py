"""Testing an integration: what is seen of a real neighbour, and how long that may take."""

import asyncio
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from standardwebhooks.webhooks import Webhook

from automation.integrations import credentials, probe
from automation.models import Integration, Json
from automation.settings import Settings
from tests.integration.integrations.conftest import OPEN, Make
from tests.integration.mailbox import Mailbox
from tests.integration.web import Web, response

SECRET = "whsec_" + "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="
LOGIN = {"username": "crm", "password": "hunter2hunter2"}


async def seen_of(prefect: PrefectClient, row: Integration, settings: Settings = OPEN) -> tuple[bool, str]:
    seen: Json = await probe.probe(settings, prefect, row)
    assert seen["duration_ms"] >= 0
    assert "hunter2" not in str(seen)
    return seen["ok"], seen["saw"]


@pytest.mark.parametrize(
    ("status", "ok"), [(200, True), (302, True), (404, True), (405, True), (401, False), (403, False), (500, False)]
)
async def test_an_http_api_is_asked_for_its_head(
    web: Web, make: Make, prefect: PrefectClient, status: int, ok: bool
) -> None:
    web.answers["/api"] = response(status)
    row = await make("http", {"base_url": web.url("/api"), "auth": "bearer"}, {"token": "hunter2hunter2"})

    fine, saw = await seen_of(prefect, row)

    assert (fine, saw.startswith(f"HEAD {web.url('/api')}: {status}")) == (ok, True)
    assert (web.seen[0].method, web.seen[0].headers["authorization"]) == ("HEAD", "Bearer hunter2hunter2")


@pytest.mark.parametrize(("status", "ok"), [(204, True), (404, False)])
async def test_a_probe_path_is_asked_for_instead(
    web: Web, make: Make, prefect: PrefectClient, status: int, ok: bool
) -> None:
    web.answers["/api/ping"] = response(status)
    row = await make("http", {"base_url": web.url("/api"), "probe_path": "ping"})
    assert await seen_of(prefect, row) == (ok, f"GET ping: {status}")


async def test_a_webhook_gets_a_signed_ping(web: Web, make: Make, prefect: PrefectClient) -> None:
    web.answers["/hook"] = response(202)
    row = await make("webhook", {"url": web.url("/hook")}, {"secret": SECRET})

    assert await seen_of(prefect, row) == (True, "automation.ping: 202")

    body = Webhook(SECRET).verify(web.seen[0].body, dict(web.seen[0].headers))
    assert (body["type"], body["data"]) == ("automation.ping", {})


async def test_a_mail_server_is_logged_in_to_and_sent_nothing(
    mailbox: Mailbox, make: Make, prefect: PrefectClient
) -> None:
    row = await make("smtp", {"host": "localhost", "port": mailbox.port, "sender": "shop@example.com"}, LOGIN)

    ok, saw = await seen_of(prefect, row, Settings(egress_allow=("127.0.0.1", "::1")))

    assert (ok, saw) == (True, "NOOP: 250 OK")
    assert (len(mailbox.inbox.logins), mailbox.inbox.envelopes) == (1, [])


async def test_a_database_is_asked_for_one(crm: int, make: Make, prefect: PrefectClient) -> None:
    config = {"host": "127.0.0.1", "port": crm, "database": "crm", "sslmode": "disable"}
    assert await seen_of(prefect, await make("sql", config, LOGIN)) == (True, "SELECT 1: 1")
    ok, saw = await seen_of(prefect, await make("sql", config, LOGIN | {"username": "nobody"}, name="other"))
    assert (ok, "does not exist" in saw) == (False, True)


async def test_an_apprise_url_is_only_read(web: Web, make: Make, prefect: PrefectClient) -> None:
    row = await make("apprise", {}, {"url": f"json://127.0.0.1:{web.port}/hunter2"})
    ok, saw = await seen_of(prefect, row)
    assert (ok, "nobody was told" in saw) == (True, True)
    assert web.connections == 0
    bad = await make("apprise", {}, {"url": "nothing://hunter2"}, name="bad")
    assert await seen_of(prefect, bad) == (False, "Apprise cannot read this URL; see its documentation of the service.")


async def test_a_neighbour_that_says_nothing_is_given_up(
    web: Web, make: Make, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(_: Any) -> None:
        await asyncio.Event().wait()

    web.answers["/"] = silent
    monkeypatch.setattr(probe, "SECONDS", 0.3)
    row = await make("http", {"base_url": web.url()})
    ok, saw = await seen_of(prefect, row)
    assert (ok, "within 0.3 s" in saw) == (False, True)


async def test_what_leads_inside_is_not_asked_but_told(web: Web, make: Make, prefect: PrefectClient) -> None:
    row = await make("http", {"base_url": web.url()})
    ok, saw = await seen_of(prefect, row, Settings())
    assert (ok, "AUTOMATION_EGRESS_ALLOW" in saw, web.connections) == (False, True, 0)


async def test_missing_credentials_are_told(web: Web, make: Make, prefect: PrefectClient) -> None:
    row = await make("http", {"base_url": web.url(), "auth": "bearer"}, {"token": "hunter2hunter2"})
    await credentials.remove(prefect, row.id, "http")
    assert await seen_of(prefect, row) == (False, "Its credentials are missing; write them again.")
    assert web.connections == 0
