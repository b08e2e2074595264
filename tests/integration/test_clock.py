"""The clock: what is due fires once, whoever looks, and after any restart; nothing fires early."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from time import monotonic

import pytest
from sqlalchemy import select, text

from automation.clock import Clock
from automation.database import Database
from automation.models import Timer, Trigger
from tests.integration.rows import every
from tests.integration.triggering import SETTINGS, event, pass_time, runs, send, timers, trigger


@asynccontextmanager
async def running(clock: Clock) -> AsyncIterator[None]:
    task = asyncio.create_task(clock.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until_fired(database: Database, count: int) -> list[Timer]:
    """All timers, once so many have ended."""
    deadline = monotonic() + 30
    while True:
        found = await timers(database)
        if sum(one.status != "WAITING" for one in found) >= count or monotonic() > deadline:
            return found
        await asyncio.sleep(0.02)


async def until_listening(database: Database) -> None:
    """Until a clock has looked at everything, and sleeps."""
    asleep = text("SELECT count(*) FROM pg_stat_activity WHERE query ILIKE 'LISTEN%' AND state = 'idle'")
    while True:
        async with database.transaction() as session:
            if (await session.execute(asleep)).scalar_one():
                return
        await asyncio.sleep(0.02)


async def make(database: Database, number: int) -> list[Trigger]:
    """Triggers of each kind that waits, and for each so many timers."""
    delayed = await trigger(database, "DELAYED", delay_seconds=60)
    silent = await trigger(database, "TIMEOUT", after_seconds=60, key="data.n")
    bounced = await trigger(database, debounce_seconds=60, key="data.n")
    await send(database, *(event(n=n) for n in range(number)))
    return [delayed, silent, bounced]


async def test_what_is_overdue_after_a_restart_fires_exactly_once(database: Database) -> None:
    made = await make(database, 5)
    await pass_time(database, 3600)

    async with running(Clock(database, SETTINGS)):
        assert {one.status for one in await until_fired(database, 15)} == {"FIRED"}
    async with running(Clock(database, SETTINGS)):
        pass
    assert await Clock(database, SETTINGS).round() == 0

    assert [len(await runs(database, one)) for one in made] == [5, 5, 5]


async def test_clocks_side_by_side_fire_each_timer_once(database: Database) -> None:
    made = await make(database, 150)
    await pass_time(database, 60)
    other = Database(database.url)
    clocks = [Clock(database, SETTINGS), Clock(other, SETTINGS), Clock(other, SETTINGS)]

    async def fire(clock: Clock) -> int:
        fired = 0
        while number := await clock.round():
            fired += number
        return fired

    fired = await asyncio.gather(*map(fire, clocks))
    while rest := await clocks[0].round():  # what one held while another looked
        fired.append(rest)
    await other.close()

    assert sum(fired) == 450
    assert [len(await runs(database, one)) for one in made] == [150, 150, 150]


async def test_nothing_fires_early(database: Database) -> None:
    made = await trigger(database, "DELAYED", delay_seconds=0.4)

    async with running(Clock(database, SETTINGS)):
        for _ in range(3):
            await send(database, event())
        ended = await until_fired(database, 3)

    assert [one.status for one in ended] == ["FIRED"] * 3
    assert all(one.ended_at and one.ended_at >= one.due_at for one in ended)
    assert all(one.due_at - one.created_at == timedelta(seconds=0.4) for one in ended)
    assert len(await runs(database, made)) == 3


async def test_a_shorter_wait_that_begins_while_the_clock_sleeps_is_not_late(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automation.clock._PAUSE", 3600.0)  # only the NOTIFY can wake it
    await trigger(database, "DELAYED", "long", delay_seconds=3600)
    await trigger(database, "DELAYED", "short", delay_seconds=0.05)
    await send(database, event("long"))

    async with running(Clock(database, SETTINGS)):
        await until_listening(database)
        await send(database, event("short"))
        found = await until_fired(database, 1)

    assert [one.status for one in found] == ["WAITING", "FIRED"]


async def test_one_that_cannot_fire_yet_is_left_and_all_others_fire(database: Database) -> None:
    """A timer that an intake is just putting off is passed over, and looked at again when that is done."""
    made = await trigger(database, debounce_seconds=60, key="data.n")
    await send(database, event(n=1), event(n=2))
    await pass_time(database, 60)

    async with database.transaction() as session:
        held = select(Timer).where(Timer.key == "1").with_for_update()
        (await session.execute(held)).scalar_one()
        assert await Clock(database, SETTINGS).round() == 1
    assert await Clock(database, SETTINGS).round() == 1

    assert sorted(one.key or "" for one in await runs(database, made)) == ["1", "2"]


async def test_an_event_that_comes_while_its_debounce_fires_begins_a_new_one(database: Database) -> None:
    made = await trigger(database, debounce_seconds=60)
    await send(database, event(n=1))
    await pass_time(database, 60)

    await asyncio.gather(Clock(database, SETTINGS).round(), send(database, event(n=2)))
    while await Clock(database, SETTINGS).round():
        pass
    await pass_time(database, 60)
    await Clock(database, SETTINGS).round()

    counted = [one.event_count for one in await runs(database, made)]
    assert counted in ([1, 1], [2])
    assert {one.status for one in await every(database, Timer)} == {"FIRED"}
