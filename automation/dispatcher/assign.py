"""Which executions get a flow run next. SQL only; nothing here talks to Prefect."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from uuid import UUID, uuid4

from sqlalchemy import TextClause, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.catalog import definitions
from automation.dispatcher.dispatch import Dispatch
from automation.engine.entry import run_tags
from automation.models import OPEN, Execution, FlowRun, Status, Workflow, WorkflowDeployment, utc_now
from automation.models.turns import turns


async def assign(session: AsyncSession, capacity: int) -> list[Dispatch]:
    """Give up to `capacity` due executions a flow run of their own, projects in turn.

    Executions whose key is at work, or that wait for a flush, are passed over. Several dispatchers may run
    this at once; each execution goes to one of them (SKIP LOCKED).
    """
    if capacity <= 0:
        return []
    chosen = await _choose(session, capacity)
    dispatches = []
    for execution, workflow_name, deployment_id in chosen:
        execution.dispatch_no += 1
        row = FlowRun(
            id=uuid4(),
            idempotency_key=f"{execution.id}:{execution.dispatch_no}",
            kind=execution.kind,
            name=workflow_name,
        )
        session.add(row)
        await session.flush()
        execution.flow_run_id = row.id
        dispatches.append(_dispatch(row, execution, deployment_id))
    return dispatches


async def _choose(session: AsyncSession, capacity: int) -> Sequence[tuple[Execution, str, UUID | None]]:
    """Due executions without a flow run, first one of each project first; with the workflow's name and deployment."""
    found = await session.execute(_turns(), {"size": capacity, "now": utc_now(), **flush_parameters()})
    ids = [id_ for id_, _ in found.tuples()]
    query = (
        select(Execution, Workflow.name, WorkflowDeployment.deployment_id)
        .join(Workflow, Workflow.id == Execution.workflow_id)
        .outerjoin(WorkflowDeployment, WorkflowDeployment.workflow_id == Execution.workflow_id)
        .where(Execution.id.in_(ids), Execution.flow_run_id.is_(None))
        .with_for_update(of=Execution, skip_locked=True)
    )
    order = {id_: position for position, id_ in enumerate(ids)}
    return sorted((await session.execute(query)).tuples(), key=lambda one: order[one[0].id])


def _flushes() -> list[dict[str, object]]:
    """Which kinds wait for which others of their project."""
    return [{"kind": one.kind, "flushed": list(one.flushes)} for one in definitions().values() if one.flushes]


def flush_parameters() -> dict[str, object]:
    """The parameters of `allowed`."""
    return {f"{side}_{n}": value for n, pair in enumerate(_flushes()) for side, value in pair.items()}


@lru_cache
def _turns() -> TextClause:
    """Singles in turn."""
    return turns(
        waiting="w.status IN ('PENDING', 'RETRYING') AND w.flow_run_id IS NULL AND NOT w.batch", allowed=allowed()
    )


@lru_cache
def allowed() -> str:
    """Condition on `w`, a waiting execution: its key is not at work and has no older one, it waits for no flush.

    Of those that all run one after the other, an older one that is tried again goes before a newer one that has a
    flow run already and has not begun: that one waits for it (`engine.claim`).
    """
    key_at_work = """EXISTS (
        SELECT FROM workflow_executions AS other
        WHERE other.workflow_id = w.workflow_id AND other.key = w.key AND other.id <> w.id
          AND (other.flow_run_id IS NOT NULL AND other.status = 'RUNNING'
               OR other.flow_run_id IS NOT NULL AND other.status = 'PENDING'
                  AND (w.coalesces OR w.status <> 'RETRYING' OR other.created_at < w.created_at)
               OR other.flow_run_id IS NULL AND other.status = 'PENDING' AND other.created_at < w.created_at
               OR NOT w.coalesces AND other.status IN ('RETRYING', 'WAITING') AND other.created_at < w.created_at))"""
    waits_for_flush = [
        f"""(w.kind = :kind_{n} AND EXISTS (
        SELECT FROM workflow_executions AS other
        WHERE other.project_id = w.project_id AND other.kind = ANY(CAST(:flushed_{n} AS text[]))
          AND other.status IN ('PENDING', 'RUNNING') AND other.created_at <= w.created_at))"""
        for n in range(len(_flushes()))
    ]
    return " AND ".join(f"NOT {condition}" for condition in (key_at_work, *waits_for_flush))


def _dispatch(row: FlowRun, execution: Execution, deployment_id: UUID | None) -> Dispatch:
    return Dispatch(
        flow_run_id=row.id,
        idempotency_key=row.idempotency_key or "",
        kind=row.kind,
        name=row.name,
        parameters={"executions": [str(execution.id)]},
        tags=tuple(run_tags(execution.project_id, execution.workflow_id, execution.id)),
        deployment_id=deployment_id,
    )


async def in_flight(session: AsyncSession) -> int:
    """Flow runs that want a worker or have one (ix_flow_runs_open).

    Those that wait for a retry do not, and those that cron made and nobody has begun do not count: a hundred schedules
    of one minute would keep everything else waiting.
    """
    query = (
        select(func.count())
        .select_from(FlowRun)
        .where(
            FlowRun.ended_at.is_(None),
            FlowRun.state_name != "AwaitingRetry",
            FlowRun.state != "PAUSED",
            or_(FlowRun.idempotency_key.is_not(None), FlowRun.claimed_at.is_not(None)),
        )
    )
    return int((await session.execute(query)).scalar_one())


async def unsent(session: AsyncSession, older_than: timedelta) -> list[Dispatch]:
    """Flow runs that were stored and that Prefect has not confirmed: their dispatcher died, or the API was away."""
    query = (
        select(FlowRun, Execution, WorkflowDeployment.deployment_id)
        .join(Execution, Execution.flow_run_id == FlowRun.id)
        .outerjoin(WorkflowDeployment, WorkflowDeployment.workflow_id == Execution.workflow_id)
        .where(
            FlowRun.ended_at.is_(None),
            FlowRun.prefect_id.is_(None),
            Execution.status.in_(OPEN),
            FlowRun.created_at < utc_now() - older_than,
        )
        .order_by(FlowRun.created_at)
        .limit(100)
    )
    return [_dispatch(*found) for found in (await session.execute(query)).tuples()]


async def confirm(session: AsyncSession, flow_run_id: UUID, prefect_id: UUID) -> None:
    """Prefect has the run; a claim or the mirror may have noted that before us."""
    await session.execute(
        update(FlowRun)
        .where(FlowRun.id == flow_run_id, FlowRun.prefect_id.is_(None))
        .values(prefect_id=prefect_id, state=func.replace(FlowRun.state, "NEW", "SCHEDULED"))
    )


async def next_due(session: AsyncSession) -> datetime | None:
    """When the next waiting execution is due; ix_workflow_executions_due."""
    query = select(func.min(Execution.due_at)).where(
        Execution.status.in_((Status.PENDING, Status.RETRYING)),
        Execution.flow_run_id.is_(None),
        Execution.due_at > utc_now(),
    )
    return (await session.execute(query)).scalar_one_or_none()
