"""Windows of time, and figures over time."""

from datetime import UTC, datetime, timedelta

import pytest

from automation.database import Database
from automation.errors import RefusedError
from automation.models import ResourceSample, Status, utc_now
from automation.monitoring.fold import fold_all
from automation.monitoring.insights import (
    error_insights,
    resource_insights,
    step_insights,
    workflow_history,
    workflow_insights,
)
from automation.monitoring.windows import Window
from tests.integration import rows
from tests.integration.monitoring.ending import ended


def hour(ago: int) -> datetime:
    """The begin of an hour, so many hours ago."""
    return utc_now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=ago)


async def test_a_window_holds_what_ended_from_its_begin_to_before_its_end(database: Database) -> None:
    workflow_id = await rows.workflow(database, kind="auto-save")
    begin = hour(3)
    for at in (begin - timedelta(milliseconds=1), begin, begin + timedelta(minutes=59), begin + timedelta(hours=1)):
        await ended(database, workflow_id, at=at, seconds=0.1, steps={"SAVE": (Status.COMPLETED, 1.0)})
    await fold_all(database)

    async with database.transaction() as session:
        window = Window(begin, begin + timedelta(hours=1))
        [found] = await workflow_insights(session, window)
        [step] = await step_insights(session, window)
        assert await workflow_insights(session, window, kind="publish") == []
        assert await step_insights(session, window, kind="publish") == []
        assert await workflow_insights(session, Window(begin - timedelta(hours=9), begin - timedelta(hours=8))) == []
    assert (found.count, step.count) == (2, 2)


async def test_a_long_window_is_read_by_the_hour_and_says_the_same(database: Database) -> None:
    workflow_id = await rows.workflow(database, kind="auto-save")
    for days in (0, 3, 60):
        at = utc_now() - timedelta(days=days)
        await ended(database, workflow_id, at=at, seconds=0.1)
        await ended(database, workflow_id, Status.FAILED, at=at, error_code="NETWORK_ERROR", error_message="x")
    await fold_all(database)

    counts = {}
    async with database.transaction() as session:
        for days in (1, 7, 90):
            window = Window(utc_now() - timedelta(days=days), utc_now())
            [found] = await workflow_insights(session, window)
            [error] = await error_insights(session, window)
            counts[days] = (found.completed, found.failed, error.count)
    assert counts == {1: (1, 1, 1), 7: (2, 2, 2), 90: (3, 3, 3)}


async def test_a_window_from_within_a_day_is_exact_at_both_ends(database: Database) -> None:
    workflow_id = await rows.workflow(database, kind="auto-save")
    now = utc_now().replace(second=0, microsecond=0)
    begin, end = hour(24 * 9 + 5), now - timedelta(minutes=20)
    for at in (
        begin - timedelta(seconds=1), begin, begin + timedelta(hours=1), begin + timedelta(days=1), hour(24 * 4),
        end - timedelta(hours=2), end - timedelta(seconds=1), end, end + timedelta(minutes=1),
    ):  # fmt: skip
        await ended(
            database, workflow_id, Status.FAILED, at=at, seconds=0.1, steps={"SAVE": (Status.FAILED, 1.0)},
            error_code="NETWORK_ERROR", error_message="no answer",
        )  # fmt: skip
    await fold_all(database)

    async with database.transaction() as session:
        [found] = await workflow_insights(session, Window(begin, end))
        [step] = await step_insights(session, Window(begin, end))
        [error] = await error_insights(session, Window(begin, end))
        [inner] = await workflow_insights(session, Window(begin + timedelta(hours=1), end - timedelta(minutes=1)))
    assert (found.count, step.count, error.count, inner.count) == (6, 6, 6, 4)


async def test_a_history_by_hours_or_days_has_each_ending_in_its_own_bucket(database: Database) -> None:
    workflow_id = await rows.workflow(database, kind="auto-save")
    midnight = hour(0).replace(hour=0) - timedelta(days=20)
    for after in (0, 11, 12, 23, 24, 47):
        await ended(database, workflow_id, at=midnight + timedelta(hours=after))
    await fold_all(database)

    async with database.transaction() as session:
        window = Window(midnight, midnight + timedelta(days=3))
        halves = await workflow_history(session, window, timedelta(hours=12))
        days = await workflow_history(session, window, timedelta(days=1))
        rest = await workflow_history(session, Window(midnight + timedelta(hours=12), window.until), timedelta(days=1))
    assert [((one.at - midnight) / timedelta(hours=1), one.completed) for one in halves] == [
        (0, 2), (12, 2), (24, 1), (36, 1),
    ]  # fmt: skip
    assert [(one.at - midnight, one.completed) for one in days] == [(timedelta(0), 4), (timedelta(days=1), 2)]
    assert [(one.at - midnight, one.completed) for one in rest] == [(timedelta(0), 2), (timedelta(days=1), 2)]


