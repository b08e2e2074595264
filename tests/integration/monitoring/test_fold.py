"""Each ending is counted once: whenever its transaction commits, whoever folds, whatever becomes of it afterwards."""

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import delete, func, select, text, update

from automation import control
from automation.database import Database
from automation.engine.checkpoints import keep_tries
from automation.models import (
    Ending,
    ErrorCount,
    ErrorGroup,
    Execution,
    ExecutionAttempt,
    ResourceSample,
    Status,
    StepExecution,
    Timing,
    Workflow,
    utc_now,
)
from automation.monitoring.fold import fold, fold_all, tidy
from automation.monitoring.insights import error_insights, step_insights, workflow_insights
from automation.monitoring.windows import Window
from tests.integration import rows
from tests.integration.monitoring.ending import end_it, ended


def lately() -> Window:
    return Window(utc_now() - timedelta(hours=1), utc_now() + timedelta(minutes=1))


async def counted(database: Database) -> dict[str, int]:
    """Executions by status, as the figures have them."""
    async with database.transaction() as session:
        found = await workflow_insights(session, lately())
    return {
        "completed": sum(one.completed for one in found),
        "failed": sum(one.failed for one in found),
        "cancelled": sum(one.cancelled for one in found),
    }


async def ever(database: Database, measure: str) -> int:
    """How often something was counted, as Prometheus sees it."""
    query = select(func.coalesce(func.sum(Timing.count), 0)).where(
        Timing.measure == measure, Timing.resolution == "ever"
    )
    async with database.transaction() as session:
        return int(await session.scalar(query) or 0)


async def somebody_waits(database: Database) -> None:
    """Until a session waits for another one's row."""
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with database.reading() as session:
        while not await session.scalar(query):
            await asyncio.sleep(0.01)


async def fold_and_forget(database: Database) -> None:
    async with database.rehearsal() as session:
        await fold(session)


