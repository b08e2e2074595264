"""An execution live, over real HTTP."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient, Timeout

from automation.api.execution_stream import EventStream
from automation.api.watching import HEARTBEAT, Watching
from automation.database import Database
from automation.logs.lines import LineFormatter
from automation.models import Execution, Status, StepExecution, utc_now
from automation.requests import Origin
from tests.integration.api.serving import KEY, Api, serve
from tests.integration.rows import execution, workflow
from tests.integration.statements import away, statements

Event = tuple[str, Any]


class Events:
    """What comes over one connection; an event is waited for at most 10 s."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines

    async def next(self) -> Event:
        name = ""
        async with asyncio.timeout(10):
            async for line in self._lines:
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    return name, json.loads(line.removeprefix("data: "))
        return "closed", None

    async def until(self, name: str) -> Any:
        """The data of the next event of that name."""
        while True:
            came, data = await self.next()
            assert came != "closed", f"closed before {name}"
            if came == name:
                return data


@asynccontextmanager
async def stream(api: Api, id_: UUID, **headers: str) -> AsyncIterator[Events]:
    headers = {"Authorization": f"Bearer {KEY}", **headers}
    async with (
        AsyncClient(base_url=api.url, timeout=Timeout(10)) as client,
        client.stream("GET", f"executions/{id_}/stream/", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Events(answer.aiter_lines())


async def change(database: Database, id_: UUID, **values: Any) -> None:
    async with database.transaction() as session:
        execution = await session.get_one(Execution, id_)
        for name, value in values.items():
            setattr(execution, name, value)


async def begin_step(api: Api, id_: UUID, identifier: str, **values: Any) -> None:
    row = {"step_type": "X", "order": 1, "status": Status.RUNNING, "started_at": utc_now(), **values}
    async with api.database.transaction() as session:
        session.add(StepExecution(execution_id=id_, identifier=identifier, **row))


async def test_a_watcher_sees_it_as_it_is_then_what_changes_then_its_end(api: Api) -> None:
    id_ = await api.execution(await api.workflow())

    async with stream(api, id_) as events:
        name, snapshot = await events.next()
        assert name == "snapshot"
        assert snapshot == (await api.get(f"executions/{id_}/")).json()

        await change(api.database, id_, status=Status.RUNNING)
        assert await events.next() == ("change", {"status": "RUNNING"})

        await begin_step(api, id_, "one", progress=0.5)
        name, changed = await events.next()
        assert (name, list(changed)) == ("change", ["steps"])
        assert (changed["steps"][0]["identifier"], changed["steps"][0]["progress"]) == ("one", 0.5)

        await change(api.database, id_, status=Status.COMPLETED, completed_at=utc_now(), result={"steps": {}})
        assert {"status", "completed_at", "result"} <= set((await events.next())[1])
        assert await events.next() == ("end", {"status": "COMPLETED"})
        assert await events.next() == ("closed", None)


async def test_one_that_has_ended_is_shown_once(api: Api) -> None:
    id_ = await api.execution(await api.workflow(), Status.FAILED)

    async with stream(api, id_) as events:
        assert (await events.next())[0] == "snapshot"
        assert await events.next() == ("end", {"status": "FAILED"})
        assert await events.next() == ("closed", None)


async def test_who_connects_again_gets_a_snapshot_again(api: Api) -> None:
    id_ = await api.execution(await api.workflow(), Status.RUNNING)
    async with stream(api, id_) as events:
        await events.until("snapshot")
    await change(api.database, id_, status=Status.WAITING)

    async with stream(api, id_, **{"Last-Event-ID": "17"}) as events:
        assert (await events.until("snapshot"))["status"] == "WAITING"


async def test_one_that_is_deleted_meanwhile_ends_the_stream(api: Api) -> None:
    id_ = await api.execution(await api.workflow(), Status.RUNNING)

    async with stream(api, id_) as events:
        await events.until("snapshot")
        async with api.database.transaction() as session:
            await session.delete(await session.get_one(Execution, id_))
        assert await events.until("end") == {"status": None}


@pytest.mark.parametrize(("key", "status"), [(KEY, 404), ("wrong", 401)])
async def test_a_stream_of_nothing_or_for_nobody_is_refused(api: Api, key: str, status: int) -> None:
    answer = await api.client.get(f"executions/{uuid4()}/stream/", headers={"Authorization": f"Bearer {key}"})

    assert answer.status_code == status


# --- what it costs ------------------------------------------------------------------------------------------


async def test_many_watchers_of_many_executions_cost_one_look_and_none_when_they_are_gone(database: Database) -> None:
    workflow_id = await workflow(database)
    ids = [await execution(database, workflow_id, status=Status.RUNNING) for _ in range(3)]
    watching = Watching(database, pause=0.05)
    watchers = [await watching.follow(id_) for id_ in ids for _ in range(20)]
    for watcher in watchers:
        assert (await anext(watcher)).startswith(b"event: snapshot")

    news = [asyncio.create_task(anext(watcher)) for watcher in watchers]
    with statements(database) as asked:
        async with asyncio.timeout(10):
            while len(asked) < 10:
                await asyncio.sleep(0.05)
    assert all("e.ctid" in one for one, _ in asked)  # only the one cheap question, about all of them at once
    await change(database, ids[0], status=Status.RETRYING)
    told = await asyncio.gather(*news[:20])
    assert set(told) == {b'event: change\ndata: {"status":"RETRYING"}\n\n'}
    assert not any(one.done() for one in news[20:])

    for one in news[20:]:
        one.cancel()
    await asyncio.gather(*news[20:], return_exceptions=True)
    for watcher in watchers:
        await watcher.aclose()
    async with asyncio.timeout(10):
        while watching.is_looking:
            await asyncio.sleep(0.01)


async def test_a_watcher_who_missed_changes_gets_a_snapshot_of_the_last_one(database: Database) -> None:
    id_ = await execution(database, await workflow(database))
    watching = Watching(database, pause=0.01)
    quick, slow = await watching.follow(id_), await watching.follow(id_)
    await anext(quick)
    await anext(slow)

    for status in (Status.RUNNING, Status.RETRYING):
        await change(database, id_, status=status)
        assert status.encode() in await anext(quick)

    caught_up = await anext(slow)
    assert caught_up.startswith(b"event: snapshot")
    assert b'"status":"RETRYING"' in caught_up
    await watching.close()


async def test_while_nothing_happens_a_watcher_hears_that_the_connection_lives(database: Database) -> None:
    id_ = await execution(database, await workflow(database))
    watching = Watching(database, heartbeat=0.01)
    watcher = await watching.follow(id_)
    await anext(watcher)

    assert [await anext(watcher), await anext(watcher)] == [HEARTBEAT, HEARTBEAT]
    await watching.close()


async def test_who_takes_nothing_is_dropped(database: Database) -> None:
    id_ = await execution(database, await workflow(database))
    watching = Watching(database, pause=0.01)
    response = EventStream(await watching.follow(id_), slowest=0.05)

    async def never_takes(message: object) -> None:
        await asyncio.Event().wait()

    async with asyncio.timeout(10):
        await response.stream_response(never_takes)
        while watching.is_looking:
            await asyncio.sleep(0.01)


async def test_a_server_that_stops_sends_its_watchers_away(api: Api) -> None:
    id_ = await api.execution(await api.workflow(), Status.RUNNING)

    serving = serve(api.services)
    other = await serving.__aenter__()

    async with stream(other, id_) as events:
        await events.until("snapshot")
        async with asyncio.timeout(10):  # it would wait for its open connections
            await serving.__aexit__(None, None, None)
        assert await events.next() == ("closed", None)


async def test_what_goes_wrong_for_all_who_watch_belongs_to_no_request(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caplog.handler, "formatter", LineFormatter())
    id_ = await execution(database, await workflow(database))
    watching = Watching(database, pause=0.02)

    async def requested() -> AsyncGenerator[bytes, None]:
        Origin("req-1").take_up()
        watcher = await watching.follow(id_)
        await anext(watcher)
        return watcher

    watcher = await asyncio.create_task(requested())
    with away(database):
        async with asyncio.timeout(10):
            while not caplog.records:
                await asyncio.sleep(0.02)
    await watcher.aclose()
    await watching.close()

    line = json.loads(caplog.text.splitlines()[0])
    assert line["message"] == "Executions that are watched could not be looked at: away"
    assert "request_id" not in line["metadata"]
