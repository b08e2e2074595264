"""What somebody asks of one execution: what their key may see of it, the wish itself, and its row in the audit.

The REST API and the operations pages ask in the same way. Each is one step of the caller's transaction.
"""

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from automation import control
from automation.api.auth import Caller
from automation.audit import note, note_executions
from automation.intake.waits import Answer
from automation.models import Execution, Json, Status
from automation.models.execution_queries import lock_execution
from automation.settings import Settings


async def cancel(session: AsyncSession, caller: Caller, id: UUID, settings: Settings) -> Execution:
    """Cancel it; raises as `control.cancel`."""
    await caller.require(session, Execution, id)
    before = standing(await lock_execution(session, id))
    cancelled = await control.cancel(session, id, settings)
    await note(session, caller, "cancel", "execution", id, cancelled.project_id, before, standing(cancelled))
    return cancelled


async def retry(session: AsyncSession, caller: Caller, id: UUID, **how: Any) -> Execution:
    """Try it again; `how` and what it raises as of `control.retry`."""
    await caller.require(session, Execution, id)
    before = standing(await lock_execution(session, id))
    retried = await control.retry(session, id, asked_by=caller.name, **how)
    after = standing(retried) | {name: value for name, value in how.items() if value not in (None, "", False)}
    await note(session, caller, "retry", "execution", id, retried.project_id, before, after)
    return retried


async def approve(
    session: AsyncSession, caller: Caller, id: UUID, *, approve: bool, comment: str, step: str | None, by: str | None
) -> control.Approved:
    """Answer the approval that it waits for; raises as `control.approve`.

    Args:
        by: who says so, as the holder of the key knows.
    """
    await caller.require(session, Execution, id)
    who = caller.name if by is None else f"{caller.name}: {by}"
    answer = Answer(approve=approve, name=who, comment=comment, is_verified=True)
    before = standing(await lock_execution(session, id))
    approved = await control.approve(session, id, answer, identifier=step)
    if approved.is_new:
        given = {"comment": comment, "step": step, "by": by}
        after = standing(approved.execution) | {"approve": approve} | {k: v for k, v in given.items() if v}
        await note(session, caller, "approve", "execution", id, approved.execution.project_id, before, after)
    return approved


async def redrive(session: AsyncSession, caller: Caller, id: UUID) -> Execution:
    """Try a dead letter again; raises as `control.redrive_one`."""
    await caller.require(session, Execution, id, f"Execution {id} is no dead letter.")
    redriven = await control.redrive_one(session, id, asked_by=caller.name)
    await note_executions(session, caller, "redrive", [id], {"status": Status.FAILED}, {"status": redriven.status})
    return redriven


def standing(execution: Execution) -> Json:
    """How an execution stands, for the audit."""
    asked = execution.cancel_requested_at is not None
    return {"status": execution.status, "attempt": execution.attempt, "cancel_requested": asked}
