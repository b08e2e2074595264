"""What becomes of executions whose flow run ended, or vanished, before they did."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.errors import WorkerLostError
from automation.intake.create import WORK_CHANNEL, newer
from automation.models import OPEN, Execution, FlowRun, Json, Status, StepExecution, Workflow, utc_now
from automation.prefect_events import execution_failed

_STEP_BACK, _LONGEST = timedelta(seconds=1), timedelta(minutes=1)


async def settle_ended(session: AsyncSession) -> list[Json]:
    """Hand the unfinished executions of ended runs to the retry policy.

    What the engine committed stands: a final execution is not touched, whatever Prefect says of its run.

    Returns:
        The events to send of those that failed for good.
    """
    query = (
        select(Execution, FlowRun.state, Workflow.name)
        .join(FlowRun, FlowRun.id == Execution.flow_run_id)
        .join(Workflow, Workflow.id == Execution.workflow_id)
        .where(Execution.status.in_(OPEN), FlowRun.ended_at.is_not(None))
        .order_by(Execution.created_at)
        .with_for_update(of=Execution, skip_locked=True)
    )
    rows = (await session.execute(query)).tuples().all()
    for execution, state, _ in rows:
        await _settle(session, execution, cancelled=state == "CANCELLED")
    if rows:
        await session.execute(select(func.pg_notify(WORK_CHANNEL, "")))
    return [_failed_event(execution, name) for execution, _, name in rows if execution.status == Status.FAILED]


def _failed_event(execution: Execution, workflow_name: str) -> Json:
    return execution_failed(
        execution_id=execution.id,
        workflow_id=execution.workflow_id,
        workflow_name=workflow_name,
        project_id=execution.project_id,
        error_code=execution.error_code,
        error_message=execution.error_message,
    )


async def _settle(session: AsyncSession, execution: Execution, *, cancelled: bool) -> None:
    """Cancelled with its run; or never begun and waiting again; or lost, and tried again by the policy."""
    await _close_steps(session, [execution.id])
    if cancelled or execution.cancel_requested_at is not None:
        _end(execution, Status.CANCELLED, "cancelled with its flow run", "CANCELLED")
    elif execution.status == Status.PENDING and execution.attempt == 0:
        await _wait_again(session, execution)
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


async def _wait_again(session: AsyncSession, execution: Execution) -> None:
    """Put it back into the queue, each time a second later, in case no run gets as far as to begin it.

    Of two that wait on one key (uq_workflow_executions_waiting allows but one) the older gives way.
    """
    query = select(Execution).where(
        Execution.workflow_id == execution.workflow_id,
        Execution.key == execution.key,
        Execution.status == Status.PENDING,
        Execution.flow_run_id.is_(None),
        Execution.coalesces,
    )
    other = (await session.execute(query.with_for_update())).scalar_one_or_none() if execution.coalesces else None
    if other and newer(other.version, other.occurred_at, execution.version, execution.occurred_at):
        _supersede(execution, other)
        return
    if other:
        _supersede(other, execution)
        await session.flush()
    execution.flow_run_id = None
    execution.due_at = utc_now() + min(_STEP_BACK * (execution.dispatch_no - 1), _LONGEST)


def _supersede(old: Execution, new: Execution) -> None:
    new.event_count += old.event_count
    _end(old, Status.CANCELLED, f"superseded by {new.id}, a newer execution of the same key", "")


async def _close_steps(session: AsyncSession, execution_ids: Sequence[UUID]) -> None:
    """A step that was running when its process died did not complete."""
    await session.execute(
        update(StepExecution)
        .where(StepExecution.execution_id.in_(execution_ids), StepExecution.status == Status.RUNNING)
        .values(status=Status.FAILED, completed_at=utc_now(), error_code=WorkerLostError.code)
    )
