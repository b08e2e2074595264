"""Deliveries: what Studio was told, and what it is still owed."""

from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from automation.api.deliveries import DeliveryOut, DeliveryStatus
from automation.api.filters import ProjectFilter
from automation.api.pagination import CursorText, decode_cursor
from automation.api.services import ServicesOf
from automation.models.recovery_queries import list_deliveries
from automation.ops.executions import SIZE
from automation.ops.guard import Viewer
from automation.ops.rendering import page

router = APIRouter(prefix="/deliveries")


@router.get("/")
async def show_deliveries(
    request: Request,
    viewer: Viewer,
    services: ServicesOf,
    status: DeliveryStatus | None = None,
    project_id: ProjectFilter = None,
    cursor: CursorText = None,
) -> Response:
    """Webhooks to Studio, newest first."""
    project, position = viewer.among(project_id), decode_cursor(cursor, UUID)
    async with services.database.transaction() as session:
        found = await list_deliveries(session, status=status, project_id=project, position=position, size=SIZE)
    rows = [DeliveryOut.model_validate(one) for (one,) in found.rows]
    filters = {"status": status or "", "project_id": project_id or ""}
    return await page(request, "deliveries.html", rows=rows, listing=found, filters=filters)
