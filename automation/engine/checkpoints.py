"""Where an execution goes on that was begun before: what its steps came to, and what it still waits for. SQL."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.engine.plan import Item
from automation.errors import ChildFailedError, RejectedError, StepError, WaitTimeoutError, WorkerLostError
from automation.models import Status, StepExecution, Wait


async def restore(session: AsyncSession, items: Sequence[Item]) -> None:
    """Give items what their earlier stretches came to: those steps are not run again."""
    if not items:
        return
    by_id = {item.execution_id: item for item in items}
    columns = (
        StepExecution.execution_id,
        StepExecution.identifier,
        StepExecution.status,
        StepExecution.result,
        StepExecution.error_code,
        StepExecution.error_message,
    )
    over = (Status.COMPLETED, Status.FAILED, Status.WAITING, Status.CANCELLED, Status.ROLLED_BACK)
    query = select(*columns).where(StepExecution.execution_id.in_(by_id), StepExecution.status.in_(over))
    waiting = []
    for execution_id, identifier, status, result, code, error_message in (await session.execute(query)).tuples():
        item = by_id[execution_id]
        required = {step.identifier: step.is_required for step in item.plan.steps}
        if identifier not in required:
            continue  # an item of a FOR_EACH
        if status == Status.COMPLETED:
            item.done[identifier] = result
        elif status == Status.WAITING:
            item.waiting.add(identifier)
            waiting.append(execution_id)
        elif status == Status.FAILED and not required[identifier] and code != WorkerLostError.code:
            item.degraded[identifier] = error_message
        elif item.ending:
            item.failed.add(identifier)
    if waiting:
        await _fail_what_did_not_come(session, by_id, waiting)


_ENDED: dict[str, type[StepError]] = {
    "TIMED_OUT": WaitTimeoutError,
    "REJECTED": RejectedError,
    "FAILED": ChildFailedError,
}


async def _fail_what_did_not_come(session: AsyncSession, items: dict[UUID, Item], waiting: Sequence[UUID]) -> None:
    """A wait that timed out, or an approval that was refused, fails its step; the step is not run again for it."""
    query = select(Wait).where(Wait.execution_id.in_(waiting), Wait.status.in_(_ENDED))
    for wait in await session.scalars(query):
        item = items[wait.execution_id]
        step = next(step for step in item.plan.steps if step.identifier == wait.identifier)
        item.waiting.discard(wait.identifier)
        item.unwaited.append((step, _ENDED[wait.status](f"{step.step_type}: {wait.error_message}")))


_KEEP = text("""
    INSERT INTO step_attempts (execution_id, identifier, attempt, status, started_at, completed_at, duration_ms,
        error_code, error_message, task_run_id)
    SELECT s.execution_id, s.identifier, s.attempt, s.status, s.started_at, s.completed_at, s.duration_ms,
        s.error_code, s.error_message, s.task_run_id
    FROM step_executions AS s
    JOIN unnest(CAST(:executions AS uuid[]), CAST(:identifiers AS text[])) AS again(execution_id, identifier)
        ON again.execution_id = s.execution_id AND again.identifier = s.identifier
    WHERE s.status IN ('COMPLETED', 'FAILED', 'CANCELLED', 'ROLLED_BACK')
""")


async def keep_tries(session: AsyncSession, steps: Sequence[tuple[UUID, str]]) -> None:
    """Keep the tries of steps that are about to be run again, of which their row shows but the last."""
    if steps:
        await session.execute(
            _KEEP, {"executions": [execution for execution, _ in steps], "identifiers": [name for _, name in steps]}
        )
