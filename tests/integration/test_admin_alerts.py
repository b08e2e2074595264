"""Administrators are told of what the engine cannot mend: at once, and of the same thing not again too soon."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from automation.database import Database
from automation.foundation.admin import admin_alert, tell_admins
from automation.models import Alert, utc_now
from automation.outbox import Alerts
from automation.settings import Settings
from tests.integration.neighbours import Neighbour
from tests.integration.rows import every, write

# apprise imports a module that Python 3.13 no longer has
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.fixture
def pager() -> Iterator[Neighbour]:
    server = Neighbour()
    yield server
    server.go()


def address(pager: Neighbour) -> str:
    return pager.url.replace("http", "json", 1)


def settings(*pagers: Neighbour, **more: Any) -> Settings:
    return Settings(admin_notify_urls=tuple(map(address, pagers)), **more)


async def tell(database: Database, key: str = "DATABASE_ERROR", title: str = "The database refuses") -> None:
    await tell_admins(database, Settings(), key=key, title=title, body="disk full")


async def cooldown_is_over(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(update(Alert).values(notified_at=Alert.notified_at - timedelta(seconds=901)))


async def test_the_first_incident_is_told_at_once(database: Database, pager: Neighbour) -> None:
    await tell(database)
    await Alerts(database, settings(pager)).round()
    [message] = [one.json for one in pager.requests]
    assert message["title"] == "The database refuses"
    assert message["message"].startswith("disk full")
    assert "held back" not in message["message"]


async def test_the_next_ones_are_held_back_and_counted_when_the_cooldown_is_over(
    database: Database, pager: Neighbour
) -> None:
    alerts = Alerts(database, settings(pager))
    await tell(database)
    await alerts.round()
    for _ in range(5):
        await tell(database)
        await alerts.round()
    assert len(pager.requests) == 1
    await cooldown_is_over(database)
    await alerts.round()
    await alerts.round()
    assert len(pager.requests) == 2
    assert "4 more of this kind (DATABASE_ERROR) were held back" in pager.requests[1].json["message"]
    assert all(one.notified_at for one in await every(database, Alert))


async def test_another_kind_of_incident_has_a_cooldown_of_its_own(database: Database, pager: Neighbour) -> None:
    await tell(database)
    await tell(database, key="rollback", title="A rollback failed")
    await Alerts(database, settings(pager)).round()
    assert {one.json["title"] for one in pager.requests} == {"The database refuses", "A rollback failed"}


async def test_another_process_keeps_the_cooldown_too(database: Database, pager: Neighbour) -> None:
    for _ in range(2):
        await tell(database)
        await Alerts(database, settings(pager)).round()
    assert len(pager.requests) == 1


async def test_a_channel_that_fails_is_tried_again_and_the_other_is_not_told_twice(
    database: Database, pager: Neighbour
) -> None:
    other = Neighbour()
    try:
        alerts = Alerts(database, settings(pager, other))
        pager.answer = lambda request: (503, {})
        await tell(database)
        for _ in range(2):
            await alerts.round()
        assert len(pager.requests) == 1  # the second try is not due yet
        pager.answer = lambda request: (200, {})
        for pace in alerts._pace.values():
            pace.next_try = 0.0
        await alerts.round()
        assert (len(pager.requests), len(other.requests)) == (2, 1)
    finally:
        other.go()
    assert all(one.notified_at for one in await every(database, Alert))


async def test_two_services_side_by_side_tell_once(database: Database, pager: Neighbour) -> None:
    await tell(database)
    both = [asyncio.create_task(Alerts(database, settings(pager)).run()) for _ in range(2)]
    try:
        async with asyncio.timeout(20):
            while not all(one.notified_at for one in await every(database, Alert)):
                await asyncio.sleep(0.05)
    finally:
        for one in both:
            one.cancel()
        await asyncio.gather(*both, return_exceptions=True)
    assert len(pager.requests) == 1


async def test_what_is_a_day_old_and_what_is_not_critical_is_not_told(database: Database, pager: Neighbour) -> None:
    old = admin_alert("k", "old", "")
    old.created_at = utc_now() - timedelta(days=1, minutes=1)
    await write(database, old, Alert(rule="r", severity="WARNING", message="slow"))
    await Alerts(database, settings(pager)).round()
    assert pager.requests == []


async def test_who_has_something_to_tell_neither_fails_nor_waits_when_the_database_is_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = Database("postgresql://nobody@127.0.0.1:9/nowhere")
    async with asyncio.timeout(10):
        await tell_admins(gone, Settings(), key="k", title="All is\nlost", body="b")
    await gone.close()
    [record] = [one for one in caplog.records if one.levelname == "CRITICAL"]
    assert "All is\\nlost" in record.getMessage()


async def test_an_alert_of_an_execution_names_it(database: Database, pager: Neighbour) -> None:
    await write(database, admin_alert("k", "t", "b", execution_id=UUID(int=7), project_id="p1"))
    await Alerts(database, settings(pager)).round()
    assert f"Execution {UUID(int=7)}, project p1." in pager.requests[0].json["message"]
