"""What stands now: what waits and runs, who is there, what is owed. Each figure is read by an index of open rows."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.models import DeadLetter, ResourceSample, Status, Trigger, Workflow, utc_now
from automation.triggers.slots import slots
from automation.triggers.types import ScheduledConfig

TOP_PROJECTS = 20
"""Projects with most work waiting that are named."""

STALE = timedelta(seconds=45)
"""A process that was not heard of for so long is gone: each tells of itself every 15 s."""

MISSED = timedelta(seconds=60)
"""A slot that is past so long should have its execution: those that Prefect misses are looked for every 15 s."""

_OPEN = text("""
    SELECT kind, coalesce(project_id, ''), status, count(*), count(*) FILTER (WHERE due_at <= :now), min(due_at)
    FROM workflow_executions WHERE status IN ('PENDING', 'RUNNING', 'RETRYING', 'WAITING')
    GROUP BY kind, project_id, status
""")
"""ix_workflow_executions_open"""

_COUNTS = text("""
    SELECT
        (SELECT count(*) FROM execution_waits WHERE status = 'WAITING' AND kind = 'approval') AS approvals,
        (SELECT count(*) FROM deliveries WHERE status = 'PENDING') AS deliveries,
        (SELECT min(position) FROM mirror_cursors WHERE name IN ('started', 'ended')) AS mirrored_at,
        count(*) FILTER (WHERE lease_until < :now) AS runs_without_heartbeat,
        count(*) FILTER (WHERE claimed_at IS NOT NULL AND mode = 'batch') AS batch_runs,
        count(*) FILTER (WHERE claimed_at IS NOT NULL) AS flow_runs
    FROM flow_runs WHERE ended_at IS NULL
