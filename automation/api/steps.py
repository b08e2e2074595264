"""Steps of workflows, one by one, and running one of them alone."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from automation import control
from automation.api.answers import StepDetailOut
from automation.api.auth import Caller, Executor, Manager, Reader
from automation.api.bodies import read_json, schema_of
from automation.api.etags import ETAG, IfMatch, require_match, tagged
from automation.api.events import StartedOut, json_body
from automation.api.idempotency import OnceOf
from automation.api.pagination import Listing
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.api.workflows import EXECUTE_SCHEMA, parse_execute
from automation.audit import note
from automation.authoring import steps
from automation.authoring.shapes import StepBody, StepPatch
from automation.errors import NotFoundError
from automation.models import Json, Workflow, WorkflowStep
from automation.models.workflow_queries import find_workflow

router = APIRouter(tags=["steps"])

_TAGGED: dict[int | str, dict[str, Any]] = {200: {"headers": ETAG}}


@router.get("/workflows/{id}/steps/", responses=keyed(404, 422))
async def get_steps(id: UUID, caller: Reader, services: ServicesOf) -> Listing[StepDetailOut]:
    """The steps of a workflow, of which there are at most 100, in their order."""
    async with services.database.reading() as session:
        await caller.require(session, Workflow, id)
        workflow = await find_workflow(session, id)
    return Listing(results=[StepDetailOut.model_validate(one) for one in workflow.steps], next=None, previous=None)


@router.post(
    "/workflows/{id}/steps/",
    status_code=201,
    responses={201: {"headers": ETAG}, **keyed(404, 409, 413, 422)},
    openapi_extra=json_body(schema_of(StepBody)),
)
async def add_step(
    id: UUID, request: Request, response: Response, caller: Manager, services: ServicesOf
) -> StepDetailOut:
    """Add a step to a workflow: as the last one, if it has no `order`."""
    body = await read_json(request, steps.parse_step)
    async with services.database.transaction() as session:
        await caller.require(session, Workflow, id)
        step = await steps.add_step(session, id, body, services.settings)
        added = StepDetailOut.model_validate(step)
        await _note(session, caller, "create", added, None, _plain(added))
    return tagged(response, added, step.config)


@router.get("/steps/{id}/", responses=_TAGGED | keyed(404, 422))
async def get_step(id: UUID, response: Response, caller: Reader, services: ServicesOf) -> StepDetailOut:
    """One step."""
    async with services.database.reading() as session:
        await _require(session, caller, id)
        step = await session.get(WorkflowStep, id)
    if step is None:
        raise NotFoundError(_missing(id))
    return tagged(response, StepDetailOut.model_validate(step), step.config)


@router.put(
    "/steps/{id}/",
    responses=_TAGGED | keyed(404, 409, 412, 413, 422),
    openapi_extra=json_body(schema_of(StepBody)),
)
async def replace_step(
    id: UUID, request: Request, response: Response, caller: Manager, services: ServicesOf, if_match: IfMatch = None
) -> StepDetailOut:
    """Put a whole step in place of this one. Without `identifier` and `order` it keeps those that it has."""
    body = await read_json(request, steps.parse_step)
    async with services.database.transaction() as session:
        before = await _lock(session, caller, id, if_match)
        step = await steps.replace_step(session, id, body, services.settings)
        after = StepDetailOut.model_validate(step)
        await _note(session, caller, "update", after, before, _plain(after))
    return tagged(response, after, step.config)


@router.patch(
    "/steps/{id}/",
    responses=_TAGGED | keyed(404, 409, 412, 413, 422),
    openapi_extra=json_body(schema_of(StepPatch)),
)
async def change_step(
    id: UUID, request: Request, response: Response, caller: Manager, services: ServicesOf, if_match: IfMatch = None
) -> StepDetailOut:
    """Change what is given; `config`, `conditions` and `depends_on` are given whole."""
    changes = await read_json(request, steps.parse_step_patch)
    async with services.database.transaction() as session:
        before = await _lock(session, caller, id, if_match)
        step = await steps.change_step(session, id, changes, services.settings)
        after = StepDetailOut.model_validate(step)
        await _note(session, caller, "update", after, before, _plain(after))
    return tagged(response, after, step.config)


@router.delete("/steps/{id}/", status_code=204, responses=keyed(404, 409, 412, 422))
async def delete_step(id: UUID, caller: Manager, services: ServicesOf, if_match: IfMatch = None) -> None:
    """Delete a step that no other depends on. What it did stays in the record of the executions."""
    async with services.database.transaction() as session:
        before = await _lock(session, caller, id, if_match)
        shown = StepDetailOut.model_validate(before)
        await steps.delete_step(session, id, services.settings)
        await _note(session, caller, "delete", shown, before, None)


@router.post(
    "/steps/{id}/execute/",
    status_code=202,
    responses=keyed(404, 409, 413, 422),
    openapi_extra=json_body(EXECUTE_SCHEMA, required=False),
)
async def execute_step(id: UUID, request: Request, caller: Executor, services: ServicesOf, once: OnceOf) -> StartedOut:
    """Run one step alone, with the given input, in an execution of its workflow that names it as `only_step`.

    The steps before it are not run, and templates that name their results fail. The keys of the input stand in the
    trigger's data: a step that reads the page of an event finds that in `{"input": {"page": {…}}}`.
    """
    given = await read_json(request, parse_execute) if await request.body() else {}

    async def execute() -> StartedOut:
        started = await control.execute_step(session, id, services.settings, input=given)
        after = {"execution_id": str(started.id)}
        await note(session, caller, "execute", "step", id, await _project(session, id), None, after)
        return StartedOut.model_validate(started)

    async with services.database.transaction() as session:
        await _require(session, caller, id)
        return await once(session, caller, StartedOut, execute)


async def _lock(session: AsyncSession, caller: Caller, id: UUID, if_match: str | None) -> Json:
    """The step as it is now, its workflow locked."""
    await _require(session, caller, id)
    step = steps.find(await steps.lock_owner(session, id), id)
    shown = StepDetailOut.model_validate(step)
    require_match(if_match, shown, step.config)
    return _plain(shown)


async def _require(session: AsyncSession, caller: Caller, id: UUID) -> None:
    if caller.only is not None:
        caller.require_project(await _project(session, id), _missing(id))


async def _project(session: AsyncSession, step_id: UUID) -> str | None:
    query = select(Workflow.project_id).join(WorkflowStep, WorkflowStep.workflow_id == Workflow.id)
    found: str | None = await session.scalar(query.where(WorkflowStep.id == step_id))
    return found


async def _note(
    session: AsyncSession, caller: Caller, action: str, step: StepDetailOut, before: Json | None, after: Json | None
) -> None:
    project_id = await session.scalar(select(Workflow.project_id).where(Workflow.id == step.workflow_id))
    await note(session, caller, action, "step", step.id, project_id, before, after)


def _plain(step: StepDetailOut) -> Json:
    return step.model_dump(mode="json")


def _missing(id: UUID) -> str:
    return f"Step {id} does not exist."
