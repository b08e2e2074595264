"""Who gets in, what is too large, and how paths, methods and errors are answered."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import httpx
import pytest
from httpx import AsyncClient

from automation.database import Database
from tests.integration.api.serving import KEY, Api, page_event, serve

ENDPOINTS = [
    ("POST", "events/"),
    ("GET", "workflows/"),
    ("GET", f"workflows/{uuid4()}/"),
    ("POST", f"workflows/{uuid4()}/execute/"),
    ("GET", "executions/"),
    ("GET", f"executions/{uuid4()}/"),
    ("GET", f"executions/{uuid4()}/logs/"),
    ("POST", f"executions/{uuid4()}/retry/"),
    ("POST", f"executions/{uuid4()}/cancel/"),
    ("GET", "dead-letters/"),
    ("POST", "dead-letters/redrive/"),
    ("POST", f"dead-letters/{uuid4()}/redrive/"),
    ("GET", "deliveries/"),
    ("POST", f"deliveries/{uuid4()}/redeliver/"),
]
NO_SIGNATURE = {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
HEADERS = [None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x", "Bearer é"]


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
async def test_every_endpoint_refuses_whoever_has_no_key_or_a_wrong_one(api: Api, method: str, path: str) -> None:
    async with AsyncClient(base_url=api.url) as client:
        for header in HEADERS:
            headers = [] if header is None else [(b"Authorization", header.encode())]
            answer = await client.request(method, path, headers=headers)
            assert answer.status_code == 401, header
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["type"] == "/problems/unauthorized"


async def test_without_a_configured_key_nobody_gets_in(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    bare = api.services.settings.model_copy(update={"api_key": None})

    async with serve(replace(api.services, settings=bare)) as closed:
        for header in ("Bearer", "Bearer None", f"Bearer {KEY}"):
            answer = await closed.client.get("executions/", headers={"Authorization": header})
            assert answer.status_code == 401
        assert (await closed.get("health/live/")).status_code == 200
    assert "AUTOMATION_API_KEY is not set" in caplog.text


async def test_every_answer_has_an_id_of_its_own(api: Api) -> None:
    answers = [await api.get("executions/"), await api.get("nothing/"), await api.post("events/", 7)]

    assert len({one.headers["x-request-id"] for one in answers}) == 3


async def test_a_path_without_its_final_slash_is_redirected_with_method_body_and_query(api: Api) -> None:
    answer = await api.post("events", page_event(id="evt-1"))
    assert (answer.status_code, answer.headers["location"]) == (308, "/api/automation/events/")

    followed = await api.client.post("events", json=page_event(id="evt-1"), follow_redirects=True)
    assert followed.status_code == 202
    query = await api.get("executions", status="FAILED", page_size=3)
    assert query.headers["location"] == "/api/automation/executions/?status=FAILED&page_size=3"


@pytest.mark.parametrize("path", ["//evil.example/api/automation", "/%0d%0aX-Injected:1", "//evil.example/x"])
async def test_nobody_is_redirected_to_another_host(api: Api, path: str) -> None:
    answer = await api.client.get(httpx.URL(api.url).copy_with(raw_path=path.encode()))

    assert answer.status_code == 404
    assert "location" not in answer.headers


async def test_unknown_paths_and_methods_are_problems(api: Api) -> None:
    nowhere = await api.get("nothing/")
    method = await api.client.delete("executions/")

    assert (nowhere.status_code, nowhere.json()["type"]) == (404, "/problems/not-found")
    assert (method.status_code, method.json()["type"]) == (405, "/problems/method-not-allowed")
    assert "GET" in method.headers["allow"]


@pytest.mark.parametrize("id_", ["x", "%00", "..%2f..%2fetc", "1' OR '1'='1", "0" * 5000])
async def test_an_id_that_is_none_is_refused(api: Api, id_: str) -> None:
    for path in ("executions/{}/", "workflows/{}/", "executions/{}/logs/"):
        answer = await api.client.get(path.format(id_))
        assert answer.status_code in (404, 422)
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "query",
    [
        "project_id=%00", "project_id=a%0Ab", "project_id=" + "x" * 129, "workflow_id=x", "workflow_id=%00",
        "status=%00", "status=DONE", "status=pending", "page_size=0", "page_size=201", "page_size=x",
        "cursor=", "cursor=x", "cursor=%00", "cursor=bjox", "cursor=%ff%fe",
    ],
)  # fmt: skip
async def test_a_wrong_query_parameter_is_named(api: Api, query: str) -> None:
    answer = await api.client.get(f"executions/?{query}")

    assert answer.status_code == 422
    assert answer.json()["field"] == query.partition("=")[0]


@pytest.mark.parametrize("text", ["'; DROP TABLE workflows; --", "%' OR 1=1 --", "\\", "%FF", "é"])
async def test_hostile_text_in_a_filter_only_finds_nothing(api: Api, text: str) -> None:
    await api.execution(await api.workflow())

    answer = await api.get("executions/", project_id=text)

    assert (answer.status_code, answer.json()["results"]) == (200, [])


async def test_a_body_over_its_limit_is_413_and_events_have_a_larger_one(api: Api) -> None:
    limits = api.services.settings
    note = "x" * (limits.body_limit_bytes + 1)
    event = page_event()
    event["data"]["note"] = note

    assert (await api.post("events/", event)).status_code == 202
    assert (await api.webhook(event)).status_code == 413
    assert (await api.post(f"workflows/{uuid4()}/execute/", {"input": {"note": note}})).status_code == 413
    event["data"]["note"] = "x" * limits.events_body_limit_bytes
    refused = await api.post("events/", event)
    assert refused.status_code == 413
    assert refused.json()["type"] == "/problems/body-too-large"


async def test_a_body_without_a_length_is_counted_while_it_comes(api: Api) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 1024 * 1024

    for path in ("events/", "webhooks/studio/"):
        answer = await api.client.post(path, content=chunks(), headers=NO_SIGNATURE)
        assert answer.status_code == 413


@pytest.mark.parametrize("path", ["events/", "webhooks/studio/"])
async def test_a_body_that_never_ends_is_answered_and_cut_off(api: Api, path: str) -> None:
    reader, writer = await asyncio.open_connection(httpx.URL(api.url).host, httpx.URL(api.url).port)
    head = (
        f"POST /api/automation/{path} HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer {KEY}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    writer.write(head.encode())

    async def send_for_ever() -> None:
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()

    sending = asyncio.create_task(send_for_ever())
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(sending, 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_declared_length_over_the_limit_is_refused_before_the_body_comes(api: Api) -> None:
    reader, writer = await asyncio.open_connection(httpx.URL(api.url).host, httpx.URL(api.url).port)
    head = f"POST /api/automation/events/ HTTP/1.1\r\nHost: api\r\nContent-Length: {10**12}\r\n\r\n"
    writer.write(head.encode())

    answer = await asyncio.wait_for(reader.read(), 5)  # to its end: the server hangs up

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"/problems/body-too-large"' in answer
    writer.close()


async def test_a_database_that_is_away_is_503_and_says_when_to_come_back(api: Api) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")

    async with serve(replace(api.services, database=away)) as broken:
        answers = [
            await broken.post("events/", page_event()),
            await broken.get("executions/"),
            await broken.get(f"workflows/{uuid4()}/"),
            await broken.post(f"executions/{uuid4()}/retry/"),
        ]
    await away.close()
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert answer.json()["type"] == "/problems/unavailable"


async def test_the_description_names_every_endpoint_and_no_page_loads_foreign_scripts(api: Api) -> None:
    described = (await api.get("openapi.json")).json()

    assert set(described["paths"]) >= {
        "/api/automation/events/",
        "/api/automation/webhooks/studio/",
        "/api/automation/workflows/",
        "/api/automation/workflows/{id}/",
        "/api/automation/workflows/{id}/execute/",
        "/api/automation/executions/",
        "/api/automation/executions/{id}/",
        "/api/automation/executions/{id}/logs/",
        "/api/automation/executions/{id}/retry/",
        "/api/automation/executions/{id}/cancel/",
        "/api/automation/health/live/",
        "/api/automation/health/ready/",
    }
    refusal = described["paths"]["/api/automation/executions/"]["get"]["responses"]["422"]
    assert list(refusal["content"]) == ["application/problem+json"]
    for path in ("/docs", "/redoc"):
        assert (await api.client.get(httpx.URL(api.url).copy_with(path=path))).status_code == 404
