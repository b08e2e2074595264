"""Calling off what waits, when what it belongs to is deleted."""

from uuid import UUID

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.callback.tell import executions_ended
from automation.engine import children, ending
from automation.errors import CancelledError
from automation.models import FINAL, Execution, Status, utc_now
from automation.models.execution_queries import lock_execution
from automation.settings import Settings

_WAITING = (Status.PENDING, Status.RETRYING, Status.WAITING)


async def call_off(session: AsyncSession, chosen: ColumnElement[bool], reason: str, settings: Settings) -> None:
    """Cancel those of the chosen executions that wait; those that run go on.

    One that has begun ends as if somebody had cancelled it: what its steps have started ends too, and what can be
    undone is undone, by a run of its own.
    """
    ended = await _end_fresh(session, chosen, reason)
    begun = (
        select(Execution)
        .where(chosen, Execution.status.in_(_WAITING))
        .order_by(Execution.workflow_id, Execution.key, Execution.id)  # as the intake takes them
        .with_for_update(key_share=True)
    )
    waiting = (await session.scalars(begun)).all()
    ids = [one.id for one in waiting]
    below = [await lock_execution(session, id_) for id_ in sorted(await children.descendants(session, ids))]
    for one in (*waiting, *below):
        if one.status not in FINAL:
            await ending.call_off(session, one, reason)
    await session.flush()
    await executions_ended(session, settings, [*ended, *(one.id for one in (*waiting, *below) if one.status in FINAL)])


async def _end_fresh(session: AsyncSession, chosen: ColumnElement[bool], reason: str) -> list[UUID]:
    """Those that have never begun, be they as many as they will, in one statement."""
    fresh = (
        select(Execution.id)
        .where(chosen, Execution.status == Status.PENDING, Execution.attempt == 0)
        .order_by(Execution.workflow_id, Execution.key)  # as the intake takes them
        .with_for_update(key_share=True)
    )
    ended = await session.scalars(
        update(Execution)
        .where(Execution.id.in_(fresh))
        .values(status=Status.CANCELLED, completed_at=utc_now(), error_message=reason, error_code=CancelledError.code)
        .returning(Execution.id)
        .execution_options(synchronize_session=False)
    )
    return list(ended.all())
