"""How it went: success, durations and throughput over time by type of workflow, the slowest steps, what failed."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from automation.api.filters import NameFilter
from automation.api.services import ServicesOf
from automation.models import utc_now
from automation.monitoring import of_project
from automation.monitoring.insights import (
    Bucket,
    ErrorInsight,
    ResourceSeries,
    StepInsight,
    WorkflowInsight,
    error_insights,
    resource_insights,
    step_insights,
    workflow_history,
    workflow_insights,
)
from automation.monitoring.windows import Window
from automation.ops.guard import Viewer
from automation.ops.plots import Column, columns, line, means, nice_top
from automation.ops.rendering import page

router = APIRouter(prefix="/history")

WINDOWS: dict[str, tuple[timedelta, timedelta]] = {
    "1h": (timedelta(hours=1), timedelta(minutes=1)),
    "6h": (timedelta(hours=6), timedelta(minutes=5)),
    "24h": (timedelta(hours=24), timedelta(minutes=30)),
    "7d": (timedelta(days=7), timedelta(hours=3)),
    "30d": (timedelta(days=30), timedelta(hours=12)),
    "90d": (timedelta(days=90), timedelta(days=1)),
}
"""Each window that can be chosen, and what its plots have a point for: 60 to 90 of them."""

WindowName = Literal["1h", "6h", "24h", "7d", "30d", "90d"]
ERRORS = 20
ROLES = ("host", "service", "worker", "child")
_RESOURCES_KEPT = timedelta(days=7)
USED = 30
"""Processes and machines that are shown: under load, a worker replaces its children every few minutes."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture: lines and bars, and the value at its upper edge."""

    top: float
    lines: dict[str, str]
    columns: list[Column]


@dataclass(frozen=True, slots=True)
class Over:
    """A type of workflow over time; `buckets` is the table behind its plots, without those in which nothing ended."""

    kind: str
    insight: WorkflowInsight
    success: Plot
    duration: Plot
    throughput: Plot
    buckets: list[Bucket]


@dataclass(frozen=True, slots=True)
class Used:
    """What a process or a machine used over time."""

    series: ResourceSeries
    cpu: Plot | None
    memory: Plot | None


@dataclass(frozen=True, slots=True)
class View:
    """The page. Of one project, `used` is empty, and `latest` says from how many executions at most its figures are,
    and those of its steps and errors. `used` are `USED` at most, of `used_count`.
    """

    latest: tuple[int, int] | None
    since: datetime
    until: datetime
    bucket: timedelta
    workflows: list[WorkflowInsight]
    over: list[Over]
    steps: list[StepInsight]
    errors: list[ErrorInsight]
    used: list[Used]
    used_count: int


@router.get("/")
async def show_history(
    request: Request,
    viewer: Viewer,
    services: ServicesOf,
    window: WindowName = "24h",
    kind: NameFilter = None,
) -> Response:
    """The page of one window."""
    length, bucket = WINDOWS[window]
    until = _edge(utc_now(), bucket)
    chosen = Window(until - length, until)
    async with services.database.transaction() as session:
        workflows = await workflow_insights(session, chosen, project_id=viewer.only, kind=kind)
        steps = await step_insights(session, chosen, project_id=viewer.only, kind=kind)
        errors = await error_insights(session, chosen, project_id=viewer.only, limit=ERRORS)
        history = await workflow_history(session, chosen, bucket, project_id=viewer.only, kind=kind)
        series = []
        if viewer.only is None:
            series = await resource_insights(session, Window(max(chosen.since, until - _RESOURCES_KEPT), until))
    workflows.sort(key=lambda one: -one.count)
    measured = sorted((one for one in series if one.role in ROLES), key=_place)
    view = View(
        latest=None if viewer.only is None else (of_project.MOST, of_project.MOST_LOOKED_INTO),
        since=chosen.since,
        until=until,
        bucket=bucket,
        workflows=workflows,
        over=[_over(one, history, chosen, bucket) for one in workflows],
        steps=sorted(steps, key=lambda one: -(one.p95_ms or 0)),
        errors=errors,
        used=[_used(one, chosen, bucket) for one in measured[:USED]],
        used_count=len(measured),
    )
    return await page(request, "history.html", view=view, window=window, windows=list(WINDOWS), kind=kind or "")


def _edge(now: datetime, bucket: timedelta) -> datetime:
    """The end of the bucket that is under way, so that the newest ends are in the plots."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + ((now - epoch) // bucket + 1) * bucket


def _over(insight: WorkflowInsight, history: list[Bucket], window: Window, bucket: timedelta) -> Over:
    mine = {one.at: one for one in history if one.kind == insight.kind}
    number = (window.until - window.since) // bucket
    grid = [mine.get(window.since + n * bucket) for n in range(number)]
    stacks = [
        [("completed", one.completed), ("failed", one.failed), ("cancelled", one.cancelled)] if one else []
        for one in grid
    ]
    p50, p95 = [one.p50_ms if one else None for one in grid], [one.p95_ms if one else None for one in grid]
    slowest, most = nice_top([*p50, *p95]), nice_top([sum(value for _, value in stack) for stack in stacks])
    return Over(
        kind=insight.kind,
        insight=insight,
        success=Plot(1.0, {"rate": line([_rate(one) if one else None for one in grid], 1.0)}, []),
        duration=Plot(slowest, {"p50": line(p50, slowest), "p95": line(p95, slowest)}, []),
        throughput=Plot(most, {}, columns(stacks, most)),
        buckets=sorted(mine.values(), key=lambda one: one.at, reverse=True),
    )


def _rate(bucket: Bucket) -> float | None:
    ended = bucket.completed + bucket.failed
    return bucket.completed / ended if ended else None


def _place(series: ResourceSeries) -> tuple[int, float, str, int]:
    """Machines first, then who serves, then who works; of each, who was heard of last."""
    return ROLES.index(series.role), -(series.points[-1].at.timestamp() // 60), series.host, series.pid or 0


def _used(series: ResourceSeries, window: Window, bucket: timedelta) -> Used:
    number = (window.until - window.since) // bucket
    cpu = means([(one.at, one.cpu) for one in series.points], window.since, bucket, number)
    memory = means([(one.at, one.memory_bytes) for one in series.points], window.since, bucket, number)
    return Used(series, _single(cpu, floor=1.0), _single(memory))


def _single(values: list[float | None], floor: float = 0.0) -> Plot | None:
    if all(value is None for value in values):
        return None
    top = max(nice_top(values), floor)
    return Plot(top, {"used": line(values, top)}, [])
