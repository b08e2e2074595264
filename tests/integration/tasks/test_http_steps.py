"""HTTP_REQUEST and SEND_WEBHOOK, against a real web server on this machine."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from automation.database import Database
from automation.errors import NetworkError, StepError, ValidationError
from automation.settings import Settings
from automation.steps import ProjectInfo, Result, StepBatch, StepContext, StepItem, StepType
from tasks.http import http_request, send_webhook
from tests.integration.web import Web, response, serving

SECRET = "whsec_" + "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="
DATA = {"project_id": "shop", "page": {"id": "p1", "name": "Été"}}


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with serving() as server:
        yield server


def item(config: dict[str, Any], *, allow: str = "127.0.0.1", identifier: str = "tell", attempt: int = 1) -> StepItem:
    context = StepContext(
        execution_id=UUID(int=7),
        workflow_id=UUID(int=1),
        workflow_name="Any",
        identifier=identifier,
        project=ProjectInfo("shop"),
        trigger_type="API_CALL",
        event_type="page.updated",
        trigger_data=DATA,
        occurred_at=datetime(2026, 1, 15, 10, 30, tzinfo=UTC),
        results={},
        attempt=attempt,
        settings=Settings(egress_allow=tuple(allow.split())),
        database=Database("postgresql://nobody@127.0.0.1:9/nowhere"),
    )
    return StepItem(context, config, soft_limit=10)


async def run(step_type: StepType, config: dict[str, Any], **context: Any) -> Result:
    """The step's result, as the engine gets it."""
    one = item(config, **context)
    await step_type.task.fn(StepBatch([one]))
    assert one.result is not None
    orjson.dumps(one.result)
    return one.result


async def failure(step_type: StepType, config: dict[str, Any], **context: Any) -> StepError:
    one = item(config, **context)
    with pytest.raises(StepError) as caught:
        await step_type.task.fn(StepBatch([one]))
    assert caught.value is one.error
    return caught.value


# --- HTTP_REQUEST: what is sent -----------------------------------------------------------------------------


async def test_a_request_is_sent_as_its_config_says(web: Web) -> None:
    web.answers["/items"] = response(200)
    config = {
        "url": web.url("/items?a=1"),
        "method": "POST",
        "query": {"b": ["x y", 2], "c": True},
        "headers": {"X-Count": 3, "Content-Type": "application/vnd.shop+json"},
        "json": {"name": "Été", "n": None},
    }

    await run(http_request, config)

    [seen] = web.seen
    assert (seen.method, seen.target) == ("POST", "/items?a=1&b=x+y&b=2&c=true")
    assert (seen.headers["x-count"], seen.headers["content-type"]) == ("3", "application/vnd.shop+json")
    assert orjson.loads(seen.body) == {"name": "Été", "n": None}


@pytest.mark.parametrize(
    ("content", "type_", "body"),
    [
        ({"json": None}, "application/json", b"null"),
        ({"json": "x"}, "application/json", b'"x"'),
        ({"body": "Été"}, "text/plain; charset=utf-8", "Été".encode()),
        ({"form": {"a": "x y&", "b": [1, True]}}, "application/x-www-form-urlencoded", b"a=x+y%26&b=1&b=true"),
        ({}, None, b""),
    ],
)
async def test_a_body_goes_with_its_type(web: Web, content: dict[str, Any], type_: str | None, body: bytes) -> None:
    web.answers["/"] = response(200)
    await run(http_request, {"url": web.url(), "method": "PUT"} | content)
    assert (web.seen[0].headers.get("content-type"), web.seen[0].body) == (type_, body)


async def test_a_method_that_changes_something_has_the_same_idempotency_key_at_each_try(web: Web) -> None:
    web.answers["/"] = response(200)

    async def key(method: str, **context: Any) -> str | None:
        await run(http_request, {"url": web.url(), "method": method}, **context)
        return web.seen[-1].headers.get("idempotency-key")

    first = await key("POST")
    assert first
    assert await key("POST", attempt=2) == first
    assert await key("POST", identifier="été") not in (first, None)
    assert [await key(method) for method in ("PUT", "PATCH", "DELETE")] == [first] * 3
    assert [await key(method) for method in ("GET", "HEAD", "OPTIONS")] == [None] * 3
    await run(http_request, {"url": web.url(), "method": "POST", "headers": {"idempotency-KEY": "mine"}})
    assert web.seen[-1].headers["idempotency-key"] == "mine"


# --- HTTP_REQUEST: what comes back --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "body", "shown"),
    [
        ("application/json", b'{"a": [1, null]}', {"json": {"a": [1, None]}}),
        ("application/problem+json; charset=utf-8", b"false", {"json": False}),
        ("text/html", b"{}", {"text": "{}"}),
        ("application/json", b"{", {"text": "{"}),
        ("application/json", b"", {"text": ""}),
        ("application/json", b'"\\u0000"', {"text": '"\\u0000"'}),
        ("application/json", b'"\\ud800"', {"text": '"\\ud800"'}),
        ("application/json", b"[" * 65 + b"]" * 65, {"text": "[" * 65 + "]" * 65}),
        ("text/plain; charset=iso-8859-1", b"\xc9t\xe9", {"text": "Été"}),
        ("text/plain; charset=unicode_escape", b"\\ud800", {"text": "\\ud800"}),
        ("image/png", b"\x89PNG\0", {"text": "\ufffdPNG\ufffd"}),
        ("", b"plain", {"text": "plain"}),
    ],
)
async def test_an_answer_is_json_or_text_that_can_be_stored(
    web: Web, type_: str, body: bytes, shown: dict[str, Any]
) -> None:
    web.answers["/"] = response(200, body, content_type=type_)
    result = await run(http_request, {"url": web.url()})
    assert {key: result[key] for key in ("json", "text") if key in result} == shown


