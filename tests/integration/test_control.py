"""Retrying and cancelling: which states allow it, and what is left in the table."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from automation import control
from automation.database import Database
from automation.errors import ConflictError, NotFoundError
from automation.intake.create import WORK_CHANNEL
from automation.models import FINAL, Execution, FlowRun, Status, StepExecution, Workflow, utc_now
from automation.settings import Settings

UNFINISHED = [Status.PENDING, Status.RUNNING, Status.RETRYING, Status.WAITING]


@pytest.fixture
async def workflow_id(database: Database) -> UUID:
    workflow = Workflow(id=uuid4(), name="Cleanup", kind="cleanup", trigger_type="SCHEDULED")
    async with database.transaction() as session:
        session.add(workflow)
    return workflow.id


async def write(database: Database, workflow_id: UUID, status: Status) -> UUID:
    """An execution that has been through everything: a flow run, an error, a cancel request, retries."""
    ended = utc_now() - timedelta(minutes=1)
    run = FlowRun(id=uuid4(), prefect_id=uuid4(), kind="cleanup", state="FAILED")
    execution = Execution(
        id=uuid4(),
        workflow_id=workflow_id,
        kind="cleanup",
        status=status,
        trigger_type="SCHEDULED",
        due_at=ended - timedelta(hours=1),
        completed_at=ended if status in FINAL else None,
        error_message="it broke",
        error_code="NETWORK_ERROR",
        attempt=6,
        retries=5,
        lost_count=2,
        dispatch_no=6,
        batch=True,
        flow_run_id=run.id,
        cancel_requested_at=ended if status is Status.CANCELLED else None,
    )
    async with database.transaction() as session:
        session.add(run)
        await session.flush()
        session.add(execution)
    return execution.id


async def read(database: Database, execution_id: UUID) -> Execution:
    async with database.transaction() as session:
        return await session.get_one(Execution, execution_id)


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
async def test_a_retry_starts_the_policy_anew_and_keeps_the_checkpoints(
    database: Database, workflow_id: UUID, status: Status
) -> None:
    id_ = await write(database, workflow_id, status)
    async with database.transaction() as session:
        session.add(StepExecution(execution_id=id_, identifier="a", step_type="A", order=1, status=Status.COMPLETED))

    async with database.transaction() as session:
        await control.retry(session, id_)

    stored = await read(database, id_)
    assert stored.status == Status.RETRYING
    assert not stored.batch
    assert abs(stored.due_at - utc_now()) < timedelta(seconds=10)
    assert (stored.flow_run_id, stored.completed_at, stored.cancel_requested_at) == (None, None, None)
    assert (stored.error_message, stored.error_code) == ("", "")
    assert (stored.attempt, stored.retries, stored.lost_count, stored.dispatch_no) == (6, 0, 0, 6)
    async with database.transaction() as session:
        step = (await session.scalars(select(StepExecution))).one()
    assert step.status == Status.COMPLETED


async def test_a_retry_wakes_the_dispatcher(database: Database, workflow_id: UUID) -> None:
    id_ = await write(database, workflow_id, Status.FAILED)
    woken = asyncio.Event()
    connection = await database.listen()
    await connection.add_listener(WORK_CHANNEL, lambda *_: woken.set())

    async with database.transaction() as session:
        await control.retry(session, id_)

    await asyncio.wait_for(woken.wait(), 5)
    await connection.close()


@pytest.mark.parametrize("status", [*UNFINISHED, Status.COMPLETED])
async def test_what_has_not_failed_is_not_retried(database: Database, workflow_id: UUID, status: Status) -> None:
    id_ = await write(database, workflow_id, status)

    with pytest.raises(ConflictError, match=status):
        async with database.transaction() as session:
            await control.retry(session, id_)

    assert (await read(database, id_)).status == status


@pytest.mark.parametrize("status", [Status.PENDING, Status.RETRYING, Status.WAITING])
async def test_what_waits_is_cancelled_at_once(database: Database, workflow_id: UUID, status: Status) -> None:
    id_ = await write(database, workflow_id, status)

    async with database.transaction() as session:
        await control.cancel(session, id_, Settings())

    stored = await read(database, id_)
    assert stored.status == Status.CANCELLED
    assert stored.completed_at is not None
    assert stored.error_message == "cancelled by request"


async def test_what_runs_is_asked_to_stop_and_asking_again_changes_nothing(
    database: Database, workflow_id: UUID
) -> None:
    id_ = await write(database, workflow_id, Status.RUNNING)

    async with database.transaction() as session:
        first = (await control.cancel(session, id_, Settings())).cancel_requested_at
    async with database.transaction() as session:
        await control.cancel(session, id_, Settings())

    stored = await read(database, id_)
    assert (stored.status, stored.completed_at) == (Status.RUNNING, None)
    assert stored.cancel_requested_at == first is not None


@pytest.mark.parametrize("status", FINAL)
async def test_what_has_ended_is_not_cancelled(database: Database, workflow_id: UUID, status: Status) -> None:
    id_ = await write(database, workflow_id, status)

    with pytest.raises(ConflictError, match=status):
        async with database.transaction() as session:
            await control.cancel(session, id_, Settings())

    assert (await read(database, id_)).error_message == "it broke"


async def test_of_two_retries_at_the_same_moment_one_wins(database: Database, workflow_id: UUID) -> None:
    id_ = await write(database, workflow_id, Status.FAILED)

    async def retry() -> None:
        async with database.transaction() as session:
            await control.retry(session, id_)

    answers = await asyncio.gather(retry(), retry(), return_exceptions=True)

    assert sorted(type(one).__name__ for one in answers) == ["ConflictError", "NoneType"]


async def test_an_unknown_execution_can_be_neither_retried_nor_cancelled(database: Database) -> None:
    with pytest.raises(NotFoundError):
        async with database.transaction() as session:
            await control.retry(session, uuid4())
    with pytest.raises(NotFoundError):
        async with database.transaction() as session:
            await control.cancel(session, uuid4(), Settings())
