"""Executions whose end is decided while something is left to undo. SQL only.

To undo is work for a process, and that may die over it; or the one that should have done it is dead, or the execution
waits without one. So the end is written first (`ending`), with its reason; whoever claims the execution then has
nothing else to do but to undo, and to record that end.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.catalog import ALIASES, step_types
from automation.errors import CancelledError
from automation.intake import waits
from automation.intake.create import WORK_CHANNEL
from automation.models import Execution, Status, StepExecution, utc_now


def _undoable() -> set[str]:
    names = {kind.name for kind in step_types().values() if kind.rollback}
    return names | {alias for alias, name in ALIASES.items() if name in names}


async def has_to_be_undone(session: AsyncSession, execution_id: UUID) -> bool:
    """Whether a step of it is completed that can be rolled back."""
    done = select(StepExecution.id).where(
        StepExecution.execution_id == execution_id,
        StepExecution.status == Status.COMPLETED,
        StepExecution.step_type.in_(_undoable()),
    )
    return await session.scalar(done.limit(1)) is not None


async def end(session: AsyncSession, execution: Execution, status: Status, message: str, code: str) -> None:
    """End an execution (a locked row) that no process holds: at once, or after a run of its own has undone it.

    Args:
        status: FAILED or CANCELLED.
    """
    execution.error_message, execution.error_code = message, code
    await waits.cancel_all(session, [execution.id])
    if not execution.ending and await has_to_be_undone(session, execution.id):
        execution.ending = status
        execution.status = Status.RETRYING
        execution.due_at = utc_now()
        execution.batch = False
        execution.lost_count = 0
        await session.execute(select(func.pg_notify(WORK_CHANNEL, "")))
    else:
        execution.ending = ""
        execution.status = status
        execution.completed_at = utc_now()


async def call_off(session: AsyncSession, execution: Execution, message: str) -> None:
    """Cancel an execution (a locked row) that has not ended: one that runs is asked to stop, any other ends."""
    if execution.status == Status.RUNNING:
        execution.cancel_requested_at = execution.cancel_requested_at or utc_now()
    elif not execution.ending:  # else it is being undone
        await end(session, execution, Status.CANCELLED, message, CancelledError.code)


async def decide(session: AsyncSession, ends: Sequence[tuple[UUID, Status, str, str, str]]) -> None:
    """How executions that a run holds are to end: id, status, message, code, and the step that failed."""
    for id_, status, message, code, failed_step in ends:
        values = {"ending": status, "error_message": message, "error_code": code, "failed_step": failed_step}
        await session.execute(update(Execution).where(Execution.id == id_).values(**values, lost_count=0))