async def test_the_result_has_status_time_and_headers_without_cookies(web: Web) -> None:
    many = {f"X_{n}": "v" for n in range(200)}
    web.answers["/"] = response(201, X_Long="y" * 5000, Set_Cookie="session=hunter2", **many)

    one = item({"url": web.url("/?token=hunter2")})
    await http_request.task.fn(StepBatch([one]))

    assert one.result is not None
    assert (one.result["status"], one.result["headers"]["x-long"]) == (201, "y" * 1000)
    assert len(one.result["headers"]) == 100
    assert one.result["duration_ms"] > 0
    [line] = one.context.lines
    assert (line.message, line.details["status"]) == ("GET 127.0.0.1: 201.", 201)
    assert "hunter2" not in f"{one.result} {line}"


@pytest.mark.parametrize(
    ("status", "expect", "raised"),
    [
        (204, None, None),
        (304, None, None),
        (404, None, ValidationError),
        (429, None, NetworkError),
        (500, None, NetworkError),
        (404, [200, 404], None),
        (503, "500-599", None),
        (200, 201, ValidationError),
        (302, "200-299", ValidationError),
    ],
)
async def test_a_status_that_was_not_expected_fails_the_step(
    web: Web, status: int, expect: Any, raised: type[StepError] | None
) -> None:
    web.answers["/"] = response(status, b"" if status in (204, 304) else b"sorry\r\n\x07 ", Retry_After="9")
    config = {"url": web.url("/?token=hunter2")} | ({} if expect is None else {"expect_status": expect})

    if raised is None:
        assert (await run(http_request, config))["status"] == status
        return
    error = await failure(http_request, config)
    assert type(error) is raised
    assert str(error) == f"127.0.0.1 answered {status}: sorry\\r\\n\\x07"
    assert error.retry_after == (9 if raised is NetworkError else None)


async def test_the_limits_of_the_config_hold(web: Web) -> None:
    web.answers |= {"/": response(200, b"x" * 11), "/a": response(307, location="/")}

    assert (await run(http_request, {"url": web.url("/a")}))["status"] == 307
    assert (await run(http_request, {"url": web.url("/a"), "follow_redirects": True}))["status"] == 200
    assert "more than 10 bytes" in str(await failure(http_request, {"url": web.url(), "max_bytes": 10}))


@pytest.mark.parametrize("step_type", [http_request, send_webhook], ids=lambda one: one.name)
async def test_nothing_is_sent_into_our_own_network(web: Web, step_type: StepType) -> None:
    config = {"url": web.url("/?token=hunter2"), "headers": {"Authorization": "hunter2"}}

    error = await failure(step_type, config, allow="127.0.0.2")

    assert isinstance(error, ValidationError)
    assert "AUTOMATION_EGRESS_ALLOW" in str(error)
    assert "hunter2" not in str(error)
    assert web.connections == 0


# --- SEND_WEBHOOK -------------------------------------------------------------------------------------------


async def test_a_webhook_is_signed_so_that_the_receiver_can_check_it(web: Web) -> None:
    web.answers["/hook"] = response(202)

    result = await run(send_webhook, {"url": web.url("/hook"), "secret": SECRET, "headers": {"Webhook-Id": "forged"}})

    [seen] = web.seen
    assert (seen.method, seen.headers["content-type"]) == ("POST", "application/json")
    assert Webhook(SECRET).verify(seen.body, dict(seen.headers)) == DATA
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(seen.body + b" ", dict(seen.headers))
    assert (result["status"], result["webhook_id"]) == (202, seen.headers["webhook-id"])


async def test_a_repeat_of_a_webhook_has_the_same_id_and_body(web: Web) -> None:
    web.answers["/"] = response(200)
    config = {"url": web.url(), "type": "order.paid", "payload": {"total": 12.5}}

    await run(send_webhook, config)
    await run(send_webhook, config, attempt=2)
    await run(send_webhook, config, identifier="another")

    first, repeat, other = web.seen
    assert first.headers["webhook-id"] == repeat.headers["webhook-id"] != other.headers["webhook-id"]
    assert first.body == repeat.body
    expected = {"type": "order.paid", "timestamp": "2026-01-15T10:30:00Z", "data": {"total": 12.5}}
    assert orjson.loads(first.body) == expected
    assert "webhook-signature" not in first.headers


@pytest.mark.parametrize("payload", [None, [], "x", 0, {"a": {"b": [1]}}])
async def test_a_payload_may_be_any_json(web: Web, payload: Any) -> None:
    web.answers["/"] = response(200)
    await run(send_webhook, {"url": web.url(), "payload": payload, "secret": SECRET})
    assert orjson.loads(web.seen[0].body) == payload
    Webhook(SECRET).verify(web.seen[0].body, dict(web.seen[0].headers))


async def test_a_payload_that_is_no_json_is_refused(web: Web) -> None:
    for payload in (2**64, "\ud800"):
        error = await failure(send_webhook, {"url": web.url(), "payload": payload})
        assert isinstance(error, ValidationError)
        assert "payload: cannot be written as JSON" in str(error)
    assert web.connections == 0


@pytest.mark.parametrize(
    ("status", "raised"), [(301, ValidationError), (410, ValidationError), (429, NetworkError), (503, NetworkError)]
)
async def test_a_webhook_that_is_not_taken_fails_the_step_and_tells_no_secret(
    web: Web, status: int, raised: type[StepError]
) -> None:
    web.answers["/"] = response(status, b"no", location="/elsewhere")

    error = await failure(send_webhook, {"url": web.url(), "secret": SECRET})

    assert type(error) is raised
    assert str(error) == f"127.0.0.1 answered {status}: no"
    assert len(web.seen) == 1
