"""Workflows: what the platform does, and starting one by hand."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header
from starlette.requests import Request

from automation import control
from automation.api.answers import VersionOut, WorkflowDetailOut, WorkflowOut, version_out, workflow_out
from automation.api.auth import require_key
from automation.api.bodies import read_json, schema_of
from automation.api.events import StartedOut, json_body
from automation.api.filters import NameFilter, ProjectFilter
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import documented
from automation.api.services import Services, ServicesOf
from automation.authoring import write
from automation.authoring.drafts import WorkflowDraft, parse_workflow, parse_workflow_patch
from automation.authoring.shapes import WorkflowBody, WorkflowPatch
from automation.errors import RefusedError
from automation.models.workflow_queries import find_workflow, list_versions, list_workflows

router = APIRouter(prefix="/workflows", tags=["workflows"], dependencies=[Depends(require_key)])

_EXECUTE_SCHEMA = {
    "type": "object",
    "properties": {"input": {"type": "object"}},
    "additionalProperties": False,
}


@router.get("/", responses=documented(401, 422, 503))
async def get_workflows(
    request: Request,
    services: ServicesOf,
    project_id: ProjectFilter = None,
    kind: NameFilter = None,
    is_active: bool | None = None,
    archived: bool = False,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[WorkflowOut]:
    """Workflows, newest first; those that were deleted and have a history with `archived=true`."""
    position = decode_cursor(cursor, UUID)
    async with services.database.transaction() as session:
        page = await list_workflows(
            session,
            project_id=project_id,
            kind=kind,
            is_active=is_active,
            archived=archived,
            position=position,
            size=page_size,
        )
    return listing(request, page, (WorkflowOut.model_validate(one) for (one,) in page.rows))


@router.post(
    "/",
    status_code=201,
    response_model_exclude_unset=True,
    responses=documented(401, 409, 413, 422, 503),
    openapi_extra=json_body(schema_of(WorkflowBody)),
)
async def create_workflow(request: Request, services: ServicesOf) -> WorkflowDetailOut:
    """Create a workflow with its steps and triggers. The `secret` of each WEBHOOK is shown in this answer only."""
    draft = await read_json(request, lambda raw: parse_workflow(raw, services.settings))
    async with services.database.transaction() as session:
        written = await write.create_workflow(session, draft, services.settings)
    return workflow_out(written.workflow, written.secrets)


@router.get("/{id}/", response_model_exclude_unset=True, responses=documented(401, 404, 422, 503))
async def get_workflow(id: UUID, services: ServicesOf) -> WorkflowDetailOut:
    """One workflow with its steps and triggers."""
    async with services.database.transaction() as session:
        return workflow_out(await find_workflow(session, id))


@router.get("/{id}/versions/", responses=documented(401, 404, 422, 503))
async def get_versions(
    id: UUID, request: Request, services: ServicesOf, cursor: CursorText = None, page_size: PageSize = 50
) -> Listing[VersionOut]:
    """What a workflow has been, newest first; each execution names the version that it runs on."""
    position = decode_cursor(cursor, int)
    async with services.database.transaction() as session:
        await write.keep_version(session, id)
        page = await list_versions(session, id, position, page_size)
    return listing(request, page, (version_out(one) for (one,) in page.rows))


@router.put(
    "/{id}/",
    response_model_exclude_unset=True,
    responses=documented(401, 404, 409, 413, 422, 503),
    openapi_extra=json_body(schema_of(WorkflowBody)),
)
async def replace_workflow(id: UUID, request: Request, services: ServicesOf) -> WorkflowDetailOut:
    """Put a whole workflow in place of this one. Steps keep their history by their `identifier`, triggers by their
    `id`; a system workflow keeps its triggers when none are given.
    """
    draft = await read_json(request, lambda raw: parse_workflow(raw, services.settings))
    return await _change(services, id, draft)


@router.patch(
    "/{id}/",
    response_model_exclude_unset=True,
    responses=documented(401, 404, 409, 413, 422, 503),
    openapi_extra=json_body(schema_of(WorkflowPatch)),
)
async def change_workflow(id: UUID, request: Request, services: ServicesOf) -> WorkflowDetailOut:
    """Change what is given; `steps` and `triggers` are given whole."""
    draft = await read_json(request, lambda raw: parse_workflow_patch(raw, services.settings))
    return await _change(services, id, draft)


async def _change(services: Services, id: UUID, draft: WorkflowDraft) -> WorkflowDetailOut:
    async with services.database.transaction() as session:
        written = await write.change_workflow(session, id, draft)
    return workflow_out(written.workflow, written.secrets)


@router.delete("/{id}/", status_code=204, responses=documented(401, 404, 409, 422, 503))
async def delete_workflow(id: UUID, services: ServicesOf) -> None:
    """Delete a workflow. One that has executions is archived: it runs no more, and its history stays readable."""
    async with services.database.transaction() as session:
        await write.delete_workflow(session, id, services.settings)


@router.post(
    "/{id}/execute/",
    status_code=202,
    responses=documented(401, 404, 409, 413, 422, 429, 503),
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
