"""Triggers: when workflows run."""

from uuid import UUID

from fastapi import APIRouter, Depends
from starlette.requests import Request

from automation.api.answers import TriggerOut, trigger_out
from automation.api.auth import require_key
from automation.api.bodies import read_json, schema_of
from automation.api.events import json_body
from automation.api.filters import NameFilter, ProjectFilter
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import documented
from automation.api.services import ServicesOf
from automation.authoring import write
from automation.authoring.drafts import parse_new_trigger, parse_trigger, parse_trigger_patch
from automation.authoring.shapes import NewTriggerBody, TriggerBody, TriggerPatch
from automation.authoring.write import WrittenTrigger
from automation.models.trigger_queries import find_trigger, list_triggers

router = APIRouter(prefix="/triggers", tags=["triggers"], dependencies=[Depends(require_key)])


@router.get("/", response_model_exclude_unset=True, responses=documented(401, 422, 503))
async def get_triggers(
    request: Request,
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
    async with services.database.transaction() as session:
        page = await list_triggers(
            session,
            project_id=project_id,
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
    responses=documented(401, 404, 409, 413, 422, 503),
    openapi_extra=json_body(schema_of(NewTriggerBody)),
)
async def create_trigger(request: Request, services: ServicesOf) -> TriggerOut:
    """Add a trigger to a workflow. The `secret` of a WEBHOOK is shown in this answer only."""
    body = await read_json(request, lambda raw: parse_new_trigger(raw, services.settings))
    async with services.database.transaction() as session:
        return _out(await write.add_trigger(session, body))


@router.get("/{id}/", response_model_exclude_unset=True, responses=documented(401, 404, 422, 503))
async def get_trigger(id: UUID, services: ServicesOf) -> TriggerOut:
    """One trigger."""
    async with services.database.transaction() as session:
        return trigger_out(*await find_trigger(session, id))


@router.put(
    "/{id}/",
    response_model_exclude_unset=True,
    responses=documented(401, 404, 409, 413, 422, 503),
    openapi_extra=json_body(schema_of(TriggerBody)),
)
async def replace_trigger(id: UUID, request: Request, services: ServicesOf) -> TriggerOut:
    """Put a whole trigger in place of this one. What waits for its time is called off if the type is another, or
    the trigger is switched off.
    """
    body = await read_json(request, lambda raw: parse_trigger(raw, services.settings))
    async with services.database.transaction() as session:
        return _out(await write.replace_trigger(session, id, body))


@router.patch(
    "/{id}/",
    response_model_exclude_unset=True,
    responses=documented(401, 404, 409, 413, 422, 503),
    openapi_extra=json_body(schema_of(TriggerPatch)),
)
async def change_trigger(id: UUID, request: Request, services: ServicesOf) -> TriggerOut:
    """Change what is given; `config` and `conditions` are given whole."""
    changes = await read_json(request, parse_trigger_patch)
    async with services.database.transaction() as session:
        return _out(await write.change_trigger(session, id, changes, services.settings))


@router.delete("/{id}/", status_code=204, responses=documented(401, 404, 409, 422, 503))
async def delete_trigger(id: UUID, services: ServicesOf) -> None:
    """Delete a trigger, and with it what waits for its time."""
    async with services.database.transaction() as session:
        await write.delete_trigger(session, id)


def _out(written: WrittenTrigger) -> TriggerOut:
    return trigger_out(written.trigger, written.workflow_is_active, written.secret)
