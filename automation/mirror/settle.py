"""What becomes of executions whose flow run ended, or vanished, before they did."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.callback.tell import executions_ended
from automation.engine import ending
from automation.engine.definitions import definitions_of
from automation.errors import CancelledError, HardTimeoutError, WorkerLostError
from automation.intake.create import WORK_CHANNEL, newer
from automation.models import (
    FINAL,
    OPEN,
    Execution,
    ExecutionAttempt,
    FlowRun,
    Json,
    Status,
    StepExecution,
    Workflow,
    utc_now,
)
from automation.models.recovery_queries import dead_letter
from automation.prefect_events import execution_failed
from automation.retries import Rules, policy
from automation.settings import Settings

_LOST = {HardTimeoutError.code: "a step did not stop at its hard limit, and its process was killed"}
_STEP_BACK, _LONGEST = timedelta(seconds=1), timedelta(minutes=1)


async def settle_ended(session: AsyncSession, settings: Settings) -> list[Json]:
    """Hand the unfinished executions of ended runs to the retry policy.

    What the engine committed stands: a final execution is not touched, whatever Prefect says of its run.

    Returns:
        The events to send of those that failed for good.
    """
    query = (
        select(Execution, FlowRun, Workflow.name)
        .join(FlowRun, FlowRun.id == Execution.flow_run_id)
        .join(Workflow, Workflow.id == Execution.workflow_id)
        .where(Execution.status.in_(OPEN), FlowRun.ended_at.is_not(None))
        .order_by(Execution.created_at)
        .with_for_update(of=Execution, skip_locked=True)
    )
    rows = (await session.execute(query)).tuples().all()
    ended: list[UUID] = []
    for execution, run, _ in rows:
        ended += await _settle(session, execution, run, settings)
    await executions_ended(session, settings, ended)
    await dead_letter(session, ended)
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


async def _settle(session: AsyncSession, execution: Execution, run: FlowRun, settings: Settings) -> list[UUID]:
    """Cancelled with its run; or never begun and waiting again; or lost, and tried again by the policy.

    Returns:
        The executions that have ended by that.
    """
    gave_way = None
    under_way = await _close_steps(session, execution.id, run.lost_code or WorkerLostError.code)
    cancelled = run.state == "CANCELLED" or execution.cancel_requested_at is not None
    if execution.status == Status.WAITING and not cancelled:
        execution.flow_run_id = None  # what it waits for comes all the same; then it gets another run
    elif cancelled and not execution.ending:
        await _end(session, execution, Status.CANCELLED, "cancelled with its flow run", CancelledError.code)
    elif execution.status == Status.PENDING and execution.attempt == 0:
        gave_way = await _wait_again(session, execution)
    else:
        await _lose(session, execution, run, under_way, settings)
    await session.flush()
    return [one.id for one in (execution, gave_way) if one and one.status in FINAL]


async def _end(session: AsyncSession, execution: Execution, status: Status, message: str, code: str) -> None:
    await ending.end(session, execution, status, message, code)
    if execution.ending:
        execution.flow_run_id = None  # another run undoes what it did


async def _lose(
    session: AsyncSession, execution: Execution, run: FlowRun, under_way: Sequence[str], settings: Settings
) -> None:
    """Its process is gone: tried again, alone, so that a poisonous one takes no others with it."""
    code = run.lost_code or WorkerLostError.code
    execution.lost_count += 1
    rules = await _rules(session, execution, under_way)
    delay = policy(code, settings.retry_config, *rules).delay_before(execution.lost_count)
    if not execution.ending:  # else the end that was decided stands, with its reason
        _note_loss(execution, code, next(iter(under_way), ""), is_last=delay is None)
    if delay is None:
        status = Status(execution.ending or Status.FAILED)
        await _end(session, execution, status, execution.error_message, execution.error_code)
        return
    session.add(
        ExecutionAttempt(
            execution_id=execution.id,
            attempt=execution.attempt,
            status=Status.FAILED,
            failed_step=execution.failed_step,
            error_code=code,
            error_message=execution.error_message,
        )
    )
    execution.status = Status.RETRYING
    execution.flow_run_id = None
    execution.batch = False
    execution.due_at = utc_now() + delay


def _note_loss(execution: Execution, code: str, step: str, *, is_last: bool) -> None:
    lost = _LOST.get(code, "the process that ran it is gone")
    execution.error_message = f"{lost}, {execution.lost_count} times" if is_last else lost
    execution.error_code = code
    if step != execution.failed_step:
        execution.failed_step, execution.retries = step, 0


async def _rules(session: AsyncSession, execution: Execution, under_way: Sequence[str]) -> list[Rules]:
    """What its workflow, and the steps that were under way, say of retries."""
    if execution.workflow_version is None:
        return []
    key = (execution.workflow_id, execution.workflow_version)
    definition = (await definitions_of(session, {key}))[key]
    return [definition.retry, *(step.options.retry for step in definition.plan.steps if step.identifier in under_way)]


async def _wait_again(session: AsyncSession, execution: Execution) -> Execution | None:
    """Put it back into the queue, each time a second later, in case no run gets as far as to begin it.

    Of two that wait on one key (uq_workflow_executions_waiting allows but one) the older gives way; it is returned.
    """
    query = (
        select(Execution)
        .where(
            Execution.workflow_id == execution.workflow_id,
            Execution.key == execution.key,
            Execution.status == Status.PENDING,
            Execution.flow_run_id.is_(None),
            Execution.coalesces,
        )
        .with_for_update(key_share=True)
    )
    keyed = execution.coalesces and execution.key is not None  # without a key they are none of each other's business
    other = (await session.execute(query)).scalar_one_or_none() if keyed else None
    if other and newer(other.version, other.occurred_at, execution.version, execution.occurred_at):
        _supersede(execution, other)
        return execution
    if other:
        _supersede(other, execution)
        await session.flush()
    execution.flow_run_id = None
    execution.due_at = utc_now() + min(_STEP_BACK * (execution.dispatch_no - 1), _LONGEST)
    return other


def _supersede(old: Execution, new: Execution) -> None:
    new.event_count += old.event_count
    old.status = Status.CANCELLED
    old.completed_at = utc_now()
    old.error_message, old.error_code = f"superseded by {new.id}, a newer execution of the same key", ""


async def _close_steps(session: AsyncSession, execution_id: UUID, code: str) -> Sequence[str]:
    """A step that was under way when its process died did not complete; which those were.

    Of several nobody knows which one was past its limit: all are lost, and tried again even if not required.
    """
    mine = (StepExecution.execution_id == execution_id, StepExecution.status == Status.RUNNING)
    names = (await session.scalars(select(StepExecution.identifier).where(*mine).order_by(StepExecution.id))).all()
    if names:
        why = code if len(names) == 1 else WorkerLostError.code
        values = {"status": Status.FAILED, "completed_at": utc_now(), "error_code": why}
        await session.execute(update(StepExecution).where(*mine).values(**values))
    return names
