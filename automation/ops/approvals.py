"""What waits for somebody's word."""

from fastapi import APIRouter
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import Response

from automation.api.services import ServicesOf
from automation.models import Execution, Wait, Workflow
from automation.ops.guard import Viewer
from automation.ops.rendering import page

router = APIRouter(prefix="/approvals")

SHOWN = 200


@router.get("/")
async def show_approvals(request: Request, viewer: Viewer, services: ServicesOf) -> Response:
    """Open approvals, those that wait longest first; by ix_execution_waits_due_at, which has what waits alone."""
    query = (
        select(Wait, Workflow.name)
        .join(Execution, Execution.id == Wait.execution_id)
        .join(Workflow, Workflow.id == Execution.workflow_id)
        .where(Wait.status == "WAITING", Wait.kind == "approval")
        .order_by(Wait.created_at, Wait.id)
        .limit(SHOWN)
    )
    if viewer.only is not None:
        query = query.where(Wait.project_id == viewer.only)
    async with services.database.transaction() as session:
        rows = (await session.execute(query)).tuples().all()
    return await page(request, "approvals.html", rows=rows)
