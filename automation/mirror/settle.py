"""What becomes of executions whose flow run ended, or vanished, before they did."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.errors import WorkerLostError
from automation.models import FINAL, Execution, FlowRun, Status, StepExecution, utc_now


async def settle_ended(session: AsyncSession) -> int:
    """Hand the unfinished executions of ended runs to the retry policy; how many there were.

    What the engine committed stands: a final execution is not touched, whatever Prefect says of its run.
    """
    query = (
        select(Execution, FlowRun.state)
        .join(FlowRun, FlowRun.id == Execution.flow_run_id)
        .where(Execution.status.not_in(FINAL), FlowRun.ended_at.is_not(None))
        .with_for_update(of=Execution, skip_locked=True)
    )
    rows = (await session.execute(query)).tuples().all()
    for execution, state in rows:
        await _settle(session, execution, cancelled=state == "CANCELLED")
    if rows:
        await session.execute(text("SELECT pg_notify('automation_work', '')"))
    return len(rows)


async def _settle(session: AsyncSession, execution: Execution, *, cancelled: bool) -> None:
    """Cancelled with its run; or never begun and waiting again; or lost, and tried again by the policy."""
    await _close_steps(session, [execution.id])
    if cancelled or execution.cancel_requested_at is not None:
        _end(execution, Status.CANCELLED, "cancelled with its flow run", "CANCELLED")
    elif execution.status == Status.PENDING and execution.attempt == 0:
        if await _newer_waits(session, execution):
            _end(execution, Status.CANCELLED, "superseded by a newer execution of the same key", "")
        else:
            execution.flow_run_id = None
    else:
        execution.lost_count += 1
        delay = WorkerLostError.policy.delay_before(execution.lost_count)
        lost = "the process that ran it is gone"
        if delay is None:
            _end(execution, Status.FAILED, f"{lost}, {execution.lost_count} times", WorkerLostError.code)
        else:
            execution.status = Status.RETRYING
            execution.flow_run_id = None
            execution.batch = False
            execution.due_at = utc_now() + delay
            execution.error_message, execution.error_code = lost, WorkerLostError.code
    await session.flush()


def _end(execution: Execution, status: Status, message: str, code: str) -> None:
    execution.status = status
    execution.completed_at = utc_now()
    execution.error_message, execution.error_code = message, code


async def _newer_waits(session: AsyncSession, execution: Execution) -> bool:
    """Whether another execution of its key waits; uq_workflow_executions_waiting allows but one."""
    query = select(Execution.id).where(
        Execution.workflow_id == execution.workflow_id,
        Execution.key == execution.key,
        Execution.status == Status.PENDING,
        Execution.flow_run_id.is_(None),
    )
    return (await session.execute(query)).first() is not None


async def _close_steps(session: AsyncSession, execution_ids: Sequence[UUID]) -> None:
    """A step that was running when its process died did not complete."""
    await session.execute(
        update(StepExecution)
        .where(StepExecution.execution_id.in_(execution_ids), StepExecution.status == Status.RUNNING)
        .values(status=Status.FAILED, completed_at=utc_now(), error_code=WorkerLostError.code)
    )
