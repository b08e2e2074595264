"""API keys: making and revoking them, how long they hold, how much they may send, and what is noted of their use."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from httpx import AsyncClient, Response
from sqlalchemy import text

from automation.models import ApiKey, utc_now
from tests.integration.api.serving import KEY, Api, page_event, serve

BODY = {"name": "studio", "scopes": ["events:write"]}


async def made(api: Api, **values: Any) -> dict[str, Any]:
    answer = await api.post("api-keys/", BODY | values)
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def with_key(api: Api, key: str, path: str = "executions/", **headers: str) -> Response:
    return await api.client.get(path, headers={"Authorization": f"Bearer {key}", **headers})


# --- making them --------------------------------------------------------------------------------------------------


async def test_a_key_is_shown_once_and_stored_as_a_hash(api: Api) -> None:
    answer = await made(api, scopes=["read", "events:write", "read"])
    key = answer["key"]

    assert key.startswith("ak_")
    assert len(key) == 3 + 43, "256 bit"
    assert answer["prefix"] == key[:10]
    assert answer["scopes"] == ["events:write", "read"]
    assert answer["created_by"] == "api"
    assert (await with_key(api, key)).status_code == 200
    listed = await api.get("api-keys/")
    assert key not in listed.text
    assert [one["id"] for one in listed.json()["results"]] == [answer["id"]]
    async with api.database.transaction() as session:
        for table in ("api_keys", "audit"):
            assert key[3:] not in str((await session.execute(text(f"SELECT * FROM {table}"))).all())


async def test_no_two_keys_are_alike(api: Api) -> None:
    keys = {(await made(api, name=f"k{number}"))["key"] for number in range(20)}

    assert len(keys) == 20
    assert len({key[:10] for key in keys}) == 20


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"name": ""}, "name"), ({"name": "x" * 49}, "name"), ({"name": "a\nb"}, "name"), ({"name": "a\x00"}, "name"),
        ({"name": "api"}, "name"), ({"name": None}, "name"), ({"scopes": []}, "scopes"), ({"scopes": "read"}, "scopes"),
        ({"scopes": ["all"]}, "scopes.0"), ({"project_id": ""}, "project_id"), ({"project_id": "a\x00"}, "project_id"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"), ({"expires_at": "9999-12-31T23:59:59Z"}, "expires_at"),
        ({"expires_at": "2030-01-01T00:00:00"}, "expires_at"), ({"key": "ak_mine"}, "key"),
    ],
)  # fmt: skip
async def test_a_key_that_is_asked_for_wrongly_is_refused(api: Api, values: dict[str, Any], field: str) -> None:
    answer = await api.post("api-keys/", BODY | values)

    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_a_name_is_that_of_one_key_until_it_is_revoked(api: Api) -> None:
    first = await made(api)

    again = await api.post("api-keys/", BODY)
    assert (again.status_code, again.json()["type"]) == (409, "/problems/conflict")
    await api.client.delete(f"api-keys/{first['id']}/")
    assert (await made(api))["id"] != first["id"]


async def test_two_that_ask_for_one_name_at_once_get_one_key(api: Api) -> None:
    answers = await asyncio.gather(*(api.post("api-keys/", BODY) for _ in range(5)))

    assert sorted(one.status_code for one in answers) == [201, 409, 409, 409, 409]


# --- how long they hold ---------------------------------------------------------------------------------------------


async def test_a_revoked_key_is_shut_out_at_once_and_stays_in_the_record(api: Api) -> None:
    key = await made(api, scopes=["read"])
    assert (await with_key(api, key["key"])).status_code == 200

    assert (await api.client.delete(f"api-keys/{key['id']}/")).status_code == 204

    refused = await with_key(api, key["key"])
    assert refused.status_code == 401
    assert "revoked" in refused.json()["detail"]
    assert (await api.get("api-keys/")).json()["results"] == []
    [gone] = (await api.get("api-keys/", revoked=True)).json()["results"]
    assert gone["revoked_at"]
    assert (await api.client.delete(f"api-keys/{key['id']}/")).status_code == 409
    assert (await api.client.delete(f"api-keys/{uuid4()}/")).status_code == 404


async def test_a_key_is_over_at_its_hour(api: Api) -> None:
    key = await made(api, scopes=["read"], expires_at=(utc_now() + timedelta(hours=1)).isoformat())
    assert (await with_key(api, key["key"])).status_code == 200

    async with api.database.transaction() as session:
        (await session.get_one(ApiKey, UUID(key["id"]))).expires_at = utc_now()

    refused = await with_key(api, key["key"])
    assert refused.status_code == 401
    assert "over since" in refused.json()["detail"]


async def test_keys_work_without_one_in_the_settings(api: Api) -> None:
    key = await made(api, scopes=["read"])
    bare = api.services.settings.model_copy(update={"api_key": None})

    async with serve(replace(api.services, settings=bare)) as closed:
        assert (await with_key(closed, key["key"])).status_code == 200
        assert (await with_key(closed, KEY)).status_code == 401


async def test_keys_are_compared_in_constant_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both the one of the settings and those that are stored; by hashes, so that nobody chooses what is compared."""
    key = await made(api, scopes=["read"])
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def noted(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    for given in (KEY, KEY[:-1], key["key"]):
        await with_key(api, given)

    start_up, stored = hashlib.sha256(KEY.encode()).digest(), hashlib.sha256(key["key"].encode()).digest()
    assert compared[0] == (start_up, start_up)
    assert compared[1] == (hashlib.sha256(KEY[:-1].encode()).digest(), start_up)
    assert compared[2:] == [(stored, start_up), (stored, stored)]


# --- their use ------------------------------------------------------------------------------------------------------


async def last_used(api: Api, key: dict[str, Any]) -> Any:
    async with api.database.transaction() as session:
        return (await session.get_one(ApiKey, UUID(key["id"]))).last_used_at


async def test_its_last_use_is_noted_also_of_what_was_refused_and_once_a_minute(api: Api) -> None:
    key = await made(api)
    assert await last_used(api, key) is None

    assert (await with_key(api, key["key"])).status_code == 403  # it has events:write alone

    first = await last_used(api, key)
    assert first is not None
    await with_key(api, key["key"])
    assert await last_used(api, key) == first
    async with api.database.transaction() as session:
        (await session.get_one(ApiKey, UUID(key["id"]))).last_used_at = first - timedelta(minutes=2)
    await with_key(api, key["key"])
    assert await last_used(api, key) >= first


async def test_a_request_does_not_wait_for_who_holds_its_key(api: Api) -> None:
    key = await made(api, scopes=["read"])

    async with api.database.transaction() as session:
        await session.execute(text("SELECT FROM api_keys FOR UPDATE"))
        assert (await with_key(api, key["key"])).status_code == 200


async def test_what_is_asked_with_a_key_is_asked_by_its_name(api: Api) -> None:
    key = await made(api, name="night shift", scopes=["execute"])
    execution = await api.execution(await api.workflow(), "FAILED")

    retried = await api.post(f"executions/{execution}/retry/", Authorization=f"Bearer {key['key']}")

    assert retried.status_code == 202
    [attempt] = (await api.get(f"executions/{execution}/")).json()["attempts"]
    assert attempt["asked_by"] == "night shift"


# --- how much -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def slow(api: Api) -> AsyncIterator[Api]:
    """An API that takes five requests of a key, and then one a hundred seconds."""
    settings = api.services.settings.model_copy(update={"rate_limit": 0.01})
    async with serve(replace(api.services, settings=settings)) as slow:
        yield slow


async def test_a_key_that_sends_too_much_is_told_when_to_come_back_and_others_are_not_hurt(api: Api, slow: Api) -> None:
    loud, quiet = await made(api, name="loud", scopes=["read"]), await made(api, name="quiet", scopes=["read"])
    answers = [await with_key(slow, loud["key"]) for _ in range(4)]

    assert [one.status_code for one in answers] == [200, 429, 429, 429]
    assert answers[1].json()["type"] == "/problems/too-many"
    assert 90 < int(answers[1].headers["retry-after"]) <= 100
    assert (await with_key(slow, quiet["key"])).status_code == 200
    assert (await with_key(slow, KEY)).status_code == 200
    assert (await with_key(slow, KEY)).status_code == 429
    assert (await slow.get("health/live/")).status_code == 200


async def test_an_address_that_tries_keys_is_told_to_stop_and_shuts_out_nobody_who_is_known(
    api: Api, slow: Api
) -> None:
    known = await made(api, scopes=["read"])
    busy = api.services.settings.model_copy(update={"rate_limit": 10})
    async with serve(replace(api.services, settings=busy)) as guessed:
        assert (await with_key(guessed, known["key"])).status_code == 200
        answers = [await with_key(guessed, f"ak_{number:043d}") for number in range(40)]
        assert {one.status_code for one in answers} == {401, 429}
        assert answers[0].status_code == 401
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["retry-after"]) > 0
        assert (await with_key(guessed, known["key"])).status_code == 200
        forged = await guessed.webhook(page_event(), secret="whsec_" + "A" * 44)
        assert forged.status_code == 429
        assert (await guessed.webhook(page_event())).status_code == 202