async def test_a_project_s_history_is_of_its_own_executions_that_ended_in_the_window(database: Database) -> None:
    saves = await rows.workflow(database, kind="auto-save", project_id="p1")
    publishes = await rows.workflow(database, kind="publish", project_id="p1")
    foreign = await rows.workflow(database, kind="auto-save", project_id="p2")
    begin = hour(5)
    await ended(database, saves, at=begin + timedelta(minutes=10), seconds=1)
    await ended(database, saves, Status.FAILED, at=begin + timedelta(minutes=12), seconds=1)
    await ended(database, publishes, Status.CANCELLED, at=begin + timedelta(minutes=31))
    await ended(database, saves, at=begin + timedelta(minutes=61), seconds=120)
    await ended(database, foreign, at=begin + timedelta(minutes=10))

    async with database.transaction() as session:
        window, part = Window(begin, begin + timedelta(hours=1)), timedelta(minutes=5)
        found = await workflow_history(session, window, part, project_id="p1")
        only = await workflow_history(session, window, part, project_id="p1", kind="publish")
        assert await workflow_history(session, window, part, project_id="nobody") == []
    assert [(one.at - begin, one.kind, one.completed, one.failed, one.cancelled) for one in found] == [
        (timedelta(minutes=10), "auto-save", 1, 1, 0),
        (timedelta(minutes=30), "publish", 0, 0, 1),
    ]
    assert 794 < (found[0].p50_ms or 0) < 1260
    assert [one.kind for one in only] == ["publish"]


async def test_history_has_a_bucket_for_each_stretch_and_kind_in_which_something_ended(database: Database) -> None:
    saves = await rows.workflow(database, kind="auto-save")
    publishes = await rows.workflow(database, kind="publish", project_id="p2")
    begin = hour(5)
    await ended(database, saves, at=begin + timedelta(minutes=1), seconds=1)
    await ended(database, saves, Status.FAILED, at=begin + timedelta(minutes=4), seconds=1)
    await ended(database, saves, at=begin + timedelta(minutes=14), seconds=1)
    await ended(database, publishes, Status.CANCELLED, at=begin + timedelta(minutes=2))
    await fold_all(database)

    async with database.transaction() as session:
        window = Window(begin, begin + timedelta(hours=1))
        found = await workflow_history(session, window, timedelta(minutes=5))
        only = await workflow_history(session, window, timedelta(minutes=5), kind="publish")
    assert [(one.at - begin, one.kind, one.completed, one.failed, one.cancelled) for one in found] == [
        (timedelta(0), "auto-save", 1, 1, 0),
        (timedelta(0), "publish", 0, 0, 1),
        (timedelta(minutes=10), "auto-save", 1, 0, 0),
    ]
    assert found[0].at.tzinfo is not None
    assert 794 < (found[0].p50_ms or 0) < 1260
    assert [one.kind for one in only] == ["publish"]


@pytest.mark.parametrize(
    ("days", "bucket", "field"),
    [
        (1, timedelta(seconds=90), "bucket"),
        (1, timedelta(0), "bucket"),
        (7, timedelta(minutes=30), "bucket"),
        (90, timedelta(hours=2), "bucket"),
    ],
)
async def test_a_history_of_parts_that_the_figures_do_not_have_is_refused(
    database: Database, days: int, bucket: timedelta, field: str
) -> None:
    window = Window(utc_now() - timedelta(days=days), utc_now())
    async with database.transaction() as session:
        with pytest.raises(RefusedError) as caught:
            await workflow_history(session, window, bucket)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("length", "field"), [(timedelta(0), "until"), (timedelta(days=-1), "until"), (timedelta(days=91), "since")]
)
def test_a_window_that_is_none_or_too_long_is_refused(length: timedelta, field: str) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(RefusedError) as caught:
        Window(since, since + length)
    assert caught.value.field == field


async def test_errors_come_by_their_number_and_no_more_of_them_than_asked_for(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    for message, times in (("rare", 1), ("often", 3), ("now and then", 2)):
        for _ in range(times):
            await ended(database, workflow_id, Status.FAILED, error_code="NETWORK_ERROR", error_message=message)
    await fold_all(database)

    async with database.transaction() as session:
        found = await error_insights(session, Window(hour(1), utc_now() + timedelta(seconds=1)), limit=2)
    assert [(one.message, one.count) for one in found] == [("often", 3), ("now and then", 2)]


async def test_resources_are_means_of_equal_parts_and_never_too_many(database: Database) -> None:
    begin = hour(48)
    samples = [
        ResourceSample(at=begin + timedelta(seconds=15 * n), role="service", host="h", pid=1, cpu=n % 2, memory_bytes=n)
        for n in range(2000)
    ]
    async with database.transaction() as session:
        session.add_all(samples)
    async with database.transaction() as session:
        [series] = await resource_insights(session, Window(begin, begin + timedelta(hours=9)))
        [short] = await resource_insights(session, Window(begin, begin + timedelta(minutes=1)))
    assert 200 < len(series.points) <= 301
    assert sum(one.cpu or 0 for one in series.points) / len(series.points) == pytest.approx(0.5, abs=0.1)
    assert [one.memory_bytes for one in short.points] == [0, 1, 2, 3]
