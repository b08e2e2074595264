"""Having an execution tried again: by whom, why, and from where. SQL only."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.engine.checkpoints import keep_tries
from automation.engine.definitions import definitions_of
from automation.engine.plan import Plan
from automation.errors import RefusedError
from automation.intake.create import WORK_CHANNEL
from automation.models import Execution, ExecutionAttempt, Json, Status, StepExecution, Wait, utc_now
from automation.models.recovery_queries import close_letter

RETRYABLE = (Status.FAILED, Status.CANCELLED)


async def retry(
    session: AsyncSession,
    execution: Execution,
    *,
    asked_by: str,
    reason: str = "",
    from_step: str | None = None,
    from_start: bool = False,
    input: Json | None = None,
) -> None:
    """Have an execution that ended (a locked row) run again; its retry policy starts anew.

    Without `from_step` and `from_start` it goes on at its first step that is not completed. With them the
    completed steps from there on run anew, and their effects are new ones.

    Args:
        from_step: the identifier of a step; what depends on it runs anew, too.
        from_start: all steps, on the workflow as it is now; with `input`, on that.

    Raises:
        RefusedError: the workflow has no such step.
    """
    session.add(
        ExecutionAttempt(
            execution_id=execution.id,
            attempt=execution.attempt,
            status=execution.status,
            failed_step=execution.failed_step,
            error_code=execution.error_code,
            error_message=execution.error_message,
            asked_by=asked_by,
            reason=reason,
            from_step="*" if from_start else from_step or "",
        )
    )
    again = await _steps_again(session, execution, from_step, from_start)
    undone = await _was_undone(session, execution.id, again)
    await keep_tries(session, [(execution.id, name) for name in again])
    await _forget(session, execution.id, again)
    if from_start:
        execution.workflow_version = None
        if input is not None:
            execution.trigger_data = {**execution.trigger_data, "input": input}
    if from_start or from_step or undone:  # what is done anew is another effect than what was done, or undone
        execution.generation += 1
    execution.status = Status.RETRYING
    execution.due_at = utc_now()
    execution.batch = False  # a single run of its own, so that Prefect's UI shows it
    execution.flow_run_id = None
    execution.completed_at = None
    execution.cancel_requested_at = None
    execution.error_message = execution.error_code = execution.failed_step = ""
    execution.lost_count = execution.retries = 0
    execution.ran_seconds = 0.0
    execution.degraded = False
    execution.ending = ""
    await close_letter(session, execution.id, asked_by)
    await session.execute(select(func.pg_notify(WORK_CHANNEL, "")))


async def _steps_again(
    session: AsyncSession, execution: Execution, from_step: str | None, from_start: bool
) -> Collection[str]:
    """The identifiers of the steps that are to run (again): all that are not completed, and what is asked for."""
    query = select(StepExecution.identifier, StepExecution.status).where(StepExecution.execution_id == execution.id)
    rows = (await session.execute(query)).tuples().all()
    if from_start:
        return [name for name, _ in rows]
    again = {name for name, status in rows if status != Status.COMPLETED}
    if from_step is None:
        return again
    if execution.workflow_version is None:
        raise RefusedError(f"from_step: the execution never began, so it has no step {from_step!r}", "from_step")
    key = (execution.workflow_id, execution.workflow_version)
    plan = (await definitions_of(session, {key}))[key].plan
    chosen = _behind(plan, from_step)
    return again | chosen | {name for name, _ in rows if name.split("[")[0] in chosen}


async def _was_undone(session: AsyncSession, execution_id: UUID, names: Collection[str]) -> bool:
    """Whether one of these steps was rolled back."""
    mine = (StepExecution.execution_id == execution_id, StepExecution.identifier.in_(names))
    found = exists().where(*mine, StepExecution.status == Status.ROLLED_BACK)
    return bool((await session.execute(select(found))).scalar())


def _behind(plan: Plan, from_step: str) -> set[str]:
    """A step and everything that waits for it, directly or not."""
    if from_step not in {step.identifier for step in plan.steps}:
        known = ", ".join(step.identifier for step in plan.steps)
        raise RefusedError(f"from_step: the workflow has no step {from_step!r}; it has {known}", "from_step")
    chosen = {from_step}
    for step in plan.steps:  # each stands after those that it waits for
        if step.after & chosen:
            chosen.add(step.identifier)
    return chosen


async def _forget(session: AsyncSession, execution_id: UUID, names: Collection[str]) -> None:
    """These steps have not been done, as far as the engine can see; their tries are kept elsewhere."""
    await session.execute(
        update(StepExecution)
        .where(StepExecution.execution_id == execution_id, StepExecution.identifier.in_(names))
        .values(status=Status.PENDING, result={}, progress=None, progress_message="")
    )
    await session.execute(delete(Wait).where(Wait.execution_id == execution_id, Wait.identifier.in_(names)))


async def retry_all(session: AsyncSession, ids: Sequence[UUID], *, asked_by: str, reason: str) -> None:
    """Retry those of these executions that have failed or were cancelled."""
    query = select(Execution).where(Execution.id.in_(ids), Execution.status.in_(RETRYABLE))
    for execution in await session.scalars(query.with_for_update(key_share=True)):
        await retry(session, execution, asked_by=asked_by, reason=reason)
        await session.flush()
