"""Workflows: what the platform does, and starting one by hand."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from automation import control
from automation.api.answers import VersionOut, WorkflowDetailOut, WorkflowOut, version_out, workflow_out
from automation.api.auth import Caller, Executor, Manager, Reader
from automation.api.bodies import read_json, schema_of
from automation.api.etags import ETAG, IfMatch, etag, require_match, tagged
from automation.api.events import StartedOut, json_body
from automation.api.filters import NameFilter, ProjectFilter
from automation.api.idempotency import OnceOf
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import keyed
from automation.api.services import Services, ServicesOf
from automation.audit import note
from automation.authoring import write
from automation.authoring.drafts import WorkflowDraft, parse_workflow, parse_workflow_patch
from automation.authoring.redacted import whole
from automation.authoring.shapes import WorkflowBody, WorkflowPatch
from automation.errors import RefusedError
from automation.models import Workflow
from automation.models.workflow_queries import find_workflow, list_versions, list_workflows, lock_workflow
from automation.redaction import REDACTED

router = APIRouter(prefix="/workflows", tags=["workflows"])

EXECUTE_SCHEMA = {
    "type": "object",
    "properties": {"input": {"type": "object"}},
    "additionalProperties": False,
}


@router.get("/", responses=keyed(422))
async def get_workflows(
    request: Request,
    caller: Reader,
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
    async with services.database.reading() as session:
        page = await list_workflows(
            session,
            project_id=caller.among(project_id),
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
    responses={201: {"headers": ETAG}, **keyed(404, 409, 413, 422)},
    openapi_extra=json_body(schema_of(WorkflowBody)),
)
async def create_workflow(
    request: Request, response: Response, caller: Manager, services: ServicesOf
) -> WorkflowDetailOut:
    """Create a workflow with its steps and triggers. The `secret` of each WEBHOOK is shown in this answer only."""
    draft = await read_json(request, lambda raw: parse_workflow(whole(raw, None), services.settings))
    caller.place(draft.identity.get("project_id"))
    async with services.database.transaction() as session:
        written = await write.create_workflow(session, draft, services.settings)
        answer = workflow_out(written.workflow, written.secrets)
        await _note(session, caller, "create", None, answer)
    return tagged(response, answer)


@router.get("/{id}/", response_model_exclude_unset=True, responses={200: {"headers": ETAG}, **keyed(404, 422)})
async def get_workflow(id: UUID, response: Response, caller: Reader, services: ServicesOf) -> WorkflowDetailOut:
    """One workflow with its steps and triggers."""
    async with services.database.reading() as session:
        await caller.require(session, Workflow, id)
        return tagged(response, workflow_out(await find_workflow(session, id)))


@router.get("/{id}/versions/", responses=keyed(404, 422))
async def get_versions(
    id: UUID,
    request: Request,
    caller: Reader,
    services: ServicesOf,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[VersionOut]:
    """What a workflow has been, newest first; each execution names the version that it runs on."""
    position = decode_cursor(cursor, int)
    async with services.database.transaction() as session:
        await caller.require(session, Workflow, id)
        await write.keep_version(session, id)
        page = await list_versions(session, id, position, page_size)
    return listing(request, page, (version_out(one) for (one,) in page.rows))


@router.put(
    "/{id}/",
    response_model_exclude_unset=True,
    responses={200: {"headers": ETAG}, **keyed(404, 409, 412, 413, 422)},
    openapi_extra=json_body(schema_of(WorkflowBody)),
)
async def replace_workflow(
    id: UUID, request: Request, response: Response, caller: Manager, services: ServicesOf, if_match: IfMatch = None
) -> WorkflowDetailOut:
    """Put a whole workflow in place of this one. Steps keep their history by their `identifier`, triggers by their
    `id`; a system workflow keeps its triggers when none are given.
    """
    stored = await _stored(services, caller, id, request)
    draft = await read_json(request, lambda raw: parse_workflow(whole(raw, stored), services.settings))
    return tagged(response, await _change(services, caller, id, draft, if_match, stored))


@router.patch(
    "/{id}/",
    response_model_exclude_unset=True,
    responses={200: {"headers": ETAG}, **keyed(404, 409, 412, 413, 422)},
    openapi_extra=json_body(schema_of(WorkflowPatch)),
)
async def change_workflow(
    id: UUID, request: Request, response: Response, caller: Manager, services: ServicesOf, if_match: IfMatch = None
) -> WorkflowDetailOut:
    """Change what is given; `steps` and `triggers` are given whole."""
    stored = await _stored(services, caller, id, request)
    draft = await read_json(request, lambda raw: parse_workflow_patch(whole(raw, stored), services.settings))
    return tagged(response, await _change(services, caller, id, draft, if_match, stored))


async def _stored(services: Services, caller: Caller, id: UUID, request: Request) -> Workflow | None:
    """The workflow as it is stored, if a request may mean values that answers do not show."""
    if REDACTED.encode() not in await request.body():
        return None
    async with services.database.reading() as session:
        await caller.require(session, Workflow, id)
        return await find_workflow(session, id)


async def _change(
    services: Services, caller: Caller, id: UUID, draft: WorkflowDraft, if_match: str | None, stored: Workflow | None
) -> WorkflowDetailOut:
    async with services.database.transaction() as session:
        before = await _locked(session, caller, id, if_match)
        if stored is not None:  # a value that somebody has replaced meanwhile must not come back
            require_match(etag(workflow_out(stored)), before)
        written = await write.change_workflow(session, id, draft)
        answer = workflow_out(written.workflow, written.secrets)
        await _note(session, caller, "update", before, answer)
    return answer


async def _locked(session: AsyncSession, caller: Caller, id: UUID, if_match: str | None) -> WorkflowDetailOut:
    """A workflow as it is, which nobody else changes until the transaction ends."""
    await caller.require(session, Workflow, id)
    shown = workflow_out(await lock_workflow(session, id))
    require_match(if_match, shown)
    return shown


async def _note(
    session: AsyncSession,
    caller: Caller,
    action: str,
    before: WorkflowDetailOut | None,
    after: WorkflowDetailOut | None,
) -> None:
    workflow = after or before
    assert workflow is not None
    was, now = (None if one is None else one.model_dump(mode="json", exclude_unset=True) for one in (before, after))
    await note(session, caller, action, "workflow", workflow.id, workflow.project_id, was, now)


@router.delete("/{id}/", status_code=204, responses=keyed(404, 409, 412, 422))
async def delete_workflow(id: UUID, caller: Manager, services: ServicesOf, if_match: IfMatch = None) -> None:
    """Delete a workflow. One that has executions is archived: it runs no more, and its history stays readable."""
    async with services.database.transaction() as session:
        before = await _locked(session, caller, id, if_match)
        await write.delete_workflow(session, id, services.settings)
        await _note(session, caller, "delete", before, None)


@router.post(
    "/{id}/execute/",
    status_code=202,
    responses=keyed(404, 409, 413, 422),
    openapi_extra=json_body(EXECUTE_SCHEMA, required=False),
)
async def execute_workflow(
    id: UUID, request: Request, caller: Executor, services: ServicesOf, once: OnceOf
) -> StartedOut:
    """Run a workflow now. The publish workflow's input is
    `{"action": "promote" | "rollback", "version", "environment"}`.
    """
    given = await read_json(request, parse_execute) if await request.body() else {}

    async def execute() -> StartedOut:
        started = await control.execute(session, id, services.settings, input=given)
        project_id = await session.scalar(select(Workflow.project_id).where(Workflow.id == id))
        await note(session, caller, "execute", "workflow", id, project_id, None, {"execution_id": str(started.id)})
        return StartedOut.model_validate(started)

    async with services.database.transaction() as session:
        await caller.require(session, Workflow, id)
        return await once(session, caller, StartedOut, execute)


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
