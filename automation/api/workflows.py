"""Workflows: what the platform does, and starting one by hand."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from automation import control
from automation.api.auth import require_key
from automation.api.bodies import read_json
from automation.api.events import StartedOut, json_body
from automation.api.filters import NameFilter, ProjectFilter
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import documented
from automation.api.services import ServicesOf
from automation.errors import RefusedError
from automation.models.workflow_queries import find_workflow, list_workflows

router = APIRouter(prefix="/workflows", tags=["workflows"], dependencies=[Depends(require_key)])

_EXECUTE_SCHEMA = {
    "type": "object",
    "properties": {"input": {"type": "object"}},
    "additionalProperties": False,
}


class WorkflowOut(BaseModel):
    """A workflow in short."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    description: str
    project_id: str | None
    kind: str
    trigger_type: str
    is_active: bool
    config: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class StepOut(BaseModel):
    """A step of a workflow."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    identifier: str
    step_type: str
    order: int
    depends_on: list[str]
    config: dict[str, Any]
    conditions: dict[str, Any]
    is_required: bool


class TriggerOut(BaseModel):
    """When a workflow runs."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    trigger_type: str
    event_type: str
    conditions: dict[str, Any]
    config: dict[str, Any]
    is_active: bool
    last_triggered: datetime | None


class WorkflowDetailOut(WorkflowOut):
    """A workflow with its steps, in their order, and its triggers."""

    steps: list[StepOut]
    triggers: list[TriggerOut]


@router.get("/", responses=documented(401, 422, 503))
async def get_workflows(
    request: Request,
    services: ServicesOf,
    project_id: ProjectFilter = None,
    kind: NameFilter = None,
    is_active: bool | None = None,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[WorkflowOut]:
    """Workflows, newest first."""
    position = decode_cursor(cursor, UUID)
    async with services.database.transaction() as session:
        page = await list_workflows(
            session, project_id=project_id, kind=kind, is_active=is_active, position=position, size=page_size
        )
    return listing(request, page, (WorkflowOut.model_validate(one) for (one,) in page.rows))


@router.get("/{id}/", responses=documented(401, 404, 422, 503))
async def get_workflow(id: UUID, services: ServicesOf) -> WorkflowDetailOut:
    """One workflow with its steps and triggers."""
    async with services.database.transaction() as session:
        return WorkflowDetailOut.model_validate(await find_workflow(session, id))


@router.post(
    "/{id}/execute/",
    status_code=202,
    responses=documented(401, 404, 409, 413, 422, 503),
    openapi_extra=json_body(_EXECUTE_SCHEMA, required=False),
)
async def execute_workflow(
    id: UUID,
    request: Request,
    services: ServicesOf,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> StartedOut:
    """Run a workflow now. The publish workflow's input is
    `{"action": "promote" | "rollback", "version", "environment"}`; under one `Idempotency-Key` it runs once.
    """
    given = await read_json(request, parse_execute) if await request.body() else {}
    async with services.database.transaction() as session:
        started = await control.execute(session, id, services.settings, input=given, idempotency_key=idempotency_key)
    return StartedOut.model_validate(started)


def parse_execute(raw: object) -> dict[str, Any]:
    """The input in `{"input": {…}}`; `{}` when there is none.

    Raises:
        RefusedError: the body has another shape.
    """
    if not isinstance(raw, dict):
        raise RefusedError(f"body: expected an object, got {type(raw).__name__}")
    if unknown := sorted(set(raw) - {"input"}):
        raise RefusedError(f'{unknown[0]}: not known here; the body is {{"input": {{…}}}}', unknown[0])
    given = raw.get("input", {})
    if not isinstance(given, dict):
        raise RefusedError(f"input: expected an object, got {type(given).__name__}", "input")
    return given
