"""Logs live, over real HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient, Timeout
from sqlalchemy import text

from automation.api import following
from automation.api.following import Following
from automation.database import Database
from automation.logs.lines import LineFormatter
from automation.models import Execution, ExecutionLog, Status, utc_now
from automation.models.log_queries import Wanted
from automation.requests import Origin
from tests.integration.api.serving import KEY, Api
from tests.integration.api.test_keys import made
from tests.integration.rows import execution, workflow, write
from tests.integration.statements import away, statements


class Lines:
    """What comes over one connection; each is waited for at most 10 s."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.last_id = ""

    async def next(self) -> tuple[str, Any]:
        name = ""
        async with asyncio.timeout(10):
            async for line in self._lines:
                if line.startswith("id: "):
                    self.last_id = line.removeprefix("id: ")
                elif line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    return name, json.loads(line.removeprefix("data: "))
        return "closed", None

    async def message(self) -> str:
        name, data = await self.next()
        assert name == "line", (name, data)
        return str(data["message"])


@asynccontextmanager
async def stream(api: Api, path: str, key: str = KEY, **given: Any) -> AsyncIterator[Lines]:
    headers = {"Authorization": f"Bearer {key}", **given.pop("headers", {})}
    async with (
        AsyncClient(base_url=api.url, timeout=Timeout(10)) as client,
        client.stream("GET", path, headers=headers, params=given) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Lines(answer.aiter_lines())


async def log(database: Database, id_: UUID | None, *messages: str, project: str = "p1", level: str = "INFO") -> None:
    rows = [ExecutionLog(execution_id=id_, project_id=project, level=level, message=one) for one in messages]
    await write(database, *rows)


async def end(database: Database, id_: UUID) -> None:
    async with database.transaction() as session:
        one = await session.get_one(Execution, id_)
        one.status, one.completed_at = Status.COMPLETED, utc_now()


async def test_a_follower_of_an_execution_sees_its_log_then_each_line_then_its_end(api: Api) -> None:
    id_ = await api.execution(await api.workflow(), Status.RUNNING)
    other = await api.execution(await api.workflow(), Status.RUNNING)
    await log(api.database, id_, "one", "two")

    async with stream(api, f"executions/{id_}/logs/stream/") as lines:
        assert await lines.next() == ("line", (await api.get(f"executions/{id_}/logs/")).json()["results"][0])
        assert await lines.message() == "two"
        await log(api.database, other, "of another")
        await log(api.database, id_, "three")
        assert await lines.message() == "three"
        await log(api.database, id_, "the last")
        await end(api.database, id_)
        assert await lines.message() == "the last"
        assert await lines.next() == ("end", {"status": "COMPLETED"})
        assert await lines.next() == ("closed", None)


async def test_all_are_followed_narrowed_as_lists_are(api: Api) -> None:
    mine = await api.execution(await api.workflow("p1"), Status.RUNNING)
    theirs = await api.execution(await api.workflow("p2"), Status.RUNNING)

    async with stream(api, "logs/stream/", project_id="p1", min_level="WARNING", q="FULL", last=0) as lines:
        await log(api.database, theirs, "disk full", project="p2", level="ERROR")
        await log(api.database, mine, "disk full?", level="INFO")
        await log(api.database, mine, "disk empty", level="ERROR")
        await log(api.database, mine, "disk full!", level="CRITICAL")
        name, line = await lines.next()

    assert (name, line["message"], line["execution_id"]) == ("line", "disk full!", str(mine))


async def test_the_last_lines_come_first_and_each_once(api: Api) -> None:
    id_ = await api.execution(await api.workflow(), Status.RUNNING)
    await log(api.database, id_, *(f"line {number}" for number in range(5)))

    async with stream(api, "logs/stream/", last=2) as lines:
        assert [await lines.message() for _ in range(2)] == ["line 3", "line 4"]
        await log(api.database, id_, "new")
        assert await lines.message() == "new"


async def test_who_connects_again_goes_on_behind_the_last_line_that_came(api: Api) -> None:
    id_ = await api.execution(await api.workflow(), Status.RUNNING)
    await log(api.database, id_, "one", "two")
    async with stream(api, "logs/stream/", last=10) as lines:
        assert await lines.message() == "one"
        seen = lines.last_id
    await log(api.database, id_, "three")

    async with stream(api, "logs/stream/", last=10, headers={"Last-Event-ID": seen}) as lines:
        assert [await lines.message() for _ in range(2)] == ["two", "three"]


async def test_the_id_of_a_last_line_that_is_none_is_as_good_as_not_there(api: Api) -> None:
    await log(api.database, await api.execution(await api.workflow(), Status.RUNNING), "one")

    for id_ in ("x", "-1", "9" * 5000):
        async with stream(api, "logs/stream/", last=1, headers={"Last-Event-ID": id_}) as lines:
            assert await lines.message() == "one"


async def test_a_key_of_a_project_follows_its_lines_only(api: Api) -> None:
    mine = await api.execution(await api.workflow("p1"), Status.RUNNING)
    theirs = await api.execution(await api.workflow("p2"), Status.RUNNING)
    key = (await made(api, name="ours", scopes=["read"], project_id="p1"))["key"]

    async with stream(api, "logs/stream/", key) as lines:
        await log(api.database, theirs, "theirs", project="p2")
        await log(api.database, mine, "ours")
        assert await lines.message() == "ours"
    headers = {"Authorization": f"Bearer {key}"}
    assert (await api.client.get(f"executions/{theirs}/logs/stream/", headers=headers)).status_code == 404
    assert (await api.client.get(f"executions/{uuid4()}/logs/stream/")).status_code == 404


async def test_one_that_has_ended_is_shown_and_over(api: Api) -> None:
    id_ = await api.execution(await api.workflow(), Status.FAILED)
    await log(api.database, id_, "it failed")

    async with stream(api, f"executions/{id_}/logs/stream/") as lines:
        assert await lines.message() == "it failed"
        assert await lines.next() == ("end", {"status": "FAILED"})


# --- nothing is missed, and what it costs -------------------------------------------------------------------


async def test_a_line_that_is_committed_late_comes_all_the_same(database: Database) -> None:
    id_ = await execution(database, await workflow(database), status=Status.RUNNING)
    following = Following(database, pause=0.02)
    follower = await following.follow(Wanted(), 0)
    coming = asyncio.ensure_future(anext(follower))

    async with asyncio.timeout(10):
        async with database.transaction() as slow:
            slow.add(ExecutionLog(execution_id=id_, level="INFO", message="began first"))
            await slow.flush()
            await log(database, id_, "committed first")
            assert b"committed first" in await coming
        assert b"began first" in await anext(follower)
    await following.close()


async def test_one_that_was_under_way_when_somebody_began_to_follow_comes_too(database: Database) -> None:
    id_ = await execution(database, await workflow(database), status=Status.RUNNING)
    following = Following(database, pause=0.02)
    async with asyncio.timeout(10):
        async with database.transaction() as slow:
            slow.add(ExecutionLog(execution_id=id_, level="INFO", message="under way"))
            await slow.flush()
            await log(database, id_, "there")
            follower = await following.follow(Wanted(), 5)
            assert b"there" in await anext(follower)
        assert b"under way" in await anext(follower)
    await following.close()


async def test_many_who_follow_cost_one_reading_and_none_when_they_are_gone(database: Database) -> None:
    following = Following(database, pause=0.02)
    followers = [await following.follow(Wanted(project_id=f"p{number}"), 0) for number in range(50)]
    waiting = [asyncio.ensure_future(anext(one)) for one in followers]
    with statements(database) as asked:
        async with asyncio.timeout(10):
            while len(asked) < 10:
                await asyncio.sleep(0.02)
    assert len({one for one, _ in asked}) == 1

    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for one in followers:
        await one.aclose()
    async with asyncio.timeout(10):
        while following.is_reading:
            await asyncio.sleep(0.02)


async def test_of_a_flood_the_newest_lines_come_and_how_many_were_left_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "SHOWN", 10)
    live = Following(database, pause=0.02)
    follower = await live.follow(Wanted(), 0)
    coming = asyncio.ensure_future(anext(follower))
    async with database.transaction() as session:
        await session.execute(
            text("""
                INSERT INTO workflow_execution_logs (level, message, timestamp, step_identifier, details)
                SELECT 'INFO', 'line ' || n, now(), '', '{}' FROM generate_series(1, 100) AS n
            """)
        )

    async with asyncio.timeout(10):
        found = [await coming, *[await anext(follower) for _ in range(10)]]
    assert b'"line 91"' in found[0]
    assert b'"line 100"' in found[9]
    assert found[10] == b'event: left_out\ndata: {"count":90}\n\n'
    await live.close()


async def test_what_goes_wrong_for_all_who_follow_belongs_to_no_request(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caplog.handler, "formatter", LineFormatter())
    live = Following(database, pause=0.02)

    async def requested() -> None:
        Origin("req-1").take_up()
        await live.follow(Wanted(), 0)

    await asyncio.create_task(requested())
    with away(database):
        async with asyncio.timeout(10):
            while not caplog.records:
                await asyncio.sleep(0.02)
    await live.close()

    line = json.loads(caplog.text.splitlines()[0])
    assert line["message"] == "Logs that are followed could not be read: away"
    assert "request_id" not in line["metadata"]