async def test_a_burst_of_events_is_not_refused(api: Api) -> None:
    key = await made(api)
    headers = {"Authorization": f"Bearer {key['key']}"}

    async with AsyncClient(base_url=api.url, headers=headers, timeout=60) as client:
        answers = await asyncio.gather(
            *(client.post("events/", json=page_event(id=f"evt-{number}")) for number in range(200))
        )

    assert {one.status_code for one in answers} == {202}


# --- slow clients ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def hasty(api: Api) -> AsyncIterator[Api]:
    """An API that drops who takes longer than half a second."""
    settings = api.services.settings.model_copy(update={"slow_client_timeout": 0.5})
    async with serve(replace(api.services, settings=settings)) as hasty:
        yield hasty


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET /api/automation/executions/ HTTP/1.1\r\nHost: a\r\n",
        b"POST /api/automation/events/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a-key-for-tests\r\n"
        b"Content-Length: 100000\r\n\r\n{",
        b"GET /api/automation/health/live/ HTTP/1.1\r\nHost: a\r\n\r\nGET /",
    ],
    ids=["nothing", "half a head", "half a body", "half of the next head"],
)
async def test_who_does_not_get_on_with_a_request_is_dropped_however_many_bytes_drip(hasty: Api, begin: bytes) -> None:
    url = httpx.URL(hasty.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(begin)

    async def drip() -> None:
        while True:
            await asyncio.sleep(0.1)
            if begin:
                writer.write(b"x")
                await writer.drain()

    dripping = asyncio.create_task(drip())
    with suppress(ConnectionError):
        while await asyncio.wait_for(reader.read(1000), 10):
            pass
    dripping.cancel()
    await asyncio.gather(dripping, return_exceptions=True)
    writer.close()


async def test_who_does_not_take_an_answer_is_dropped(hasty: Api) -> None:
    workflow = await hasty.workflow()
    await hasty.executions(workflow, 200, error_message="x" * 10_000)
    url = httpx.URL(hasty.url)
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=1)
    head = f"Host: a\r\nAuthorization: Bearer {KEY}\r\n\r\n"
    # 10 MB, more than any buffer between us
    writer.write(f"GET /api/automation/executions/?page_size=200 HTTP/1.1\r\n{head}".encode() * 5)
    assert await reader.readexactly(8) == b"HTTP/1.1"

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(_write_for_ever(writer), 20)


async def _write_for_ever(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.1)


async def test_who_is_quick_enough_keeps_the_connection(hasty: Api) -> None:
    connections = set()
    for _ in range(8):
        answer = await hasty.get("executions/")
        assert answer.status_code == 200
        connections.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
        await asyncio.sleep(0.1)
    assert len(connections) == 1
