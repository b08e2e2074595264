"""CALL_INTEGRATION to HTTP APIs and webhooks, against a real web server on this machine."""

from time import monotonic
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from prefect.client.orchestration import PrefectClient
from standardwebhooks.webhooks import Webhook

from automation.database import Database
from automation.errors import NetworkError, StepError, ValidationError
from automation.integrations import credentials, write
from automation.integrations.write import parse_integration_patch
from automation.models.integration_queries import lock_integration
from automation.settings import Settings
from tests.integration.integrations.conftest import Call, Make
from tests.integration.web import Web, response

SECRET = "whsec_" + "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="
TOKEN = "hunter2-token"

pytestmark = pytest.mark.usefixtures("prefect_api")


async def failure(call: Call, *arguments: Any, **config: Any) -> StepError:
    with pytest.raises(StepError) as caught:
        await call(*arguments, **config)
    return caught.value


async def test_a_call_goes_below_the_base_url_with_the_credentials(web: Web, make: Make, call: Call) -> None:
    web.answers["/api/contacts"] = response(200, b'{"id": 5}', content_type="application/json")
    made = await make("http", {"base_url": web.url("/api"), "auth": "bearer"}, {"token": TOKEN}, name="crm")

    result = await call("crm", method="POST", path="/contacts", query={"a": 1}, json={"n": 1})

    [seen] = web.seen
    assert (seen.method, seen.target, orjson.loads(seen.body)) == ("POST", "/api/contacts?a=1", {"n": 1})
    assert seen.headers["authorization"] == f"Bearer {TOKEN}"
    assert seen.headers["idempotency-key"]
    assert (result["integration"], result["status"], result["json"]) == (str(made.id), 200, {"id": 5})
    assert TOKEN not in str(result)
    assert (await call(str(made.id), path="contacts"))["status"] == 200


async def test_a_step_cannot_send_other_credentials_or_leave_the_base(web: Web, make: Make, call: Call) -> None:
    web.answers["/api"] = response(200)
    config = {"base_url": web.url("/api"), "auth": "header", "header": "X-Key"}
    await make("http", config, {"value": TOKEN})

    await call("http", headers={"x-KEY": "mine", "X-Other": "o"})
    error = await failure(call, "http", path="../admin")

    assert (web.seen[0].headers["x-key"], web.seen[0].headers["x-other"]) == (TOKEN, "o")
    assert (type(error), len(web.seen)) == (ValidationError, 1)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, ValidationError), (404, ValidationError), (429, NetworkError), (503, NetworkError)]
)
async def test_a_server_that_repeats_the_credentials_does_not_get_them_into_our_records(
    web: Web, make: Make, call: Call, status: int, kind: type[StepError]
) -> None:
    echo = f'{{"you": "Basic dTpodW50ZXIyLXRva2Vu", "password": "{TOKEN}", "{TOKEN}": 1}}'.encode()
    web.answers |= {
        "/bad": response(status, echo, Retry_After="9"),
        "/good": response(200, echo, content_type="application/json", X_Echo=TOKEN),
    }
    await make("http", {"base_url": web.url(), "auth": "basic"}, {"username": "u", "password": TOKEN})

    error = await failure(call, "http", path="bad")
    result = await call("http", path="good")

    assert type(error) is kind
    assert error.retry_after == (9 if kind is NetworkError else None)
    assert error.__cause__ is None
    assert error.__suppress_context__
    for secret in (TOKEN, "dTpodW50ZXIyLXRva2Vu"):
        assert secret not in f"{error} {result}"
    assert result["json"] == {"you": "Basic [redacted]", "password": "[redacted]", "[redacted]": 1}


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "017700000001", "[::1]", "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]", "0.0.0.0", "[::]", "169.254.169.254", "10.0.0.1", "192.168.1.1", "172.16.0.1",
        "100.64.0.1", "[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "168.63.129.16",
    ],
)  # fmt: skip
async def test_a_base_url_that_leads_inside_is_not_asked(web: Web, make: Make, call: Call, host: str) -> None:
    await make("http", {"base_url": f"http://{host}:{web.port}/", "auth": "bearer"}, {"token": TOKEN})
    await make("webhook", {"url": f"http://{host}:{web.port}/"}, {"secret": SECRET})

    for error in (
        await failure(call, "http", settings=Settings()),
        await failure(call, "webhook", settings=Settings()),
    ):
        assert type(error) is ValidationError
        assert "AUTOMATION_EGRESS_ALLOW" in str(error)
    assert web.connections == 0


