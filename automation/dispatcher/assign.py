"""Which executions get a flow run next. SQL only; nothing here talks to Prefect."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from automation.catalog import definitions
from automation.models import FINAL, Execution, FlowRun, Status, Workflow, utc_now

_CANDIDATES = 1000
"""Due executions looked at in one round: the oldest; a round is short, however long the backlog."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A flow run that is to be made in Prefect, with what it carries."""

    flow_run_id: UUID
    idempotency_key: str
    kind: str
    name: str
    execution_id: UUID
    workflow_id: UUID
    project_id: str | None


async def assign(session: AsyncSession, capacity: int) -> list[Dispatch]:
    """Give up to `capacity` due executions a flow run of their own, projects in turn.

    Executions whose key is at work, or that wait for a flush, are passed over. Several dispatchers may run
    this at once; each execution goes to one of them (SKIP LOCKED).
    """
    if capacity <= 0:
        return []
    chosen = await _choose(session, capacity)
    dispatches = []
    for execution, workflow_name in chosen:
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
        dispatches.append(_dispatch(row, execution))
    return dispatches


async def _choose(session: AsyncSession, capacity: int) -> Sequence[tuple[Execution, str]]:
    """Due executions without a flow run (ix_workflow_executions_due), first one of each project first."""
    oldest = (
        select(Execution.id, Execution.project_id, Execution.due_at)
        .where(
            Execution.status.in_((Status.PENDING, Status.RETRYING)),
            Execution.flow_run_id.is_(None),
            Execution.due_at <= utc_now(),
        )
        .order_by(Execution.due_at)
        .limit(_CANDIDATES)
        .subquery()
    )
    turn = func.row_number().over(partition_by=oldest.c.project_id, order_by=oldest.c.due_at)
    queue = select(oldest.c.id, turn.label("turn"), oldest.c.due_at).subquery()
    query = (
        select(Execution, Workflow.name)
        .join(queue, queue.c.id == Execution.id)
        .join(Workflow, Workflow.id == Execution.workflow_id)
        .where(Execution.flow_run_id.is_(None), ~_key_at_work(), ~_waits_for_flush())
        .order_by(queue.c.turn, queue.c.due_at)
        .limit(capacity)
        .with_for_update(of=Execution, skip_locked=True)
    )
    return list((await session.execute(query)).tuples())


def _key_at_work() -> ColumnElement[bool]:
    """Another execution of the same workflow and key has a flow run and has not ended."""
    other = aliased(Execution)
    return exists().where(
        other.workflow_id == Execution.workflow_id,
        other.key == Execution.key,
        other.id != Execution.id,
        other.flow_run_id.is_not(None),
        other.status.in_((Status.PENDING, Status.RUNNING)),
    )


def _waits_for_flush() -> ColumnElement[bool]:
    """Something that this kind has to wait for is not done in its project; ix_workflow_executions_open."""
    clauses = []
    for definition in definitions().values():
        if definition.flushes:
            other = aliased(Execution)
            clauses.append(
                and_(
                    Execution.kind == definition.kind,
                    exists().where(
                        other.project_id == Execution.project_id,
                        other.kind.in_(definition.flushes),
                        other.status.in_((Status.PENDING, Status.RUNNING)),
                        other.created_at <= Execution.created_at,
                    ),
                )
            )
    return or_(*clauses) if clauses else Execution.id.is_(None)


def _dispatch(row: FlowRun, execution: Execution) -> Dispatch:
    assert row.idempotency_key is not None
    return Dispatch(
        flow_run_id=row.id,
        idempotency_key=row.idempotency_key,
        kind=row.kind,
        name=row.name,
        execution_id=execution.id,
        workflow_id=execution.workflow_id,
        project_id=execution.project_id,
    )


async def in_flight(session: AsyncSession) -> int:
    """Flow runs that want a worker or have one (ix_flow_runs_open); those that wait for a retry do not."""
    query = (
        select(func.count())
        .select_from(FlowRun)
        .where(FlowRun.ended_at.is_(None), FlowRun.state_name != "AwaitingRetry")
    )
    return int((await session.execute(query)).scalar_one())


async def unsent(session: AsyncSession, older_than: timedelta) -> list[Dispatch]:
    """Flow runs that were stored and that Prefect has not confirmed: their dispatcher died, or the API was away."""
    query = (
        select(FlowRun, Execution)
        .join(Execution, Execution.flow_run_id == FlowRun.id)
        .where(
            FlowRun.ended_at.is_(None),
            FlowRun.prefect_id.is_(None),
            Execution.status.not_in(FINAL),
            FlowRun.created_at < utc_now() - older_than,
        )
        .order_by(FlowRun.created_at)
        .limit(100)
    )
    return [_dispatch(row, execution) for row, execution in (await session.execute(query)).tuples()]


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
