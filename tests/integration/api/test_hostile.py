"""Hostile strings in every field of every request: nothing breaks, nothing is executed, no log line is forged."""

import asyncio
import copy
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient, Response
from pydantic import SecretStr
from sqlalchemy import text

from automation.api import Services
from automation.models import Alert, DeadLetter, Delivery, Integration, Json, Status
from automation.settings import Settings
from tests.integration.api.serving import KEY, SECRET, Api, page_event, serve
from tests.integration.rows import write

HOSTILE = {
    "sql": "'; DROP TABLE workflows; --",
    "sql as a number": "1 OR 1=1",
    "path": "../../../../../../etc/passwd",
    "encoded path": "..%2f..%2fetc%2fpasswd",
    "template": "{{ 7919 * 104729 }}{{ ''.__class__.__mro__[1].__subclasses__() }}{% for x in range(9) %}{% endfor %}",
    "header": "x\r\nX-Injected: yes\r\n\r\n<html>",
    "log": "x\n2026-01-15 10:30:00 CRITICAL automation: everything was deleted\u2028and more\x1b[31m",
    "lookup": "${jndi:ldap://127.0.0.1:9/x}$(touch /tmp/hostile)`touch /tmp/hostile`",
    "markup": "<script>alert(1)</script>",
    "NUL": "a\x00b",
    "surrogate": "\ud800",
    "other direction": "\u202eabc\ufeff\U0001f984",
    "long": "x" * 100_000,
    "format": "%s%n%x{0}{0.__class__}",
}
IN_A_QUERY = {
    "time": "0001-01-01T00:00:00+14:00",  # none in UTC
    "cursor": "bjowOgA",  # of a list by text, with NUL in it
}
EXECUTED = ("829348951", "root:x:0", "<class 'object'>", "subclasses at")
"""What would stand in an answer if one of them had been taken at its word."""


@pytest.fixture
async def api(api: Api) -> AsyncIterator[Api]:
    """An API that lets one key ask as often as it likes, and a platform with one object of each kind."""
    settings = Settings(api_key=SecretStr(KEY), studio_webhook_secret=SecretStr(SECRET), rate_limit=100_000)
    before = api.services
    async with serve(Services(settings, before.database, before.prefect, before.teller)) as served:
        served.client.timeout = 60.0  # seconds: 16 of them are under way at once
        yield served


