"""Executions: the list with its filters, and finding one thing by its id."""

from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from automation.api.execution_answers import summary
from automation.api.filters import TEXT, NameFilter, ProjectFilter, StatusFilter
from automation.api.pagination import CursorText, decode_cursor
from automation.api.services import ServicesOf
from automation.errors import NotFoundError
from automation.models import Event, Execution
from automation.models.execution_queries import list_executions
from automation.ops.guard import Viewer
from automation.ops.rendering import page

router = APIRouter()

SIZE = 50
"""Rows of a page of any list."""


@router.get("/executions/")
async def show_executions(
    request: Request,
    viewer: Viewer,
    services: ServicesOf,
    project_id: ProjectFilter = None,
    workflow_id: UUID | None = None,
    status: StatusFilter | None = None,
    kind: NameFilter = None,
    parent_id: UUID | None = None,
    degraded: bool | None = None,
    cursor: CursorText = None,
) -> Response:
    """Executions, newest first."""
    async with services.database.transaction() as session:
        found = await list_executions(
            session,
            project_id=viewer.among(project_id),
            workflow_id=workflow_id,
            status=status,
            kind=kind,
            parent_id=parent_id,
            degraded=degraded,
            position=decode_cursor(cursor, UUID),
            size=SIZE,
        )
    filters = {"project_id": project_id or "", "status": status or "", "kind": kind or ""}
    narrower = {"workflow_id": workflow_id, "parent_id": parent_id, "degraded": degraded}
    rows = [summary(one, name) for one, name in found.rows]
    return await page(request, "executions.html", rows=rows, listing=found, filters=filters, narrower=narrower)


@router.get("/find/")
async def find(
    request: Request,
    viewer: Viewer,
    services: ServicesOf,
    q: Annotated[str, Query(max_length=200, pattern=TEXT)] = "",
) -> Response:
    """To the execution, the event or the project's executions that have this id."""
    wanted = q.strip()
    if not wanted:
        return RedirectResponse("/ops/executions/", 303)
    async with services.database.transaction() as session:
        id_ = _uuid(wanted)
        if id_ is not None and await session.get(Execution, id_) is not None:
            await viewer.require(session, Execution, id_)
            return RedirectResponse(f"/ops/executions/{id_}/", 303)
        event = await session.get(Event, wanted)
        if event is not None:
            viewer.require_project(event.project_id, f"Nothing has the id {wanted!r}.")
            return RedirectResponse(f"/ops/event/?{urlencode({'id': wanted})}", 303)
        of_project = viewer.among(wanted)
        if (await list_executions(session, project_id=of_project, size=1)).rows:
            return RedirectResponse(f"/ops/executions/?{urlencode({'project_id': wanted})}", 303)
    raise NotFoundError(f"No execution, event or project has the id {wanted!r}.")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