async def test_every_ending_is_counted_once_however_often_it_is_folded(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    for _ in range(3):
        await ended(database, workflow_id)
    await ended(database, workflow_id, Status.FAILED, error_code="NETWORK_ERROR", error_message="no answer")

    assert await fold_all(database) == 4
    assert await fold_all(database) == 0

    assert await counted(database) == {"completed": 3, "failed": 1, "cancelled": 0}
    assert await rows.every(database, Ending) == []


async def test_an_ending_that_commits_late_is_counted_all_the_same(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    early = await rows.execution(database, workflow_id, status=Status.RUNNING, started_at=utc_now(), attempt=1)
    async with database.transaction() as late:
        values = {"status": Status.COMPLETED, "completed_at": utc_now() - timedelta(minutes=5)}
        await late.execute(update(Execution).where(Execution.id == early).values(**values))
        await ended(database, workflow_id)
        assert await fold_all(database) == 1
    assert await fold_all(database) == 1

    assert (await counted(database))["completed"] == 2


async def test_two_that_fold_at_once_count_nothing_twice(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    for _ in range(20):
        await ended(database, workflow_id)

    assert sum(await asyncio.gather(*(fold_all(database) for _ in range(4)))) == 20
    assert await ever(database, "run") == 20


async def test_one_that_folds_beside_another_waits_for_its_figures_and_adds_to_them(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    for _ in range(10):
        await ended(database, workflow_id)
    async with database.transaction() as first:
        assert await fold(first) == 10
        for _ in range(10):
            await ended(database, workflow_id)
        second = asyncio.create_task(fold_all(database))
        await somebody_waits(database)
    assert await second == 10
    assert await ever(database, "run") == 20


async def test_those_that_fold_at_once_take_the_figures_in_one_order(database: Database) -> None:
    failed = {"error_code": "NETWORK_ERROR", "steps": {f"STEP_{n}": (Status.FAILED, 5.0) for n in range(5)}}
    for kind in "abcdefgh":
        workflow_id = await rows.workflow(database, kind=kind)
        await ended(database, workflow_id, Status.FAILED, error_message=f"cause {kind}", **failed)
    await fold_all(database)
    for workflow in await rows.every(database, Workflow):
        await ended(database, workflow.id, Status.FAILED, error_message=f"cause {workflow.kind}", **failed)

    for table, key in (
        ("timings", "resolution, measure, at, kind, name, status, bucket"),
        ("error_groups", "fingerprint"),
        ("error_counts", "resolution, at, fingerprint"),
    ):
        async with database.rehearsal() as first:
            # who waits for the first of them has none of the others
            of = "WHERE measure <> 'step'" if table == "timings" else ""
            await first.execute(text(f"SELECT FROM {table} {of} ORDER BY {key} LIMIT 1 FOR UPDATE"))
            second = asyncio.create_task(fold_and_forget(database))
            await somebody_waits(database)
            await first.execute(text(f"SELECT FROM {table} FOR UPDATE NOWAIT"))
        await second


async def test_what_was_taken_is_counted_again_if_the_process_dies_over_it(database: Database) -> None:
    await ended(database, await rows.workflow(database))
    async with database.rehearsal() as session:
        assert await fold(session) == 1

    assert await fold_all(database) == 1
    assert await ever(database, "run") == 1


async def test_an_execution_that_is_tried_again_by_hand_ends_twice(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    id_ = await ended(
        database, workflow_id, Status.FAILED, error_code="NETWORK_ERROR", seconds=2, at=utc_now() - timedelta(minutes=9)
    )
    async with database.transaction() as session:
        await control.retry(session, id_, asked_by="olga")
    # before anything was folded
    async with database.transaction() as session:
        begun = {"status": Status.RUNNING, "attempt": 2}
        await session.execute(update(Execution).where(Execution.id == id_).values(**begun))
    await end_it(database, id_, Status.COMPLETED, utc_now() + timedelta(seconds=1))

    assert await fold_all(database) == 2
    async with database.transaction() as session:
        [found] = await workflow_insights(session, lately())
    assert (found.completed, found.failed) == (1, 1)
    # it runs since somebody wanted that, not since its first try nine minutes ago
    assert found.mean_ms == pytest.approx((2000 + 1000) / 2, abs=300)
    # and its end is no answer to the event any more
    assert found.to_done_p50_ms is None


async def test_a_try_that_the_policy_repeats_counts_as_a_retry_and_as_an_error(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    id_ = await rows.execution(database, workflow_id, status=Status.RUNNING, started_at=utc_now(), attempt=1)
    for attempt in (1, 2):
        failed = ExecutionAttempt(
            execution_id=id_, attempt=attempt, status="FAILED", failed_step="save", error_code="NETWORK_ERROR",
            error_message=f"no answer from 10.0.0.{attempt}",
        )  # fmt: skip
        await rows.write(database, failed)
    await end_it(database, id_, Status.COMPLETED, utc_now())
    await fold_all(database)

    assert await ever(database, "retry") == 2
    assert await counted(database) == {"completed": 1, "failed": 0, "cancelled": 0}
    async with database.transaction() as session:
        [error] = await error_insights(session, lately())
    assert (error.error_code, error.step, error.message, error.count) == (
        "NETWORK_ERROR", "save", "no answer from <host>", 2,
    )  # fmt: skip
    assert error.execution_id == id_


async def test_each_try_of_a_step_counts_once(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    id_ = await rows.execution(database, workflow_id, status=Status.RUNNING, started_at=utc_now(), attempt=1)
    first = {"step_type": "CHECK", "order": 1, "execution_id": id_, "duration_ms": 10.0}
    again = {"step_type": "SAVE", "order": 2, "execution_id": id_, "duration_ms": 20.0}
    await rows.write(
        database,
        StepExecution(identifier="check", status=Status.COMPLETED, **first),
        StepExecution(identifier="save", status=Status.FAILED, **again),
        ExecutionAttempt(execution_id=id_, attempt=1, status="FAILED", error_code="NETWORK_ERROR"),
    )
    # the second try, whose beginning keeps the first one elsewhere, begins before anything is folded
    async with database.transaction() as session:
        await keep_tries(session, [(id_, "save")])
        done = {"status": Status.COMPLETED, "attempt": 2, "duration_ms": 30.0}
        await session.execute(update(StepExecution).where(StepExecution.identifier == "save").values(**done))
        await session.execute(update(Execution).where(Execution.id == id_).values(attempt=2))
    await end_it(database, id_, Status.COMPLETED, utc_now())
    await fold_all(database)

    async with database.transaction() as session:
        check, save = await step_insights(session, lately())
    assert (check.step_type, check.count, check.failed, check.mean_ms) == ("CHECK", 1, 0, 10.0)
    assert (save.step_type, save.count, save.failed, save.mean_ms) == ("SAVE", 2, 1, 25.0)


async def test_an_execution_cancelled_between_two_tries_counts_its_steps_once(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    id_ = await rows.execution(database, workflow_id, status=Status.RUNNING, started_at=utc_now(), attempt=1)
    await rows.write(
        database,
        StepExecution(
            execution_id=id_, identifier="save", step_type="SAVE", order=1, status=Status.FAILED, duration_ms=20.0
        ),
        ExecutionAttempt(execution_id=id_, attempt=1, status="FAILED", error_code="NETWORK_ERROR"),
    )
    await end_it(database, id_, Status.CANCELLED, utc_now() + timedelta(seconds=1))
    await fold_all(database)

    async with database.transaction() as session:
        [save] = await step_insights(session, lately())
    assert (save.count, save.failed) == (1, 1)
    assert await counted(database) == {"completed": 0, "failed": 0, "cancelled": 1}


async def test_a_clock_that_is_set_back_between_two_tries_does_not_matter(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    later = utc_now() + timedelta(seconds=50)
    id_ = await ended(
        database, workflow_id, Status.FAILED, at=later, error_code="NETWORK_ERROR", steps={"SAVE": (Status.FAILED, 20)}
    )
    async with database.transaction() as session:
        await control.retry(session, id_, asked_by="olga")
        done = {"status": Status.COMPLETED, "attempt": 2, "duration_ms": 30.0}
        await session.execute(update(StepExecution).where(StepExecution.execution_id == id_).values(**done))
        await session.execute(update(Execution).where(Execution.id == id_).values(status=Status.RUNNING, attempt=2))
    await end_it(database, id_, Status.COMPLETED, utc_now() - timedelta(seconds=50))
    await fold_all(database)

    async with database.transaction() as session:
        [save] = await step_insights(session, lately())
        [found] = await workflow_insights(session, lately())
    assert (save.count, save.failed, save.mean_ms) == (2, 1, 25.0)
    assert (found.completed, found.failed, found.mean_ms) == (1, 1, 500.0)
    # somebody wanted it tried again: the end is no answer to the event, whatever the clocks say
    assert found.to_done_p50_ms is None


async def test_a_step_that_is_run_anew_before_its_ending_is_folded_was_done(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    done = {"CHECK": (Status.COMPLETED, 10.0), "SAVE": (Status.FAILED, 20.0)}
    id_ = await ended(database, workflow_id, Status.FAILED, error_code="NETWORK_ERROR", steps=done)
    async with database.transaction() as session:
        await control.retry(session, id_, asked_by="olga", from_start=True)
    await fold_all(database)

    async with database.transaction() as session:
        check, save = await step_insights(session, lately())
    assert (check.count, check.failed, check.mean_ms) == (1, 0, 10.0)
    assert (save.count, save.failed, save.mean_ms) == (1, 1, 20.0)


async def test_the_time_from_cancel_to_stopped_is_that_of_what_ran(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    await ended(
        database, workflow_id, Status.CANCELLED, seconds=9, cancel_requested_at=utc_now() - timedelta(seconds=4)
    )
    waiting = await rows.execution(database, workflow_id)
    await end_it(database, waiting, Status.CANCELLED, utc_now())
    await fold_all(database)

    async with database.transaction() as session:
        stops = (await session.execute(select(Timing).where(Timing.measure == "stop"))).scalars().all()
    assert {one.count for one in stops} == {1}
    assert stops[0].total_ms == pytest.approx(4000, abs=500)


async def test_an_execution_that_is_gone_before_it_is_folded_was_there(database: Database) -> None:
    id_ = await ended(database, await rows.workflow(database), steps={"SAVE": (Status.COMPLETED, 5)})
    async with database.transaction() as session:
        await session.execute(delete(Execution).where(Execution.id == id_))
    await fold_all(database)

    assert (await counted(database))["completed"] == 1


async def test_a_storm_of_one_cause_is_one_group(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    for number in range(30):
        message = f"page 'home-{number}' version {number} is older than the saved version 9{number}"
        await ended(database, workflow_id, Status.FAILED, error_code="VALIDATION_ERROR", error_message=message)
    await fold_all(database)

    [group] = await rows.every(database, ErrorGroup)
    assert group.message == "page <text> version <number> is older than the saved version <number>"
    async with database.transaction() as session:
        [error] = await error_insights(session, lately())
    assert error.count == 30


async def test_figures_that_no_window_reaches_are_removed_and_those_of_prometheus_stay(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    old = utc_now() - timedelta(days=100)
    await ended(database, workflow_id, Status.FAILED, at=old, error_code="NETWORK_ERROR", error_message="gone")
    await ended(database, workflow_id, at=utc_now() - timedelta(days=3))
    await rows.write(database, ResourceSample(at=utc_now() - timedelta(days=8), role="service", host="h", pid=1))
    await fold_all(database)
    async with database.transaction() as session:
        await tidy(session)

    kept = {(one.resolution, one.status) for one in await rows.every(database, Timing) if one.measure == "run"}
    assert kept == {
        ("hour", "COMPLETED"), ("day", "COMPLETED"), ("ever", "COMPLETED"), ("ever", "FAILED"),
    }  # fmt: skip
    assert await rows.every(database, ErrorGroup) == []
    assert await rows.every(database, ErrorCount) == []
    assert await rows.every(database, ResourceSample) == []


async def test_what_has_not_ended_or_only_changes_afterwards_is_not_counted(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    id_: UUID = await rows.execution(database, workflow_id)
    async with database.transaction() as session:
        for status in (Status.RUNNING, Status.WAITING, Status.RETRYING):
            await session.execute(update(Execution).where(Execution.id == id_).values(status=status))
    assert await fold_all(database) == 0

    await end_it(database, id_, Status.COMPLETED, utc_now())
    async with database.transaction() as session:
        await session.execute(text("UPDATE workflow_executions SET status = 'COMPLETED', result = '{\"a\": 1}'"))
    assert await fold_all(database) == 1