async def objects(api: Api) -> dict[str, str]:
    """What stands in place of `{id}` below each noun."""
    await api.post("events/", page_event("p1", id="e1"))
    step = {"step_type": "TRANSFORM", "config": {"output": {"n": 1}}}
    body = {"name": "W", "project_id": "p1", "steps": [step], "triggers": [{"trigger_type": "WEBHOOK"}]}
    answer = await api.post("workflows/", body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    execution = await api.execution(UUID(made["id"]), Status.FAILED)
    rows = (
        Alert(id=uuid4(), rule="r", severity="CRITICAL", message="m", project_id="p1"),
        Delivery(id=uuid4(), key="k", type="execution.failed", execution_id=execution, project_id="p1"),
        Integration(id=uuid4(), name="i", type="http", project_id="p1", config={"base_url": "https://e.example"}),
        DeadLetter(
            execution_id=execution, workflow_id=UUID(made["id"]), project_id="p1", kind="custom-workflow",
            error_code="NETWORK_ERROR", error_message="m",
        ),
    )  # fmt: skip
    await write(api.database, *rows)
    alert, delivery, integration = (str(one.id) for one in rows[:3])
    return {
        "workflows": made["id"], "steps": made["steps"][0]["id"], "triggers": made["triggers"][0]["id"],
        "webhooks": made["triggers"][0]["id"], "executions": str(execution), "dead-letters": str(execution),
        "alerts": alert, "deliveries": delivery, "integrations": integration, "projects": "p1", "events": "e1",
        "silences": str(uuid4()), "api-keys": str(uuid4()),
    }  # fmt: skip


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Every operation but the one that stays open: method, path and what the document says of it."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if not path.endswith("/stream/"):
                yield method.upper(), path.removeprefix("/api/automation/"), operation


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places in a body at which something else may stand: every value, and every object for another key."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))


def left_out(schema: Json, body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places at which a body may have something and has nothing."""
    for option in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        if isinstance(body, dict):
            for name, inner in option.get("properties", {}).items():
                if name in body:
                    yield from left_out(inner, body[name], (*path, name))
                else:
                    yield (*path, name)
        elif isinstance(body, list) and body and "items" in option:
            yield from left_out(option["items"], body[0], (*path, 0))


def with_value(body: Any, path: tuple[Any, ...], value: str) -> Any:
    """The body with `value` at a place; where an object stands, `value` is a key of it, too."""
    changed = copy.deepcopy(body)
    *way, last = ("root", *path)
    parent = holder = {"root": changed}
    for one in way:
        parent = parent[one]
    if (isinstance(parent, list) or last in parent) and isinstance(parent[last], dict):
        parent[last][value] = value
    else:
        parent[last] = value
    return holder["root"]


async def ask(client: AsyncClient, method: str, path: str, body: Any = None, **more: Any) -> Response:
    content = None if body is None else json.dumps(body).encode()  # as ASCII: half a surrogate pair is `\ud800`
    return await client.request(method, path, content=content, **more)


async def unharmed(api: Api, requests: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    """Send all of it, 16 at a time, and look at answers, log and tables."""
    caplog.set_level(logging.INFO)
    slots = asyncio.Semaphore(16)

    async def one(request: Any) -> tuple[str, Response]:
        async with slots:
            return str(request[:3])[:200], await ask(api.client, *request[1:3], *request[3:4], **request[4])

    for where, answer in await asyncio.gather(*(one(request) for request in requests)):
        assert answer.status_code < 500, f"{where}: {answer.text[:500]}"
        assert "x-injected" not in answer.headers, where
        for sign in EXECUTED:
            assert sign not in answer.text, f"{where}: {answer.text[:500]}"
    assert not [record.getMessage()[:300] for record in caplog.records if re.search(r"[\n\r\x1b\u2028]", _said(record))]
    async with api.database.transaction() as session:
        assert await session.scalar(text("SELECT count(*) FROM workflows")) is not None


def _said(record: logging.LogRecord) -> str:
    return record.getMessage() if record.name.startswith("automation") else ""


def address(path: str, ids: dict[str, str]) -> str:
    return re.sub(r"\{.+?\}", ids.get(path.split("/")[0], ""), path)


async def document(api: Api) -> Json:
    found: Json = (await api.client.get("openapi.json")).json()
    return found


# --- in the body -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HOSTILE)
async def test_nothing_in_a_body_does_harm(api: Api, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    ids = await objects(api)
    requests = []
    for method, path, operation in operations(await document(api)):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            body = content["example"]
            for place in dict.fromkeys((*leaves(body), *left_out(content["schema"], body))):
                changed = with_value(body, place, HOSTILE[kind])
                requests.append((f"{operation['operationId']} {place}", method, address(path, ids), changed, {}))
    assert len(requests) > 200

    await unharmed(api, requests, caplog)


@pytest.mark.parametrize(
    "body", ["[" * 100_000, '{"data":' * 100_000, "[" * 1000 + "]" * 1000, '"' + "\\u0000" * 1000 + '"']
)
async def test_a_body_that_is_nested_too_deeply_is_refused_everywhere(api: Api, body: str) -> None:
    ids = await objects(api)
    for method, path, operation in operations(await document(api)):
        if "requestBody" in operation:
            answer = await api.client.request(method, address(path, ids), content=body.encode())
            assert answer.status_code in (401, 422), f"{operation['operationId']}: {answer.text[:300]}"


async def test_an_object_that_is_nested_too_deeply_is_refused_wherever_it_could_be_kept(api: Api) -> None:
    ids = await objects(api)
    deep: Any = {}
    for _ in range(70):
        deep = {"a": deep}
    for method, path, body in (
        ("POST", "workflows/", {"name": "W", "config": deep}),
        ("PATCH", f"workflows/{ids['workflows']}/", {"config": deep}),
        ("POST", f"workflows/{ids['workflows']}/execute/", {"input": deep}),
        ("POST", f"workflows/{ids['workflows']}/steps/", {"step_type": "TRANSFORM", "config": {"output": deep}}),
        ("PATCH", f"steps/{ids['steps']}/", {"config": {"output": deep}}),
        ("POST", f"steps/{ids['steps']}/execute/", {"input": deep}),
        ("PATCH", f"triggers/{ids['triggers']}/", {"conditions": deep}),
        ("POST", "projects/p1/publish/", {"data": deep}),
        ("POST", "events/", page_event(page={**page_event()["data"]["page"], "deep": deep})),
        ("POST", "integrations/", {"name": "i", "type": "http", "config": deep}),
    ):
        assert (await ask(api.client, method, path, body)).status_code in (202, 422), path
        if path != "events/":
            assert (await ask(api.client, method, path, body)).status_code == 422, path


# --- in the address and in headers -----------------------------------------------------------------------------


async def test_nothing_in_a_query_does_harm(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    ids = await objects(api)
    requests = []
    for method, path, operation in operations(await document(api)):
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query":
                for kind, value in (HOSTILE | IN_A_QUERY).items():
                    if kind != "surrogate":  # UTF-8 has none
                        sent = f"{address(path, ids)}?{parameter['name']}={quote(value[:50_000])}"
                        requests.append(
                            (f"{operation['operationId']} {parameter['name']} {kind}", method, sent, None, {})
                        )
    assert len(requests) > 300

    await unharmed(api, requests, caplog)


async def test_nothing_in_a_path_does_harm(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    requests = []
    for method, path, operation in operations(await document(api)):
        if "{" in path:
            body = next((one["example"] for one in operation.get("requestBody", {}).get("content", {}).values()), None)
            for kind, value in HOSTILE.items():
                if kind != "surrogate":
                    sent = re.sub(r"\{.+?\}", lambda _: quote(value[:50_000], safe=""), path)  # noqa: B023
                    requests.append((f"{operation['operationId']} {kind}", method, sent, body, {}))

    await unharmed(api, requests, caplog)


async def test_nothing_in_a_header_does_harm(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    ids = await objects(api)
    path = f"workflows/{ids['workflows']}/"
    names = (
        "Accept", "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "X-Forwarded-For", "X-Request-ID",
        "X-Hub-Signature-256", "webhook-id", "webhook-signature", "webhook-timestamp",
    )  # fmt: skip
    requests = []
    for kind, value in HOSTILE.items():
        raw = re.sub(rb"[\r\n\x00]", b"", value.encode(errors="surrogatepass"))[:10_000]  # h11 lets none of these pass
        for name in names:
            headers = {"headers": [(name.encode(), raw)]}
            for method, where in (
                ("PATCH", path),
                ("POST", f"{path}execute/"),
                ("POST", f"webhooks/{ids['webhooks']}/"),
            ):
                requests.append((f"{where} {name} {kind}", method, where, {}, headers))

    await unharmed(api, requests, caplog)


async def test_a_body_that_is_no_utf8_is_refused(api: Api) -> None:
    ids = await objects(api)
    for raw in (b'{"name": "\xff\xfe"}', b'{"name": "\xed\xa0\x80"}', b'{"name": NaN}', b"\xef\xbb\xbf{}", b"", b"{"):
        answer = await api.client.patch(f"workflows/{ids['workflows']}/", content=raw)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/refused"), raw
