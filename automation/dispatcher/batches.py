"""Seeing to it that work that waits for a batch run has one, and under load more than one."""

from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import String, func, lateral, literal, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from automation.catalog import definitions
from automation.dispatcher.dispatch import Dispatch
from automation.models import Execution, FlowRun, Status, utc_now
from automation.settings import Settings

_LOCK = 0x4241_5443  # "BATC": two dispatchers must not both start the one run that is missing
OVERLOAD = timedelta(seconds=0.5)
"""A due execution that waited so long beside a working batch run: the run cannot keep up, start another."""


async def assign_batches(session: AsyncSession, settings: Settings) -> list[Dispatch]:
    """Store the batch runs that are missing: one for each kind that waits, another while one cannot keep up."""
    waiting = await _waiting(session)
    if not waiting:
        return []
    if not (await session.execute(select(func.pg_try_advisory_xact_lock(_LOCK)))).scalar():
        return []
    most = max(1, min(settings.max_batch_runs, settings.worker_concurrency - 1))  # a slot stays for single runs
    dispatches = []
    for kind, oldest_due in waiting:
        runs, started = await _accepting(session, kind)
        late = utc_now() - oldest_due > OVERLOAD
        if runs == 0 or (late and runs == started and runs < most):
            row = FlowRun(id=uuid4(), kind=kind, mode="batch", name=kind)
            row.idempotency_key = f"batch:{row.id}"
            session.add(row)
            await session.flush()
            dispatches.append(_dispatch(row))
    return dispatches


async def _waiting(session: AsyncSession) -> list[tuple[str, datetime]]:
    """Kinds that have due executions for a batch run, with the oldest; ix_workflow_executions_due."""
    kinds = func.unnest(literal(list(definitions()), ARRAY(String))).table_valued("kind").render_derived()
    oldest = lateral(
        select(Execution.due_at)
        .where(
            Execution.status.in_((Status.PENDING, Status.RETRYING)),
            Execution.flow_run_id.is_(None),
            Execution.batch,
            Execution.kind == kinds.c.kind,
            Execution.due_at <= utc_now(),
        )
        .order_by(Execution.due_at)
        .limit(1)
    )
    query = select(kinds.c.kind, oldest.c.due_at).select_from(kinds.join(oldest, literal(True)))
    return [(kind, due_at) for kind, due_at in (await session.execute(query)).tuples()]


async def _accepting(session: AsyncSession, kind: str) -> tuple[int, int]:
    """Batch runs of a kind that take executions or will, and how many of them have begun; ix_flow_runs_open."""
    query = select(func.count(), func.count(FlowRun.claimed_at)).where(
        FlowRun.kind == kind, FlowRun.mode == "batch", FlowRun.accepts, FlowRun.ended_at.is_(None)
    )
    runs, begun = (await session.execute(query)).tuples().one()
    return runs, begun


async def unsent(session: AsyncSession, older_than: timedelta) -> list[Dispatch]:
    """Batch runs that were stored and that Prefect has not confirmed."""
    query = select(FlowRun).where(
        FlowRun.mode == "batch",
        FlowRun.ended_at.is_(None),
        FlowRun.prefect_id.is_(None),
        FlowRun.created_at < utc_now() - older_than,
    )
    return [_dispatch(row) for row in (await session.execute(query)).scalars()]


def _dispatch(row: FlowRun) -> Dispatch:
    return Dispatch(
        flow_run_id=row.id,
        idempotency_key=row.idempotency_key or "",
        kind=row.kind,
        name=row.name,
        parameters={"batch": row.kind},
        tags=("batch",),
    )
