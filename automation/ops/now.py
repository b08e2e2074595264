"""What is now: what is wrong, what waits, what runs, and who works."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from automation.api.auth import Caller
from automation.api.services import ServicesOf
from automation.models import OPEN, Alert, DeadLetter, Execution, Status, Wait
from automation.monitoring.now import Now, Process, standing
from automation.ops.alerts import firing
from automation.ops.guard import Viewer
from automation.ops.rendering import page
from automation.ops.running import Running, running

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Figure:
    """A number on top of the page, with its name in the catalogue and its list.

    Attributes:
        unit: `number` or `seconds`.
        note: the name in the catalogue of a remark, with `seconds` in it; empty: none.
        is_bad: whether somebody should look.
    """

    name: str
    value: float | None
    href: str
    unit: str = "number"
    note: str = ""
    seconds: float = 0.0
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Worker:
    """A process with those that it has started."""

    process: Process
    children: list[Process]


@dataclass(frozen=True, slots=True)
class View:
    """The page. `now` is None for who sees one project only: the rest is not theirs."""

    at: datetime
    figures: list[Figure]
    alerts: list[Alert]
    alert_count: int
    running: list[Running]
    running_count: int
    now: Now | None
    workers: list[Worker]


@router.get("/")
async def show_now(request: Request, viewer: Viewer, services: ServicesOf) -> Response:
    """The page that is shown first."""
    return await page(request, "now.html", view=await _view(viewer, services))


@router.get("/live/")
async def show_live(request: Request, viewer: Viewer, services: ServicesOf) -> Response:
    """The part of it that moves: all but its frame."""
    return await page(request, "_now.html", view=await _view(viewer, services))


async def _view(viewer: Caller, services: ServicesOf) -> View:
    async with services.database.transaction() as session:
        at = await session.scalar(select(func.now()))
        assert isinstance(at, datetime)
        alerts, alert_count = await firing(session, viewer)
        under_way = await running(session, viewer.only)
        if viewer.only is not None:
            counts, approvals, letters = await _of_project(session, viewer.only)
            figures = _common(counts, approvals, letters, alert_count)
            return View(at, figures, alerts, alert_count, under_way, counts.get(Status.RUNNING, 0), None, [])
        now = await standing(session)
    letters = sum(now.dead_letters.values())
    figures = [*_common(now.by_status, now.approvals, letters, alert_count, now), *_of_platform(now)]
    workers = [one for one in now.processes if one.role != "child"]
    return View(
        at,
        figures,
        alerts,
        alert_count,
        under_way,
        now.by_status.get(Status.RUNNING, 0),
        now,
        [Worker(one, _children(one, now.processes)) for one in workers],
    )


def _children(parent: Process, processes: list[Process]) -> list[Process]:
    return [one for one in processes if one.parent_pid == parent.pid and one.host == parent.host and one is not parent]


def _common(
    by_status: dict[str, int], approvals: int, letters: int, alerts: int, now: Now | None = None
) -> list[Figure]:
    oldest = max((queue.age_seconds for queue in now.queues), default=0.0) if now else 0.0
    listed = "/ops/executions/?status="
    return [
        Figure("figure_alerts", alerts, "/ops/alerts/?state=FIRING", is_bad=alerts > 0),
        Figure("figure_running", by_status.get(Status.RUNNING, 0), f"{listed}RUNNING"),
        Figure(
            "figure_pending", by_status.get(Status.PENDING, 0), f"{listed}PENDING",
            note="figure_oldest" if oldest else "", seconds=oldest,
        ),
        Figure("figure_retrying", by_status.get(Status.RETRYING, 0), f"{listed}RETRYING"),
        Figure("figure_waiting", by_status.get(Status.WAITING, 0), f"{listed}WAITING"),
        Figure("figure_approvals", approvals, "/ops/approvals/"),
        Figure("figure_letters", letters, "/ops/dead-letters/", is_bad=letters > 0),
    ]  # fmt: skip


def _of_platform(now: Now) -> list[Figure]:
    return [
        Figure("figure_deliveries", now.deliveries, "/ops/deliveries/?status=PENDING"),
        Figure("figure_owed", sum(now.owed.values()), "/ops/executions/?degraded=true"),
        Figure("figure_missed", now.schedules_missed, "/ops/alerts/", is_bad=now.schedules_missed > 0),
        Figure("figure_lost", now.runs_without_heartbeat, "#running", is_bad=now.runs_without_heartbeat > 0),
        Figure("figure_lag", now.mirror_lag, "#processes", unit="seconds"),
    ]


async def _of_project(session: AsyncSession, project_id: str) -> tuple[dict[str, int], int, int]:
    """What is open in one project: executions by status, approvals, dead letters; ix_workflow_executions_open,
    ix_dead_letters_open."""
    by_status = (
        select(Execution.status, func.count())
        .where(Execution.project_id == project_id, Execution.status.in_(OPEN))
        .group_by(Execution.status)
    )
    approvals = select(func.count()).where(
        Wait.project_id == project_id, Wait.status == "WAITING", Wait.kind == "approval"
    )
    letters = select(func.count()).where(DeadLetter.project_id == project_id, DeadLetter.redriven_at.is_(None))
    counts = dict((await session.execute(by_status)).tuples().all())
    return counts, await session.scalar(approvals) or 0, await session.scalar(letters) or 0
