"""The database goes and comes back: that is told without it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from automation.alerting.away import DatabaseWatch
from automation.database import Database
from automation.models import Alert
from tests.integration.alerting.conftest import MakeWatch
from tests.integration.neighbours import Neighbour
from tests.integration.rows import every

# apprise imports a module that Python 3.13 no longer has
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automation.alerting.away._PAUSE", 0.02)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("quick")
async def test_an_outage_is_told_once_and_its_end_too_and_stands_among_the_alerts_afterwards(
    watch: MakeWatch, database: Database, pager: Neighbour
) -> None:
    seen = watch({"database-away": {"for_seconds": 0.1}})
    gone = Database("postgresql://nobody@127.0.0.1:9/nowhere")
    away = DatabaseWatch(gone, seen.settings)
    running = asyncio.create_task(away.run())
    try:
        await until(lambda: bool(pager.requests))
        assert seen.told == ["CRITICAL: The database does not answer"]
        assert "What to do: See whether PostgreSQL runs" in seen.bodies[0]
        away.database = database
        await until(lambda: len(pager.requests) > 1)
        async with asyncio.timeout(20):
            while not await every(database, Alert):
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await gone.close()
    assert seen.told[1:] == ["Over: The database does not answer"]
    alert = await seen.alert()
    assert (alert.rule, alert.state) == ("database-away", "RESOLVED")
    await seen.look()
    assert len(seen.told) == 2


@pytest.mark.usefixtures("quick")
async def test_a_database_that_is_away_for_a_moment_is_told_to_nobody(watch: MakeWatch, database: Database) -> None:
    seen = watch({"database-away": {"for_seconds": 3600}})
    gone = Database("postgresql://nobody@127.0.0.1:9/nowhere")
    away = DatabaseWatch(gone, seen.settings)
    asked: list[Any] = []
    ask = away._ask

    async def counted() -> str | None:
        asked.append(1)
        return await ask()

    away._ask = counted  # type: ignore[method-assign]
    running = asyncio.create_task(away.run())
    try:
        await until(lambda: len(asked) > 3)
        away.database = database
        count = len(asked)
        await until(lambda: len(asked) > count + 3)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await gone.close()
    assert (seen.told, await seen.alerts()) == ([], [])
