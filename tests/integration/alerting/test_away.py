"""The database goes and comes back: that is told without it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from automation.alerting.away import DatabaseWatch
from automation.database import Database
from automation.models import Alert
from tests.integration.alerting.conftest import MakeWatch
from tests.integration.alerting.test_telling import around
from tests.integration.alerting.watching import Watch
from tests.integration.neighbours import Neighbour
from tests.integration.rows import every

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automation.alerting.away._PAUSE", 0.02)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watched(seen: Watch) -> AsyncIterator[DatabaseWatch]:
    """A service whose database is away."""
    gone = Database("postgresql://nobody@127.0.0.1:9/nowhere")
    away = DatabaseWatch(gone, seen.settings)
    running = asyncio.create_task(away.run())
    try:
        yield away
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await gone.close()


async def back(away: DatabaseWatch, database: Database) -> None:
    """It answers again, and the incident is noted."""
    away.database = database
    async with asyncio.timeout(20):
        while not await every(database, Alert):
            await asyncio.sleep(0.01)


async def test_an_outage_is_told_once_and_its_end_too_and_stands_among_the_alerts_afterwards(
    watch: MakeWatch, database: Database, pager: Neighbour
) -> None:
    seen = watch({"database-away": {"for_seconds": 0.1}})
    async with watched(seen) as away:
        await until(lambda: bool(pager.requests))
        assert seen.told == ["CRITICAL: The database does not answer"]
        assert "What to do: See whether PostgreSQL runs" in seen.bodies[0]
        await back(away, database)
    alert = await seen.alert()
    assert (alert.rule, alert.state) == ("database-away", "RESOLVED")
    assert alert.message.startswith("The database does not answer: ConnectionRefusedError")
    await seen.look()
    await seen.look()
    assert seen.told[1:] == [f"Over: {alert.message}"]


async def test_a_channel_that_is_away_too_is_tried_again_and_the_other_is_not_told_twice(
    watch: MakeWatch, database: Database, pager: Neighbour, other: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automation.alerting.away._AGAIN", 0.05)
    seen = watch({"database-away": {"for_seconds": 0}}, {"admin_notify_urls": (pager.apprise_url, other.apprise_url)})
    other.answer = lambda request: (503, {})
    async with watched(seen) as away:
        await until(lambda: len(other.requests) > 2)
        await back(away, database)
    tried = len(other.requests)
    await seen.look()
    assert [one.partition(":")[0] for one in seen.told] == ["CRITICAL", "Over"]
    assert len(other.requests) == tried  # it never heard that it was on


async def test_an_outage_that_nobody_could_be_told_of_stands_among_the_alerts_all_the_same(
    watch: MakeWatch, database: Database, pager: Neighbour
) -> None:
    seen = watch({"database-away": {"for_seconds": 0}})
    pager.answer = lambda request: (503, {})
    async with watched(seen) as away:
        await until(lambda: bool(pager.requests))
        await back(away, database)
    tried = len(pager.requests)
    await seen.look()
    alert = await seen.alert()
    assert (alert.state, alert.notified_at, len(pager.requests)) == ("RESOLVED", None, tried)


async def test_an_outage_that_is_not_critical_wakes_nobody_in_quiet_hours(
    watch: MakeWatch, database: Database, pager: Neighbour
) -> None:
    warning = {"database-away": {"for_seconds": 0, "severity": "WARNING"}}
    seen = watch(warning, quiet_hours=around(datetime.now(UTC)))
    async with watched(seen) as away:
        await until(lambda: away._outage is not None and bool(away._outage.incidents))
        await back(away, database)
    assert (await seen.alert()).rule == "database-away"
    assert pager.requests == []


async def test_a_database_that_goes_again_before_it_says_that_its_outage_is_noted_has_it_noted_once(
    watch: MakeWatch, database: Database, pager: Neighbour
) -> None:
    seen = watch({"database-away": {"for_seconds": 0}})
    async with watched(seen) as away:
        await until(lambda: bool(pager.requests))
    assert away._outage is not None
    lost = away._outage
    away.database = database
    await away._is_back(lost)
    await away._is_back(lost)  # the answer to the first was lost
    await seen.look()
    assert len(await seen.alerts()) == 1
    assert len(seen.told) == 2


async def test_a_database_that_is_away_for_a_moment_is_told_to_nobody(watch: MakeWatch, database: Database) -> None:
    seen = watch({"database-away": {"for_seconds": 3600}})
    asked: list[Any] = []
    async with watched(seen) as away:
        ask = away._ask

        async def counted() -> str | None:
            asked.append(1)
            return await ask()

        away._ask = counted  # type: ignore[method-assign]
        await until(lambda: len(asked) > 3)
        away.database = database
        count = len(asked)
        await until(lambda: len(asked) > count + 3)
    assert (seen.told, await seen.alerts()) == ([], [])