""")
"""ix_execution_waits_due_at, ix_deliveries_due_at, ix_flow_runs_open"""


@dataclass(frozen=True, slots=True)
class Queue:
    """What is due and nobody has begun: of a type of workflow, or of a project.

    Attributes:
        name: the workflow's kind or the project's id ("" is the platform's own work).
        length: executions that are due.
        age_seconds: how long the oldest of them has been due; 0.0 if there are none.
    """

    name: str
    length: int
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Process:
    """A process that was heard of in the last `STALE` seconds.

    Attributes:
        role: `service`, `worker` or `child`.
        cpu: share of one core, lately; None of one that has just begun.
    """

    role: str
    host: str
    pid: int
    parent_pid: int | None
    seen_at: datetime
    cpu: float | None
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine on which a service or a worker runs: what all of its processes use. Shares are 0 to 1."""

    host: str
    seen_at: datetime
    cpu: float | None
    memory_bytes: int
    memory_share: float
    disk_share: float


@dataclass(frozen=True, slots=True)
class Connections:
    """To the database: to our part of it, and all together as a share of what the server allows."""

    ours: int
    share: float


@dataclass(frozen=True, slots=True)
class Now:
    """
    Attributes:
        by_status: executions by status, of those that have not ended (PENDING, RUNNING, RETRYING, WAITING).
        running: executions by kind.
        scheduled: executions that wait for a time to come, as between two tries.
        queues, projects: what is due, by kind, and by the projects with most of it (`TOP_PROJECTS`), longest first;
            what waits behind another one of its key is counted, too.
        approvals: that wait for somebody.
        dead_letters: open ones, by error code.
        deliveries: webhooks to Studio that are not delivered; `owed`: effects by neighbour that are owed.
        mirror_lag: seconds since the mirror had read all of Prefect's runs; None before its first reading.
        schedules_missed: schedules with a slot that is past since `MISSED` and still undecided.
        runs_without_heartbeat: flow runs whose lease is over and that nobody has ended yet.
        batch_runs, flow_runs: flow runs that have begun and not ended; the second counts the first, too.
        processes: by role, host and process id; a child's `parent_pid` is its worker.
        machines: by name; `connections` is None before a service has told of itself.
    """

    at: datetime
    by_status: dict[str, int]
    running: dict[str, int]
    scheduled: int
    queues: list[Queue]
    projects: list[Queue]
    approvals: int
    dead_letters: dict[str, int]
    deliveries: int
    owed: dict[str, int]
    mirror_lag: float | None
    schedules_missed: int
    runs_without_heartbeat: int
    batch_runs: int
    flow_runs: int
    processes: list[Process]
    machines: list[Machine]
    connections: Connections | None


async def standing(session: AsyncSession) -> Now:
    """What is now, in some milliseconds, however long the history is."""
    now = utc_now()
    open_ = (await session.execute(_OPEN, {"now": now})).all()
    samples = await _samples(session, now)
    counts = (await session.execute(_COUNTS, {"now": now})).one()
    by_status: Counter[str] = Counter()
    running: Counter[str] = Counter()
    for kind, _, status, number, _, _ in open_:
        by_status[status] += number
        if status == Status.RUNNING:
            running[kind] += number
    waiting = [row for row in open_ if row[2] in (Status.PENDING, Status.RETRYING)]
    return Now(
        at=now,
        by_status=dict(by_status),
        running=dict(running),
        scheduled=sum(number - due for _, _, _, number, due, _ in waiting),
        queues=_queues([(kind, due, oldest) for kind, _, _, _, due, oldest in waiting], now),
        projects=_queues([(project, due, oldest) for _, project, _, _, due, oldest in waiting], now)[:TOP_PROJECTS],
        approvals=counts.approvals,
        dead_letters=await _dead_letters(session),
        deliveries=counts.deliveries,
        owed=await _owed(session),
        mirror_lag=_seconds(counts.mirrored_at, now) if counts.mirrored_at else None,
        schedules_missed=await _schedules_missed(session, now),
        runs_without_heartbeat=counts.runs_without_heartbeat,
        batch_runs=counts.batch_runs,
        flow_runs=counts.flow_runs,
        processes=[_process(one) for one in samples if one.pid is not None],
        machines=[_machine(one) for one in samples if one.role == "host"],
        connections=next((_connections(one) for one in samples if one.role == "database"), None),
    )


def _queues(rows: Sequence[tuple[str, int, datetime]], now: datetime) -> list[Queue]:
    """Rows of a name, what is due, and when the oldest of them was due."""
    lengths: Counter[str] = Counter()
    oldest: dict[str, datetime] = defaultdict(lambda: now)
    for name, due, since in rows:
        lengths[name] += due
        oldest[name] = min(oldest[name], since)
    found = [Queue(name, number, _seconds(oldest[name], now)) for name, number in lengths.items() if number]
    return sorted(found, key=lambda one: (-one.length, one.name))


def _seconds(since: datetime, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds())


async def _dead_letters(session: AsyncSession) -> dict[str, int]:
    """ix_dead_letters_open"""
    query = (
        select(DeadLetter.error_code, func.count())
        .where(DeadLetter.redriven_at.is_(None))
        .group_by(DeadLetter.error_code)
    )
    return dict((await session.execute(query)).tuples().all())


async def _owed(session: AsyncSession) -> dict[str, int]:
    """ix_outbox_owed"""
    query = text("SELECT neighbour, count(*) FROM outbox WHERE status = 'OWED' GROUP BY neighbour")
    return dict((await session.execute(query)).tuples().all())


async def _schedules_missed(session: AsyncSession, now: datetime) -> int:
    """ix_triggers_watched"""
    query = (
        select(Trigger.config, Trigger.last_slot)
        .join(Workflow, Workflow.id == Trigger.workflow_id)
        .where(
            Trigger.trigger_type == "SCHEDULED",
            Trigger.is_active,
            Trigger.last_slot < now - MISSED,
            Workflow.is_active,
            Workflow.archived_at.is_(None),
        )
    )
    rows = (await session.execute(query)).tuples().all()
    # a thousand crons take a moment
    return await asyncio.to_thread(_count_missed, rows, now - MISSED) if rows else 0


def _count_missed(rows: Sequence[tuple[dict[str, Any], datetime | None]], until: datetime) -> int:
    missed = 0
    for config, last_slot in rows:
        parsed = ScheduledConfig.model_construct(**config)  # checked when it was saved
        missed += bool(last_slot and slots(parsed.cron, parsed.timezone, last_slot, until, limit=1))
    return missed


async def _samples(session: AsyncSession, now: datetime) -> Sequence[ResourceSample]:
    """The latest of each process, machine and the database; ix_resource_samples_at."""
    whose = (ResourceSample.role, ResourceSample.host, ResourceSample.pid)
    query = (
        select(ResourceSample)
        .distinct(*whose)
        .where(ResourceSample.at > now - STALE)
        .order_by(*whose, ResourceSample.at.desc())
    )
    return (await session.scalars(query)).all()


def _process(one: ResourceSample) -> Process:
    return Process(one.role, one.host, one.pid or 0, one.parent_pid, one.at, one.cpu, one.memory_bytes or 0)


def _machine(one: ResourceSample) -> Machine:
    return Machine(one.host, one.at, one.cpu, one.memory_bytes or 0, one.memory_share or 0.0, one.disk_share or 0.0)


def _connections(one: ResourceSample) -> Connections:
    return Connections(one.connections or 0, one.connections_share or 0.0)
