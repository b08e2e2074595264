"""Both clients over real HTTP: against our API, and against doors that are shut."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pytest
from sqlalchemy import func, select

from automation.client import (
    AsyncClient,
    Client,
    EventResult,
    NotAuthorisedError,
    RefusedError,
    UnavailableError,
    UnexpectedAnswerError,
)
from automation.models import Event, Execution
from tests.integration.api.serving import KEY, Api, page_event
from tests.integration.client.doors import Door


class Send(Protocol):
    async def __call__(
        self, url: str, events: Sequence[Mapping[str, Any]], key: str = KEY, **more: Any
    ) -> list[EventResult]: ...


async def by_sync(url: str, events: Sequence[Mapping[str, Any]], key: str = KEY, **more: Any) -> list[EventResult]:
    def send() -> list[EventResult]:
        with Client(url, key, **more) as client:
            return client.send(events)

    return await asyncio.to_thread(send)


async def by_async(url: str, events: Sequence[Mapping[str, Any]], key: str = KEY, **more: Any) -> list[EventResult]:
    async with AsyncClient(url, key, **more) as client:
        return await client.send(events)


@pytest.fixture(params=[by_sync, by_async], ids=["sync", "async"])
def send(request: pytest.FixtureRequest) -> Send:
    function: Send = request.param
    return function


async def count(api: Api, model: type) -> int:
    async with api.database.transaction() as session:
        return await session.scalar(select(func.count()).select_from(model)) or 0


async def test_more_events_than_one_request_takes_arrive_once_each_and_in_order(api: Api, send: Send) -> None:
    results = await send(api.url, [page_event(page_id=f"p-{number}", id=f"evt-{number}") for number in range(620)])

    assert [one.id for one in results] == [f"evt-{number}" for number in range(620)]
    assert not any(one.duplicate for one in results)
    assert (await count(api, Event), await count(api, Execution)) == (620, 620)
    stored = await api.stored(results[619].executions[0].id)  # type: ignore[arg-type]
    assert (stored.key, results[619].executions[0].status) == ("p-619", "PENDING")


async def test_more_bytes_than_one_request_takes_arrive(api: Api, send: Send) -> None:
    big = {"note": "é" * 450_000}
    events = [page_event(page_id=f"p-{number}") for number in range(12)]
    for event in events:
        event["data"] |= big

    assert len(await send(api.url, events)) == 12
    assert await count(api, Event) == 12


async def test_the_address_may_end_in_the_apis_own_path_or_not(api: Api, send: Send) -> None:
    bare = api.url.removesuffix("/api/automation/")
    for url in (bare, f"{bare}/", f"{bare}/api/automation", f"{bare}/api/automation/"):
        assert await send(url, [page_event()])


async def test_what_an_error_gives_back_can_be_sent_again_and_counts_once(api: Api, door: Door, send: Send) -> None:
    await send(api.url, [page_event(id="evt-1")])
    door.statuses.extend([503])
    with pytest.raises(UnavailableError) as caught:
        await send(door.url, [page_event(id="evt-1"), page_event(page_id="other")], tries=1)

    results = await send(api.url, caught.value.events)
    again = await send(api.url, caught.value.events)

    assert [one.duplicate for one in results] == [True, False]
    assert [one.duplicate for one in again] == [True, True]
    assert await count(api, Event) == 2


async def test_a_refused_event_is_named_and_the_lists_before_its_own_are_in(api: Api, send: Send) -> None:
    events = [page_event(page_id=f"p-{number}") for number in range(510)]
    events[503] = page_event(page_id="../etc/passwd")

    with pytest.raises(RefusedError) as caught:
        await send(api.url, events)

    assert (caught.value.index, caught.value.field) == (503, "data.page.id")
    assert (len(caught.value.accepted), len(caught.value.ids)) == (500, 10)
    assert await count(api, Event) == 500


async def test_a_wrong_key_is_named_as_such(api: Api, send: Send) -> None:
    with pytest.raises(NotAuthorisedError, match="does not accept the key: This key is none of ours"):
        await send(api.url, [page_event()], key="wrong")


async def test_an_address_that_is_not_the_apis_is_named_as_such(api: Api, send: Send) -> None:
    with pytest.raises(UnexpectedAnswerError, match="Check the address"):
        await send(api.url.replace("/api/automation/", "/elsewhere"), [page_event()])


@pytest.mark.usefixtures("short_pauses")
async def test_a_shut_door_is_tried_until_it_opens(door: Door, send: Send) -> None:
    door.statuses.extend([503, 502, 429, 504])

    [result] = await send(door.url, [page_event(id="evt-1")])

    assert result.id == "evt-1"
    assert len(door.posts) == 5
    assert all(one == door.posts[0] for one in door.posts)


@pytest.mark.usefixtures("short_pauses")
async def test_nobody_there_is_unavailable_after_so_many_tries(send: Send) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(UnavailableError, match="at 3 tries: ConnectError") as caught:
            await send(f"http://127.0.0.1:{nobody.getsockname()[1]}", [page_event(id="evt-1")], tries=3)
    assert caught.value.ids == ["evt-1"]


@pytest.mark.usefixtures("short_pauses")
async def test_an_answer_that_takes_too_long_is_tried_again_with_the_same_id(door: Door, send: Send) -> None:
    door.delay = 0.5
    with pytest.raises(UnavailableError, match="ReadTimeout"):
        await send(door.url, [page_event()], timeout=0.1, tries=2)

    assert door.posts[0] == door.posts[1]


def test_the_client_brings_nothing_but_httpx_with_it() -> None:
    code = """
import sys, httpx
before = {name.partition(".")[0] for name in sys.modules}
import automation.client, automation.client.sender
after = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(sorted(after - before))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "['automation']"
