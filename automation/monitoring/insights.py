"""Figures of the past, in windows of time: workflows, steps, errors.

They are read from rollups (`automation.monitoring.fold`), never from the executions, so that a window of 90 days over
millions of executions is some thousand rows: days, and hours and minutes at its ends (`automation.monitoring.windows`).
What has ended stands in the rollups some seconds later. Those of one project are read from its executions
(`automation.monitoring.of_project`).
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, and_, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from automation.errors import RefusedError
from automation.models import FINAL, ErrorCount, ErrorGroup, ResourceSample, Status, Timing, utc_now
from automation.monitoring import of_project
from automation.monitoring.errors_seen import Group
from automation.monitoring.histogram import Histogram, merged
from automation.monitoring.windows import EPOCH, LENGTHS, Window, finest, stretches

_MOST_BUCKETS = 1000
_MOST_POINTS = 300
_SAMPLED = timedelta(seconds=15)
_SUMS = (cast(func.sum(Timing.count), BigInteger), func.sum(Timing.total_ms))


@dataclass(frozen=True, slots=True)
class WorkflowInsight:
    """How the executions of one type of workflow went.

    Attributes:
        count: those that ended: `completed` + `failed` + `cancelled`; one that is tried again by hand ends again.
        success_rate: completed of those completed or failed, 0 to 1; None if there are none.
        mean_ms, p50_ms, p95_ms, p99_ms: from the first step's begin to the end, of those completed or failed.
        to_done_p50_ms, to_done_p95_ms: from the event's acceptance to the end, of those completed.
    """

    kind: str
    count: int
    completed: int
    failed: int
    cancelled: int
    success_rate: float | None
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    to_done_p50_ms: float | None
    to_done_p95_ms: float | None


@dataclass(frozen=True, slots=True)
class Bucket:
    """What ended in one bucket of time: `at` is its begin."""

    at: datetime
    kind: str
    completed: int
    failed: int
    cancelled: int
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class StepInsight:
    """How long the steps of one type took, and how many of them failed. A step that was tried again counts again."""

    step_type: str
    count: int
    failed: int
    mean_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class ErrorInsight:
    """Failed tries with one cause: same class, same step, same message but for its variable parts.

    Attributes:
        fingerprint: 16 hex digits of these three.
        message: with `<number>`, `<id>` and the like for its variable parts.
        count: in the window; `first_seen` and `last_seen` are ever.
        execution_id: the latest example; it may be gone since.
    """

    fingerprint: str
    error_code: str
    step: str
    message: str
    count: int
    first_seen: datetime
    last_seen: datetime
    execution_id: UUID


@dataclass(frozen=True, slots=True)
class ResourcePoint:
    """What was used over some seconds that end at `at`; None is what does not apply to the series' role.

    Attributes:
        cpu: share of one core of a process (over 1 for several threads); of all cores together for `host`.
        memory_bytes: resident; of all processes for `host`.
        memory_share, disk_share, connections_share: 0 to 1 of what there is.
        connections: to our database.
    """

    at: datetime
    cpu: float | None
    memory_bytes: int | None
    memory_share: float | None
    disk_share: float | None
    connections: int | None
    connections_share: float | None


@dataclass(frozen=True, slots=True)
class ResourceSeries:
    """One process (`service`, `worker`, `child`), a machine (`host`), or the database (`database`), over time."""

    role: str
    host: str
    pid: int | None
    points: list[ResourcePoint]


Times = dict[tuple[str, str], Histogram]
"""Histograms by two of: kind or step type, status."""


async def workflow_insights(
    session: AsyncSession, window: Window, *, project_id: str | None = None, kind: str | None = None
) -> list[WorkflowInsight]:
    """By type of workflow, by its name.

    Of one project: read from its latest executions that were accepted in the window, at most 10,000.
    """
    if project_id is not None:
        rows = await of_project.executions(session, project_id, window.since, window.until)
    else:
        query = (
            select(Timing.measure, Timing.kind, Timing.status, Timing.bucket, *_SUMS)
            .where(_within(window, Timing), Timing.measure.in_(("run", "done")))
            .group_by(Timing.measure, Timing.kind, Timing.status, Timing.bucket)
        )
        rows = (await session.execute(query)).tuples().all()
    runs: Times = defaultdict(Histogram)
    done: dict[str, Histogram] = defaultdict(Histogram)
    for measure, of, status, bucket, count, total_ms in rows:
        if kind in (None, of):
            (runs[of, status] if measure == "run" else done[of]).add(bucket, count, total_ms)
    return [_workflow(of, runs, done[of]) for of in sorted({of for of, _ in runs})]


def _workflow(kind: str, runs: Times, done: Histogram) -> WorkflowInsight:
    completed, failed, cancelled = (runs.get((kind, one), Histogram()) for one in FINAL)
    judged = merged((completed, failed))
    return WorkflowInsight(
        kind=kind,
        count=judged.count + cancelled.count,
        completed=completed.count,
        failed=failed.count,
        cancelled=cancelled.count,
        success_rate=completed.count / judged.count if judged.count else None,
        mean_ms=judged.mean_ms,
        p50_ms=judged.percentile(0.5),
        p95_ms=judged.percentile(0.95),
        p99_ms=judged.percentile(0.99),
        to_done_p50_ms=done.percentile(0.5),
        to_done_p95_ms=done.percentile(0.95),
    )


async def workflow_history(
    session: AsyncSession,
    window: Window,
    bucket: timedelta,
    *,
    project_id: str | None = None,
    kind: str | None = None,
) -> list[Bucket]:
    """The same over time, oldest first, without the buckets in which nothing ended; they begin at whole multiples of
    `bucket` since 1970.

    Of one project: read from the same executions, those of them that ended in the window.

    Args:
        bucket: whole minutes; whole hours in a window that begins by the hour.

    Raises:
        RefusedError: it is not, or there would be more than 1000 of them.
    """
    _check_bucket(window, bucket)
    if project_id is not None:
        rows = await of_project.history(session, project_id, window.since, window.until, bucket)
    else:
        begin = func.date_bin(bucket, Timing.at, EPOCH)
        query = (
            select(begin, Timing.kind, Timing.status, Timing.bucket, *_SUMS)
            .where(_within(window, Timing, bucket), Timing.measure == "run")
            .group_by(begin, Timing.kind, Timing.status, Timing.bucket)
        )
        rows = (await session.execute(query)).tuples().all()
    runs: dict[tuple[datetime, str], Times] = defaultdict(lambda: defaultdict(Histogram))
    for at, of, status, index, count, total_ms in rows:
        if kind in (None, of):
            runs[at, of][of, status].add(index, count, total_ms)
    return [_bucket(at, of, runs[at, of]) for at, of in sorted(runs)]


def _check_bucket(window: Window, bucket: timedelta) -> None:
    unit = finest(window.since, utc_now())
    if bucket < LENGTHS[unit] or bucket % LENGTHS[unit]:
        raise RefusedError(f"bucket: {bucket} is no multiple of the {unit} in this window", "bucket")
    if (window.until - window.since) / bucket > _MOST_BUCKETS:
        raise RefusedError(f"bucket: {bucket} makes more than {_MOST_BUCKETS} of this window", "bucket")


def _bucket(at: datetime, kind: str, runs: Times) -> Bucket:
    completed, failed, cancelled = (runs.get((kind, one), Histogram()) for one in FINAL)
    judged = merged((completed, failed))
    p50, p95 = judged.percentile(0.5), judged.percentile(0.95)
    return Bucket(at, kind, completed.count, failed.count, cancelled.count, p50, p95)


async def step_insights(
    session: AsyncSession, window: Window, *, project_id: str | None = None, kind: str | None = None
) -> list[StepInsight]:
    """By type of step, by its name; `kind` narrows to the steps of one type of workflow.

    Of one project: read from its latest executions that were accepted in the window, at most 2,000.
    """
    if project_id is not None:
        rows = await of_project.steps(session, project_id, window.since, window.until)
    else:
        query = (
            select(Timing.kind, Timing.name, Timing.status, Timing.bucket, *_SUMS)
            .where(_within(window, Timing), Timing.measure == "step")
            .group_by(Timing.kind, Timing.name, Timing.status, Timing.bucket)
        )
        rows = (await session.execute(query)).tuples().all()
    times: Times = defaultdict(Histogram)
    for of, step_type, status, bucket, count, total_ms in rows:
        if kind in (None, of):
            times[step_type, status].add(bucket, count, total_ms)
    return [_step(name, times) for name in sorted({name for name, _ in times})]


def _step(step_type: str, times: Times) -> StepInsight:
    failed = times.get((step_type, Status.FAILED), Histogram())
    whole = merged((times.get((step_type, Status.COMPLETED), Histogram()), failed))
    return StepInsight(
        step_type,
        whole.count,
        failed.count,
        whole.mean_ms,
        whole.percentile(0.5),
        whole.percentile(0.95),
        whole.percentile(0.99),
    )


async def error_insights(
    session: AsyncSession, window: Window, *, project_id: str | None = None, limit: int = 50
) -> list[ErrorInsight]:
    """The most frequent errors, by their number in the window. Tries that the retry policy repeated count too.

    Of one project: of its latest 2,000 executions in which something failed; `first_seen` and `last_seen` are of these.
    """
    if project_id is not None:
        groups = await of_project.errors(session, project_id, window.since, window.until)
        found = [_error(one, sum(one.minutes.values())) for one in groups]
        return sorted(found, key=lambda one: (-one.count, one.fingerprint))[:limit]
    count = cast(func.sum(ErrorCount.count), BigInteger)
    query = (
        select(ErrorGroup, count)
        .join(ErrorCount, ErrorCount.fingerprint == ErrorGroup.fingerprint)
        .where(_within(window, ErrorCount))
        .group_by(ErrorGroup.fingerprint)
        .order_by(count.desc(), ErrorGroup.fingerprint)
        .limit(limit)
    )
    return [_error(group, number) for group, number in (await session.execute(query)).tuples()]


def _error(group: ErrorGroup | Group, count: int) -> ErrorInsight:
    return ErrorInsight(
        group.fingerprint,
        group.error_code,
        group.step,
        group.message,
        count,
        group.first_seen,
        group.last_seen,
        group.execution_id,
    )


def _within(
    window: Window, rollup: type[Timing | ErrorCount], bucket: timedelta = LENGTHS["day"]
) -> ColumnElement[bool]:
    """A range of the primary key for each stretch."""
    return or_(
        *(
            and_(rollup.resolution == one.resolution, rollup.at >= one.begin, rollup.at < one.end)
            for one in stretches(window, utc_now(), bucket)
        )
    )


async def resource_insights(session: AsyncSession, window: Window) -> list[ResourceSeries]:
    """What processes and machines used, at most 300 points each (means of equal parts of the window); kept 7 days."""
    part = max(_SAMPLED, (window.until - window.since) / _MOST_POINTS)
    begin = func.date_bin(part, ResourceSample.at, window.since)
    whose = (ResourceSample.role, ResourceSample.host, ResourceSample.pid)
    query = (
        select(
            *whose,
            func.max(ResourceSample.at),
            func.avg(ResourceSample.cpu),
            cast(func.avg(ResourceSample.memory_bytes), BigInteger),
            func.avg(ResourceSample.memory_share),
            func.avg(ResourceSample.disk_share),
            func.max(ResourceSample.connections),
            func.max(ResourceSample.connections_share),
        )
        .where(ResourceSample.at >= window.since, ResourceSample.at < window.until)
        .group_by(*whose, begin)
        .order_by(*whose, begin)
    )
    series: dict[tuple[str, str, int | None], ResourceSeries] = {}
    for role, host, pid, *values in (await session.execute(query)).tuples():
        one = series.setdefault((role, host, pid), ResourceSeries(role, host, pid, []))
        one.points.append(ResourcePoint(*values))
    return list(series.values())
