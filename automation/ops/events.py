"""Events: the inbox, and of one event which triggers fired and why the others did not."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from automation.api.filters import NameFilter, ProjectFilter
from automation.api.pagination import CursorText, decode_cursor
from automation.api.services import ServicesOf
from automation.intake import explain
from automation.models.event_queries import find_event, list_events, missing_event
from automation.ops.executions import SIZE
from automation.ops.guard import Viewer
from automation.ops.rendering import page
from automation.redaction import redact

router = APIRouter()


@router.get("/events/")
async def show_events(
    request: Request,
    viewer: Viewer,
    services: ServicesOf,
    project_id: ProjectFilter = None,
    type: NameFilter = None,
    cursor: CursorText = None,
) -> Response:
    """Events, newest first."""
    project, position = viewer.among(project_id), decode_cursor(cursor, str)
    async with services.database.transaction() as session:
        found = await list_events(session, project_id=project, type=type, position=position, size=SIZE)
    filters = {"project_id": project_id or "", "type": type or ""}
    return await page(request, "events.html", rows=[one for (one,) in found.rows], listing=found, filters=filters)


@router.get("/event/")
async def show_event(
    request: Request, viewer: Viewer, services: ServicesOf, id: Annotated[str, Query(max_length=200)]
) -> Response:
    """One event. Its id is no part of the address, as it may be any text."""
    async with services.database.transaction() as session:
        event = await find_event(session, id)
        viewer.require_project(event.project_id, missing_event(id))
        told = await explain.tell(session, event)
    told.sort(key=lambda one: (not one.fired, one.outcome == explain.NOT_HEARD))
    return await page(request, "event.html", event=event, data=redact(event.data), told=told)