async def test_a_redirect_to_another_origin_takes_no_credentials_along(web: Web, make: Make, call: Call) -> None:
    web.answers |= {"/a": response(307, location=f"http://localhost:{web.port}/b"), "/b": response(200)}
    config = {"base_url": web.url(), "auth": "header", "header": "X-Key"}
    await make("http", config, {"value": TOKEN})

    await call("http", path="a", follow_redirects=True, settings=Settings(egress_allow=("127.0.0.1", "::1")))

    assert [one.headers.get("x-key") for one in web.seen] == [TOKEN, None]


async def test_a_webhook_is_signed_with_the_secret_of_the_integration(web: Web, make: Make, call: Call) -> None:
    web.answers["/hook"] = response(202)
    await make("webhook", {"url": web.url("/hook")}, {"secret": SECRET})

    result = await call("webhook", type="page.saved", payload={"a": 1})
    await call("webhook")

    first, second = web.seen
    assert Webhook(SECRET).verify(first.body, dict(first.headers))["data"] == {"a": 1}
    assert Webhook(SECRET).verify(second.body, dict(second.headers)) == {"page": {"id": "home"}}
    assert (result["status"], result["webhook_id"]) == (202, first.headers["webhook-id"])
    assert second.headers["webhook-id"] == first.headers["webhook-id"]


async def test_keys_of_another_type_and_keys_that_are_missing_are_named(web: Web, make: Make, call: Call) -> None:
    await make("http", {"base_url": web.url()})
    await make("sql", {"host": "127.0.0.1", "database": "x"}, {"username": "u", "password": "p"})

    assert str(await failure(call, "http", statement="SELECT 1", json={})).startswith("statement: not for")
    assert str(await failure(call, "sql")).startswith("statement: needed")
    assert "jsno" in str(await failure(call, "http", jsno={}))
    assert web.connections == 0


# --- which integration is meant -----------------------------------------------------------------------------


async def test_a_project_has_its_own_integrations_and_those_of_the_platform(web: Web, make: Make, call: Call) -> None:
    paths = ("own", "platforms", "others")
    web.answers |= {f"/{path}": response(200, path.encode()) for path in paths}
    own = await make("http", {"base_url": web.url("/own")}, name="crm")
    other = await make("http", {"base_url": web.url("/others")}, name="secret", project_id="p2")
    await make("http", {"base_url": web.url("/platforms")}, name="crm", project_id=None)
    await make("http", {"base_url": web.url("/platforms")}, name=str(own.id), project_id=None)

    assert (await call("crm"))["text"] == "own"
    assert (await call(str(own.id)))["text"] == "own"
    assert (await call("crm", project="p3"))["text"] == "platforms"
    assert (await call("crm", project=""))["text"] == "platforms"
    for reference in ("secret", str(other.id), "nothing", ""):
        assert type(await failure(call, reference)) is ValidationError


async def test_one_that_is_switched_off_is_not_called(web: Web, make: Make, call: Call) -> None:
    await make("http", {"base_url": web.url()}, is_active=False)
    assert "switched off" in str(await failure(call, "http"))
    assert web.connections == 0


# --- credentials that change --------------------------------------------------------------------------------


async def test_replaced_credentials_are_used_at_once(
    web: Web, make: Make, call: Call, database: Database, prefect: PrefectClient
) -> None:
    web.answers["/"] = response(200)
    made = await make("http", {"base_url": web.url(), "auth": "bearer"}, {"token": "first"})
    await call("http")
    async with database.transaction() as session:
        row = await lock_integration(session, made.id)
        await write.change(session, prefect, row, parse_integration_patch({"credentials": {"token": "second"}}))

    await call("http")

    assert [one.headers["authorization"] for one in web.seen] == ["Bearer first", "Bearer second"]


async def test_credentials_are_asked_for_once_a_minute_and_not_for_each_call(
    web: Web, make: Make, call: Call, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.answers["/"] = response(200)
    made = await make("http", {"base_url": web.url(), "auth": "bearer"}, {"token": TOKEN})
    await call("http")
    await credentials.remove(prefect, made.id, "http")

    await call("http")
    later = monotonic() + 61
    monkeypatch.setattr(credentials, "time", SimpleNamespace(monotonic=lambda: later))
    error = await failure(call, "http")

    assert "write them again" in str(error)
    assert len(web.seen) == 2


async def test_credentials_of_a_block_that_was_given_for_another_address_stay_here(
    web: Web, make: Make, call: Call, database: Database
) -> None:
    made = await make("http", {"base_url": "https://crm.example", "auth": "bearer"}, {"token": TOKEN})
    async with database.transaction() as session:  # as after a crash between block and row
        row = await lock_integration(session, made.id)
        row.config = {"base_url": web.url(), "auth": "bearer"}

    error = await failure(call, "http")

    assert "another address" in str(error)
    assert web.connections == 0
