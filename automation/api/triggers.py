"""Triggers: when workflows run."""

from uuid import UUID

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from automation.api.answers import TriggerOut, trigger_out
from automation.api.auth import Caller, Manager, Reader
from automation.api.bodies import read_json, schema_of
from automation.api.etags import ETAG, IfMatch, require_match, tagged
from automation.api.events import json_body
from automation.api.filters import NameFilter, ProjectFilter
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.audit import note
from automation.authoring import write
from automation.authoring.drafts import parse_new_trigger, parse_trigger, parse_trigger_patch
from automation.authoring.shapes import NewTriggerBody, TriggerBody, TriggerPatch
from automation.authoring.write import WrittenTrigger
from automation.models import Trigger, Workflow
from automation.models.trigger_queries import find_trigger, list_triggers

router = APIRouter(prefix="/triggers", tags=["triggers"])


@router.get("/", response_model_exclude_unset=True, responses=keyed(422))
async def get_triggers(
    request: Request,
    caller: Reader,
    services: ServicesOf,
    project_id: ProjectFilter = None,
    workflow_id: UUID | None = None,
    trigger_type: NameFilter = None,
    is_active: bool | None = None,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[TriggerOut]:
    """Triggers, newest first; not those of workflows that are archived."""
    position = decode_cursor(cursor, UUID)
    async with services.database.reading() as session:
        page = await list_triggers(
            session,
            project_id=caller.among(project_id),
            workflow_id=workflow_id,
            trigger_type=trigger_type,
            is_active=is_active,
            position=position,
            size=page_size,
        )
    return listing(request, page, (trigger_out(*row) for row in page.rows))


@router.post(
    "/",
    status_code=201,
    response_model_exclude_unset=True,
    responses={201: {"headers": ETAG}, **keyed(404, 409, 413, 422)},
    openapi_extra=json_body(schema_of(NewTriggerBody)),
)
async def create_trigger(request: Request, response: Response, caller: Manager, services: ServicesOf) -> TriggerOut:
    """Add a trigger to a workflow. The `secret` of a WEBHOOK is shown in this answer only."""
    body = await read_json(request, lambda raw: parse_new_trigger(raw, services.settings))
    async with services.database.transaction() as session:
        await caller.require(session, Workflow, body.workflow_id)
        added = _out(await write.add_trigger(session, body))
        await _note(session, caller, "create", None, added)
    return tagged(response, added)


@router.get("/{id}/", response_model_exclude_unset=True, responses={200: {"headers": ETAG}, **keyed(404, 422)})
async def get_trigger(id: UUID, response: Response, caller: Reader, services: ServicesOf) -> TriggerOut:
    """One trigger."""
    async with services.database.reading() as session:
        await caller.require(session, Trigger, id)
        return tagged(response, trigger_out(*await find_trigger(session, id)))


@router.put(
    "/{id}/",
    response_model_exclude_unset=True,
    responses={200: {"headers": ETAG}, **keyed(404, 409, 412, 413, 422)},
    openapi_extra=json_body(schema_of(TriggerBody)),
)
async def replace_trigger(
    id: UUID, request: Request, response: Response, caller: Manager, services: ServicesOf, if_match: IfMatch = None
) -> TriggerOut:
    """Put a whole trigger in place of this one. What waits for its time is called off if the type is another, or
    the trigger is switched off.
    """
    body = await read_json(request, lambda raw: parse_trigger(raw, services.settings))
    async with services.database.transaction() as session:
        before = await _locked(session, caller, id, if_match)
        after = _out(await write.replace_trigger(session, id, body))
        await _note(session, caller, "update", before, after)
    return tagged(response, after)


@router.patch(
    "/{id}/",
    response_model_exclude_unset=True,
    responses={200: {"headers": ETAG}, **keyed(404, 409, 412, 413, 422)},
    openapi_extra=json_body(schema_of(TriggerPatch)),
)
async def change_trigger(
    id: UUID, request: Request, response: Response, caller: Manager, services: ServicesOf, if_match: IfMatch = None
) -> TriggerOut:
    """Change what is given; `config` and `conditions` are given whole."""
    changes = await read_json(request, parse_trigger_patch)
    async with services.database.transaction() as session:
        before = await _locked(session, caller, id, if_match)
        after = _out(await write.change_trigger(session, id, changes, services.settings))
        await _note(session, caller, "update", before, after)
    return tagged(response, after)


@router.delete("/{id}/", status_code=204, responses=keyed(404, 409, 412, 422))
async def delete_trigger(id: UUID, caller: Manager, services: ServicesOf, if_match: IfMatch = None) -> None:
    """Delete a trigger, and with it what waits for its time."""
    async with services.database.transaction() as session:
        before = await _locked(session, caller, id, if_match)
        await write.delete_trigger(session, id)
        await _note(session, caller, "delete", before, None)


async def _locked(session: AsyncSession, caller: Caller, id: UUID, if_match: str | None) -> TriggerOut:
    """A trigger as it is, which nobody else changes until the transaction ends: its workflow is locked."""
    await caller.require(session, Trigger, id)
    workflow = await write.lock_owner(session, id)
    trigger = next(one for one in workflow.triggers if one.id == id)
    shown = trigger_out(trigger, workflow.is_active)
    require_match(if_match, shown)
    return shown


async def _note(
    session: AsyncSession, caller: Caller, action: str, before: TriggerOut | None, after: TriggerOut | None
) -> None:
    trigger = after or before
    assert trigger is not None
    was, now = (None if one is None else one.model_dump(mode="json", exclude_unset=True) for one in (before, after))
    await note(session, caller, action, "trigger", trigger.id, trigger.project_id, was, now)


def _out(written: WrittenTrigger) -> TriggerOut:
    return trigger_out(written.trigger, written.workflow_is_active, written.secret)
