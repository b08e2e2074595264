"""Integrations from their making to the executions that call them: what comes of it, and where no secret gets."""

import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.logging.handlers import APILogHandler
from pydantic import SecretStr

from automation import catalog
from automation.api import Services
from automation.database import Database
from automation.intake.telling import Teller
from automation.integrations import credentials
from automation.integrations.types import parse_config
from automation.models import Json, utc_now
from automation.settings import Settings, get_settings
from tasks.integrations import call_integration
from tests.conftest import Postgres
from tests.integration.api.serving import KEY, Api, serve
from tests.integration.flows import create, run
from tests.integration.mailbox import Mailbox
from tests.integration.prefect_events import told
from tests.integration.web import Web, response

LOCAL = ("127.0.0.1", "::1")

pytestmark = pytest.mark.usefixtures("deployed")


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AUTOMATION_EGRESS_ALLOW", " ".join(LOCAL))
    monkeypatch.setitem(catalog.step_types(), "CALL_INTEGRATION", call_integration)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.fixture
async def api(postgres: Postgres, prefect_api: str, database: Database) -> AsyncIterator[Api]:
    settings = Settings(api_key=SecretStr(KEY), egress_allow=LOCAL)
    own = Database(postgres.url)
    async with get_client() as prefect, serve(Services(settings, own, prefect, Teller(0))) as api:
        yield api
    await own.close()


async def called(api: Api, prefect: PrefectClient, **keys: Any) -> UUID:
    """Run a workflow whose step calls the integration `it`; its execution."""
    steps = [{"step_type": "CALL_INTEGRATION", "config": {"integration": "it", **keys}}]
    made = await api.post("workflows/", {"name": f"W {uuid4().hex}", "project_id": "p1", "steps": steps})
    assert made.status_code == 201, made.text
    started = (await api.post(f"workflows/{made.json()['id']}/execute/", {"input": {}})).json()
    await run(prefect, await create(prefect, "custom-workflow", executions=[started["id"]]), "custom-workflow")
    await APILogHandler.aflush()
    return UUID(started["id"])


# --- what comes of it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 422])
async def test_a_system_that_refuses_for_good_fails_the_execution_at_once(
    api: Api, web: Web, prefect: PrefectClient, status: int
) -> None:
    web.answers["/"] = response(status)
    await api.post("integrations/", _http(web, "a-token-of-ours"))

    failed = await api.stored(await called(api, prefect))

    assert (failed.status, failed.error_code, failed.attempt) == ("FAILED", "VALIDATION_ERROR", 1)
    assert str(status) in failed.error_message
    assert web.connections == 1


@pytest.mark.parametrize("status", [429, 503, None])
async def test_a_system_that_may_be_there_later_is_called_again_by_the_retry_table(
    api: Api, web: Web, prefect: PrefectClient, status: int | None
) -> None:
    if status:
        web.answers["/"] = response(status, Retry_After="120")
    else:
        web.answers["/"] = b""  # it hangs up
    await api.post("integrations/", _http(web, "a-token-of-ours"))

    waiting = await api.stored(await called(api, prefect))

    assert (waiting.status, waiting.error_code) == ("RETRYING", "NETWORK_ERROR")
    least = 110 if status else 25  # what was asked for, or 30 s
    assert least < (waiting.due_at - utc_now()).total_seconds() <= 120


# --- where no secret gets ---------------------------------------------------------------------------------------


@dataclass
class Life:
    """An integration, what is sent to it, and what of that has to stay where it is."""

    body: Json
    good: Json
    bad: Json
    secrets: list[str]
    answer: Json = field(default_factory=dict)


def _http(web: Web, token: str) -> Json:
    config = {"base_url": web.url(), "auth": "bearer"}
    return {"name": "it", "type": "http", "project_id": "p1", "config": config, "credentials": {"token": token}}


