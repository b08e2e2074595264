"""Taking waiting executions for a batch run, projects in turn. SQL only."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.engine.claim import CLAIMED, load_items
from automation.engine.plan import Item
from automation.models import Execution, FlowRun, Status, Workflow, utc_now
from automation.models.turns import turns

_TURNS = {
    behind: turns(
        waiting="w.status = 'PENDING' AND w.flow_run_id IS NULL AND w.batch AND w.kind = :kind",
        allowed="""NOT EXISTS (
            SELECT FROM workflow_executions AS other
            WHERE other.workflow_id = w.workflow_id AND other.key = w.key AND other.status = 'RUNNING')""",
        behind=behind,
    )
    for behind in (False, True)
}


async def take(
    session: AsyncSession, kind: str, flow_run_id: UUID, size: int, after: str | None
) -> tuple[list[Item], str | None]:
    """Take up to `size` due executions of a kind for a batch run; they are RUNNING afterwards.

    Args:
        after: the last project that was served, behind which the turn goes on; None begins it.

    Returns:
        The items, and the project to go on behind; None when the turn is at its end.
    """
    behind = {} if after is None else {"after": after}
    found = await session.execute(_TURNS[after is not None], {"kind": kind, "size": size, "now": utc_now(), **behind})
    rows = found.tuples().all()
    if not rows:
        return [], None
    taken = await _begin(session, [id_ for id_, _ in rows], flow_run_id)
    return await load_items(session, taken), max(project for _, project in rows)


async def take_again(session: AsyncSession, flow_run_id: UUID) -> list[Item]:
    """What this run had taken when its process ended, under a new dispatch number; no attempt is counted."""
    statement = (
        update(Execution.table())
        .where(Execution.flow_run_id == flow_run_id, Execution.status == Status.RUNNING)
        .values(dispatch_no=Execution.dispatch_no + 1)
        .returning(*CLAIMED)
    )
    return await load_items(session, (await session.execute(statement)).all())


_version = select(Workflow.version).where(Workflow.id == Execution.workflow_id).scalar_subquery()


async def _begin(session: AsyncSession, ids: Sequence[UUID], flow_run_id: UUID) -> Sequence[Row[Any]]:
    free = select(Execution.id).where(
        Execution.id.in_(ids), Execution.status == Status.PENDING, Execution.flow_run_id.is_(None)
    )
    statement = (
        update(Execution.table())
        .where(Execution.id.in_(free.with_for_update(skip_locked=True)))
        .values(
            status=Status.RUNNING,
            flow_run_id=flow_run_id,
            dispatch_no=Execution.dispatch_no + 1,
            attempt=Execution.attempt + 1,
            workflow_version=func.coalesce(Execution.workflow_version, _version),
            started_at=func.coalesce(Execution.started_at, utc_now()),
        )
        .returning(*CLAIMED)
    )
    return (await session.execute(statement)).all()


async def next_due(session: AsyncSession, kind: str, within: timedelta) -> datetime | None:
    """When the next execution of a batch run is due, if that is soon; ix_workflow_executions_due."""
    now = utc_now()
    query = (
        select(func.min(Execution.due_at))
        .where(Execution.status.in_((Status.PENDING, Status.RETRYING)), Execution.flow_run_id.is_(None))
        .where(Execution.due_at > now, Execution.due_at <= now + within)
        .where(Execution.batch, Execution.kind == kind)
    )
    return (await session.execute(query)).scalar_one_or_none()


async def stop_accepting(session: AsyncSession, flow_run_id: UUID) -> None:
    """From here on the dispatcher starts another run for what comes; this one looks once more, then ends."""
    await session.execute(update(FlowRun).where(FlowRun.id == flow_run_id).values(accepts=False))
