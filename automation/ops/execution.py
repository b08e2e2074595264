"""One execution: its graph and its timeline, live; its log; and the buttons."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from prefect.utilities.urls import url_for
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from automation.api import asked
from automation.api.auth import Caller
from automation.api.execution_answers import ExecutionDetailOut, shown
from automation.api.execution_stream import EventStream
from automation.api.filters import LevelFilter, NameFilter, TextFilter
from automation.api.pagination import CursorText, decode_cursor
from automation.api.services import ServicesOf
from automation.api.watching import Watching
from automation.engine.plan import predecessors
from automation.engine.retrying import RETRYABLE
from automation.errors import RefusedError
from automation.models import FINAL, Execution, Json, WorkflowVersion, utc_now
from automation.ops.gantt import Chart, make_chart
from automation.ops.graph import Drawing, draw
from automation.ops.guard import FormOf, Viewer
from automation.ops.logs import LogView, read_log
from automation.ops.rendering import page

router = APIRouter(prefix="/executions/{id}")


@dataclass(frozen=True, slots=True)
class View:
    """What the page shows of an execution; `prefect_url` is the flow run that carried it, in Prefect's UI."""

    detail: ExecutionDetailOut
    event_id: str | None
    graph: Drawing
    chart: Chart
    prefect_url: str | None

    @property
    def is_over(self) -> bool:
        return self.detail.status in FINAL

    @property
    def can_retry(self) -> bool:
        return self.detail.status in RETRYABLE

    @property
    def approvals(self) -> list[Any]:
        """What waits for somebody's word."""
        return [one for one in self.detail.waits if one.kind == "approval" and one.status == "WAITING"]


@router.get("/")
async def show_execution(
    id: UUID,
    request: Request,
    viewer: Viewer,
    services: ServicesOf,
    level: LevelFilter | None = None,
    step: NameFilter = None,
    text: TextFilter = None,
    cursor: CursorText = None,
) -> Response:
    """An execution with all that belongs to it, and the end of its log."""
    async with services.database.transaction() as session:
        view = await _view(session, viewer, id)
        log = await read_log(session, id, level, step, text, decode_cursor(cursor, int))
    return await page(request, "execution.html", view=view, one=view.detail, log=log)


@router.get("/live/")
async def show_live(id: UUID, request: Request, viewer: Viewer, services: ServicesOf) -> Response:
    """The part of the page that moves while the execution does."""
    async with services.database.transaction() as session:
        view = await _view(session, viewer, id)
    return await page(request, "_execution.html", view=view, one=view.detail)


@router.get("/acts/")
async def show_acts(id: UUID, request: Request, viewer: Viewer, services: ServicesOf) -> Response:
    """The buttons that it has now."""
    async with services.database.transaction() as session:
        view = await _view(session, viewer, id)
    return await page(request, "_acts.html", view=view, one=view.detail)


@router.get("/logs/")
async def show_logs(
    id: UUID,
    request: Request,
    viewer: Viewer,
    services: ServicesOf,
    level: LevelFilter | None = None,
    step: NameFilter = None,
    text: TextFilter = None,
) -> Response:
    """The end of its log, as it is now."""
    async with services.database.transaction() as session:
        await viewer.require(session, Execution, id)
        log: LogView = await read_log(session, id, level, step, text, None)
    return await page(request, "_logs.html", log=log)


@router.get("/stream/")
async def stream_execution(id: UUID, request: Request, viewer: Viewer, services: ServicesOf) -> EventStream:
    """The same events as of the API (`automation/api/execution_stream.py`), for who is signed in."""
    async with services.database.transaction() as session:
        await viewer.require(session, Execution, id)
    watching: Watching = request.app.state.watching
    return EventStream(await watching.follow(id))


@router.post("/retry/")
async def retry_execution(id: UUID, viewer: Viewer, form: FormOf, services: ServicesOf) -> Response:
    """Try it again: from its first step that is not completed, from a step, or from the start."""
    wanted = form["from"]
    if wanted and wanted != "*" and not wanted.startswith("step:"):
        raise RefusedError(f"from: {wanted[:100]!r} is no place to begin at", "from")
    from_step = wanted.removeprefix("step:") if wanted.startswith("step:") else None
    async with services.database.transaction() as session:
        how = {"from_step": from_step, "from_start": wanted == "*", "reason": form.words("reason")}
        await asked.retry(session, viewer, id, **how)
    return _back(id, "retried")


@router.post("/cancel/")
async def cancel_execution(id: UUID, viewer: Viewer, form: FormOf, services: ServicesOf) -> Response:
    """Cancel it, and those that its steps have started."""
    async with services.database.transaction() as session:
        await asked.cancel(session, viewer, id, services.settings)
    return _back(id, "cancelled")


@router.post("/approve/")
async def approve_execution(id: UUID, viewer: Viewer, form: FormOf, services: ServicesOf) -> Response:
    """Answer an approval that it waits for."""
    if form["answer"] not in ("yes", "no"):
        raise RefusedError("answer: give yes or no", "answer")
    given = {"comment": form.words("comment"), "step": form["step"] or None, "by": form.words("by", 150) or None}
    async with services.database.transaction() as session:
        await asked.approve(session, viewer, id, approve=form["answer"] == "yes", **given)  # type: ignore[arg-type]
    return _back(id, "answered")


def _back(id: UUID, done: str) -> Response:
    return RedirectResponse(f"/ops/executions/{id}/?done={done}", 303)


async def _view(session: AsyncSession, viewer: Caller, id: UUID) -> View:
    await viewer.require(session, Execution, id)
    detail = await shown(session, id)
    execution = await session.get_one(Execution, id)  # read by then
    run = detail.flow_run
    return View(
        detail=detail,
        event_id=execution.event_id,
        graph=draw(await _after(session, detail)),
        chart=make_chart(detail, utc_now()),
        prefect_url=url_for("flow-run", obj_id=run.id) if run and run.id else None,
    )


async def _after(session: AsyncSession, detail: ExecutionDetailOut) -> dict[str, frozenset[str]]:
    """Of each step that is shown, those that it waits for; of a version that is not stored, by their order."""
    version = None
    if detail.workflow_version is not None:
        version = await session.get(WorkflowVersion, (detail.workflow_id, detail.workflow_version))
    steps: list[Json] = version.definition["steps"] if version else []
    depends_on = {step["identifier"]: step["depends_on"] for step in steps}
    orders = {step.identifier: step.order for step in detail.steps}
    return {
        name: predecessors(name, order, depends_on.get(name, ()), orders) & orders.keys()
        for name, order in orders.items()
    }
