"""Which executions get a flow run next. SQL only; nothing here talks to Prefect."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from uuid import UUID, uuid4

import orjson
from sqlalchemy import TextClause, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.catalog import definitions
from automation.dispatcher.dispatch import Dispatch
from automation.engine.entry import run_tags
from automation.models import OPEN, Execution, FlowRun, Status, Workflow, WorkflowDeployment, utc_now
from automation.models.turns import bounded_turns


@dataclass(slots=True)
class Turn:
    """Behind which project the turn goes on, and how many flow runs of one project may be in flight.

    `limits` are those of single projects, `limit` is that of all others; 0 sets none. The platform has none.
    """

    limit: int = 0
    limits: Mapping[str, int] = field(default_factory=dict)
    after: str | None = None


async def assign(session: AsyncSession, capacity: int, turn: Turn | None = None) -> list[Dispatch]:
    """Give up to `capacity` due executions a flow run of their own, projects in turn.

    Executions whose key is at work, that wait for a flush, or whose project has enough in flight are passed over.
    Several dispatchers may run this at once; each execution goes to one of them (SKIP LOCKED). They do not wait
    for each other: what they assign in the same moment may exceed a limit by that.

    Args:
        turn: is moved on; None begins a new one, without limits.
    """
    if capacity <= 0:
        return []
    chosen = await _choose(session, capacity, turn or Turn())
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


async def _choose(session: AsyncSession, capacity: int, turn: Turn) -> Sequence[tuple[Execution, str, UUID | None]]:
    """Due executions without a flow run, first one of each project first; with the workflow's name and deployment."""
    rooms = await _rooms(session, capacity, turn)
    begins = turn.after is None
    ids = await _next(session, capacity, rooms, turn)
    if not ids and not begins:  # from the last project on there was nothing
        turn.after = None
        ids = await _next(session, capacity, rooms, turn)
    query = (
        select(Execution, Workflow.name, WorkflowDeployment.deployment_id)
        .join(Workflow, Workflow.id == Execution.workflow_id)
        .outerjoin(WorkflowDeployment, WorkflowDeployment.workflow_id == Execution.workflow_id)
        .where(Execution.id.in_(ids), Execution.flow_run_id.is_(None))
        .with_for_update(of=Execution, skip_locked=True)
    )
    order = {id_: position for position, id_ in enumerate(ids)}
    return sorted((await session.execute(query)).tuples(), key=lambda one: order[one[0].id])


async def _next(session: AsyncSession, capacity: int, rooms: Mapping[str, int], turn: Turn) -> list[UUID]:
    """What comes next in the turn, which is moved on behind it."""
    parameters = {
        "size": capacity,
        "now": utc_now(),
        "rooms": orjson.dumps(rooms).decode(),
        "room": str(turn.limit or capacity),
        "full": sum(room <= 0 for room in rooms.values()),
        **flush_parameters(),
        **({} if turn.after is None else {"after": turn.after}),
    }
    rows = (await session.execute(_turns()[turn.after is not None], parameters)).tuples().all()
    found = [(id_, project) for id_, project, _ in rows if id_ is not None]
    if len(found) == capacity:
        turn.after = found[-1][1]
    else:
        turn.after = rows[0][2] if rows else None
    return [id_ for id_, _ in found]


async def _rooms(session: AsyncSession, capacity: int, turn: Turn) -> dict[str, int]:
    """How many flow runs more a project may have, of those for which that is not simply the limit.

    ix_flow_runs_open; ix_workflow_executions_flow_run_id.
    """
    rooms = {"": capacity} | {project: limit or capacity for project, limit in turn.limits.items()}
    if not turn.limit and not any(turn.limits.values()):
        return rooms
    query = (
        select(Execution.project_id, func.count(FlowRun.id.distinct()))
        .join(FlowRun, FlowRun.id == Execution.flow_run_id)
        .where(Execution.project_id.is_not(None), FlowRun.mode == "single", *_IN_FLIGHT)
        .group_by(Execution.project_id)
    )
    for project, running in (await session.execute(query)).tuples():
        if project and (limit := turn.limits.get(project, turn.limit)):
            rooms[project] = max(0, limit - running)
    return rooms


def _flushes() -> list[dict[str, object]]:
    """Which kinds wait for which others of their project."""
    return [{"kind": one.kind, "flushed": list(one.flushes)} for one in definitions().values() if one.flushes]


def flush_parameters() -> dict[str, object]:
    """The parameters of `allowed`."""
    return {f"{side}_{n}": value for n, pair in enumerate(_flushes()) for side, value in pair.items()}


@lru_cache
def _turns() -> dict[bool, TextClause]:
    """Singles in turn, from the beginning or behind a project."""
    waiting = "w.status IN ('PENDING', 'RETRYING') AND w.flow_run_id IS NULL AND NOT w.batch"
    return {behind: bounded_turns(waiting, allowed(), behind=behind) for behind in (False, True)}


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


_IN_FLIGHT = (FlowRun.ended_at.is_(None), FlowRun.state_name != "AwaitingRetry", FlowRun.state != "PAUSED")


async def in_flight(session: AsyncSession) -> int:
    """Flow runs that want a worker or have one (ix_flow_runs_open).

    Those that wait for a retry do not, and those that cron made and nobody has begun do not count: a hundred schedules
    of one minute would keep everything else waiting.
    """
    begun_or_ours = or_(FlowRun.idempotency_key.is_not(None), FlowRun.claimed_at.is_not(None))
    query = select(func.count()).select_from(FlowRun).where(*_IN_FLIGHT, begun_or_ours)
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