@pytest.fixture
def lives(web: Web, mailbox: Mailbox, crm: int) -> dict[str, Life]:
    """One of each type; the other side repeats the credentials wherever it can."""
    token, hook = f"tok-{uuid4().hex}", f"hook-{uuid4().hex}"
    signed = "whsec_" + uuid4().hex
    web.answers |= {
        "/good": response(200, f"you are {token}".encode(), X_Echo=token),
        "/bad": response(403, f"{'x' * 480} not for {token}".encode()),
        f"/good/{hook}": response(200, hook.encode()),
    }
    mailbox.inbox.verdict = "250 OK"
    common = {"name": "it", "project_id": "p1"}
    login = {"username": "crm", "password": "hunter2hunter2"}
    mail = {"to": "ada@example.com", "subject": "Hi", "text": "Été"}
    server = {"host": "localhost", "port": mailbox.port, "sender": "shop@example.com"}
    base = {"host": "127.0.0.1", "port": crm, "database": "crm", "sslmode": "disable"}
    return {
        "http": Life(_http(web, token), {"path": "good"}, {"path": "bad"}, [token]),
        "webhook": Life(
            common | {"type": "webhook", "config": {"url": web.url("/good")}, "credentials": {"secret": signed}},
            {"payload": {"n": 1}}, {"path": "not a key of webhooks"}, [signed, signed.removeprefix("whsec_")],
        ),
        "smtp": Life(
            common | {"type": "smtp", "config": server, "credentials": login}, mail, mail | {"to": "nobody"},
            ["hunter2hunter2", "AGNybQBodW50ZXIyaHVudGVyMg=="],
        ),
        "apprise": Life(
            common | {"type": "apprise", "config": {}, "credentials": {"url": f"json://127.0.0.1:{web.port}/good/{hook}"}},
            {"body": "Done"}, {"title": "without a body"}, [hook],
        ),
        "sql": Life(
            common | {"type": "sql", "config": base, "credentials": login}, {"statement": "SELECT 1 AS one"},
            {"statement": "SELEC 1"}, ["hunter2hunter2"],
        ),
    }  # fmt: skip


def places_with(url: str, text: str) -> list[str]:
    """The tables of a database in which `text` stands, in whatever column."""
    found = []
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT count(*) FROM "{table}" AS one WHERE strpos(one::text, %s) > 0', (text,))
            if cursor.fetchone() != (0,):
                found.append(table)
    return found


def files_with(text: str) -> list[Path]:
    """The files in which it stands of those that our processes, runs and Prefect's server write."""
    folders = [Path(os.environ[name]) for name in ("AUTOMATION_HOME", "PREFECT_HOME")]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    log = Path(os.environ["PREFECT_HOME"]).parent / "prefect-server.log"
    assert log.is_file()
    return [path for path in (*files, log) if text.encode() in path.read_bytes()]


@pytest.mark.parametrize("type_", ["http", "webhook", "smtp", "apprise", "sql"])
async def test_in_a_whole_life_no_secret_gets_anywhere_but_into_its_block(
    api: Api,
    prefect: PrefectClient,
    postgres: Postgres,
    lives: dict[str, Life],
    type_: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    life = lives[type_]
    made = await api.post("integrations/", life.body)
    assert made.status_code == 201, made.text
    path = f"integrations/{made.json()['id']}/"
    said = made.text + (await api.client.patch(path, json={"credentials": life.body["credentials"]})).text
    tested = await api.post(f"{path}test/")
    said += tested.text + (await api.client.patch(path, json={"credentials": {"n": life.secrets[0]}})).text

    good, bad = await called(api, prefect, **life.good), await called(api, prefect, **life.bad)

    assert [(await api.stored(one)).status for one in (good, bad)] == ["COMPLETED", "FAILED"]
    assert (await api.stored(bad)).error_code == "VALIDATION_ERROR"
    for one in (good, bad):
        for end in ("", "logs/"):
            said += (await api.get(f"executions/{one}/{end}")).text
    for noun in ("integrations", "executions", "workflows", "dead-letters", "events", "alerts", "deliveries", "audit"):
        answer = await api.get(f"{noun}/")
        assert answer.status_code == 200
        said += answer.text
    await told(prefect, "automation.execution.failed", f"automation.execution.{bad}")
    logged = "\n".join(f"{record.getMessage()} {record.args} {record.exc_info}" for record in caplog.records)
    for secret in life.secrets:
        assert secret not in said
        assert secret[:12] not in said, "the beginning of one, where a text was cut"
        assert secret not in logged
        assert places_with(postgres.url, secret) == []
        assert places_with(postgres.prefect_url, secret) == [], "the block has it encrypted"
        assert files_with(secret) == []
    config = parse_config(type_, made.json()["config"])
    stored = await credentials.load(prefect, UUID(made.json()["id"]), config)
    assert stored is not None
    assert life.secrets[0] in " ".join(stored.spellings())
