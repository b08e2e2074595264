"""Dead letters: what failed for good, and having it tried again."""

from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from automation import control
from automation.api import asked
from automation.api.filters import NameFilter, ProjectFilter
from automation.api.pagination import CursorText, decode_cursor
from automation.api.services import ServicesOf
from automation.audit import note_executions
from automation.models import Status
from automation.models.recovery_queries import Letters, count_redrivable, list_letters
from automation.ops.executions import SIZE
from automation.ops.guard import FormOf, Viewer
from automation.ops.rendering import page

router = APIRouter(prefix="/dead-letters")


@router.get("/")
async def show_dead_letters(
    request: Request,
    viewer: Viewer,
    services: ServicesOf,
    project_id: ProjectFilter = None,
    kind: NameFilter = None,
    error_code: NameFilter = None,
    redriven: bool = False,
    cursor: CursorText = None,
) -> Response:
    """Dead letters, newest first: those that are open, or those that were tried again."""
    filters = {"project_id": project_id or "", "kind": kind or "", "error_code": error_code or ""}
    letters, position = _letters(viewer.among(project_id), filters), decode_cursor(cursor, UUID)
    async with services.database.transaction() as session:
        found = await list_letters(session, letters, redriven=redriven, position=position, size=SIZE)
        left = await count_redrivable(session, letters)
    return await page(
        request, "dead_letters.html", rows=found.rows, listing=found, filters=filters, redriven=redriven,
        left=left, most=control.REDRIVEN_AT_ONCE,
    )  # fmt: skip


@router.post("/redrive/")
async def redrive_many(viewer: Viewer, form: FormOf, services: ServicesOf) -> Response:
    """Try all of the list that was shown again, at most 1,000 at once, the oldest first."""
    letters = _letters(viewer.among(form["project_id"] or None), form)
    async with services.database.transaction() as session:
        redriven = await control.redrive(session, letters, asked_by=viewer.name)
        before, after = {"status": Status.FAILED}, {"status": Status.RETRYING}
        await note_executions(session, viewer, "redrive", redriven.executions, before, after)
    return RedirectResponse("/ops/dead-letters/?done=redriven", 303)


@router.post("/{id}/redrive/")
async def redrive_one(id: UUID, viewer: Viewer, form: FormOf, services: ServicesOf) -> Response:
    """Try one again, and look at it."""
    async with services.database.transaction() as session:
        await asked.redrive(session, viewer, id)
    return RedirectResponse(f"/ops/executions/{id}/?done=retried", 303)


def _letters(project_id: str | None, filters: dict[str, str]) -> Letters:
    return Letters(project_id=project_id, kind=filters["kind"] or None, error_code=filters["error_code"] or None)
