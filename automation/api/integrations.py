"""Integrations: the systems outside that steps may call. Their credentials can be written, and are never answered."""

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from automation import audit
from automation.api.auth import Caller, Manager, Reader
from automation.api.bodies import read_json, schema_of
from automation.api.etags import ETAG, IfMatch, require_match, tagged
from automation.api.events import json_body
from automation.api.filters import NameFilter, ProjectFilter
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import keyed
from automation.api.services import Services, ServicesOf
from automation.integrations import write
from automation.integrations.probe import probe
from automation.integrations.write import IntegrationBody, IntegrationPatch
from automation.models import Integration
from automation.models.integration_queries import (
    find_integration,
    list_integrations,
    lock_integration,
    remember_test,
)

router = APIRouter(prefix="/integrations", tags=["integrations"])

_EXAMPLE = {
    "name": "crm",
    "type": "http",
    "project_id": "project-456",
    "config": {"base_url": "https://crm.example.com/api/v2", "auth": "bearer", "probe_path": "status"},
    "credentials": {"token": "what the CRM gave you"},
}
_BODY = json_body(schema_of(IntegrationBody) | {"examples": [_EXAMPLE]})
_PATCH = json_body(schema_of(IntegrationPatch) | {"examples": [{"credentials": {"token": "the next one"}}]})


class TestOut(BaseModel):
    """What a test of an integration saw."""

    ok: bool
    saw: str = Field(description="In words, such as `GET status: 200`.")
    duration_ms: float


class IntegrationOut(BaseModel):
    """A system outside that steps may call. `config` is that of its type."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    type: str
    project_id: str | None = Field(description="Null: the platform's, which every project may call.")
    config: dict[str, Any]
    is_active: bool
    created_at: datetime
    updated_at: datetime
    last_tested_at: datetime | None
    last_test: dict[str, Any] = Field(description="What the last test answered; empty before the first.")


@router.get("/", responses=keyed(422))
async def get_integrations(
    request: Request,
    caller: Reader,
    services: ServicesOf,
    project_id: ProjectFilter = None,
    type: NameFilter = None,
    is_active: bool | None = None,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[IntegrationOut]:
    """Integrations, newest first."""
    position = decode_cursor(cursor, UUID)
    async with services.database.reading() as session:
        page = await list_integrations(
            session,
            project_id=caller.among(project_id),
            type=type,
            is_active=is_active,
            position=position,
            size=page_size,
        )
    return listing(request, page, (_out(one) for (one,) in page.rows))


@router.post("/", status_code=201, responses={201: {"headers": ETAG}, **keyed(404, 409, 413, 422)}, openapi_extra=_BODY)
async def create_integration(
    request: Request, response: Response, caller: Manager, services: ServicesOf
) -> IntegrationOut:
    """Create an integration. Its credentials go into an encrypted block of Prefect's."""
    body = await read_json(request, write.parse_integration)
    caller.place(body.project_id)
    async with services.database.transaction() as session:
        row = await write.create(session, services.prefect, body, services.settings)
        shown = _out(row)
        after = shown.model_dump(mode="json") | {"credentials": body.credentials is not None}
        await audit.note(session, caller, "create", "integration", row.id, row.project_id, None, after)
    return tagged(response, shown)


@router.get("/{id}/", responses={200: {"headers": ETAG}, **keyed(404, 422)})
async def get_integration(id: UUID, response: Response, caller: Reader, services: ServicesOf) -> IntegrationOut:
    """One integration."""
    async with services.database.reading() as session:
        await caller.require(session, Integration, id)
        return tagged(response, _out(await find_integration(session, id)))


@router.put("/{id}/", responses={200: {"headers": ETAG}, **keyed(404, 409, 412, 413, 422)}, openapi_extra=_BODY)
async def replace_integration(
    id: UUID, request: Request, response: Response, caller: Manager, services: ServicesOf, if_match: IfMatch = None
) -> IntegrationOut:
    """Put a whole integration in place of this one; of the same type and project. Credentials that are left out
    stay, unless they would be sent elsewhere then.
    """
    body = await read_json(request, write.parse_integration)
    return tagged(response, await _change(services, caller, id, body, if_match))


@router.patch("/{id}/", responses={200: {"headers": ETAG}, **keyed(404, 409, 412, 413, 422)}, openapi_extra=_PATCH)
async def change_integration(
    id: UUID, request: Request, response: Response, caller: Manager, services: ServicesOf, if_match: IfMatch = None
) -> IntegrationOut:
    """Change what is given; `config` and `credentials` are given whole."""
    body = await read_json(request, write.parse_integration_patch)
    return tagged(response, await _change(services, caller, id, body, if_match))


@router.delete("/{id}/", status_code=204, responses=keyed(404, 412, 422))
async def delete_integration(id: UUID, caller: Manager, services: ServicesOf, if_match: IfMatch = None) -> None:
    """Delete an integration and its credentials. A step that calls it fails from then on."""
    async with services.database.transaction() as session:
        await caller.require(session, Integration, id)
        row = await lock_integration(session, id)
        before = _out(row)
        require_match(if_match, before)
        await write.delete(session, services.prefect, row)
        shown = before.model_dump(mode="json")
        await audit.note(session, caller, "delete", "integration", id, row.project_id, shown, None)


@router.post("/{id}/test/", responses=keyed(404, 422))
async def test_integration(id: UUID, caller: Manager, services: ServicesOf) -> TestOut:
    """Do the harmless thing of its type, within 5 seconds: GET a probe path or HEAD, NOOP, `SELECT 1`.

    A webhook's receiver gets a signed `automation.ping`. An Apprise URL is only read: nobody is told anything.
    """
    async with services.database.transaction() as session:
        await caller.require(session, Integration, id)
        row = await find_integration(session, id)
    seen = await probe(services.settings, services.prefect, row)
    async with services.database.transaction() as session:
        await remember_test(session, id, seen)
        await audit.note(session, caller, "test", "integration", id, row.project_id, None, seen)
    return TestOut(**seen)


async def _change(
    services: Services, caller: Caller, id: UUID, body: IntegrationPatch, if_match: str | None
) -> IntegrationOut:
    async with services.database.transaction() as session:
        await caller.require(session, Integration, id)
        row = await lock_integration(session, id)
        before = _out(row)
        require_match(if_match, before)
        await write.change(session, services.prefect, row, body)
        shown = _out(row)
        after = shown.model_dump(mode="json") | {"credentials": body.credentials is not None}
        await audit.note(
            session, caller, "update", "integration", id, row.project_id, before.model_dump(mode="json"), after
        )
    return shown


def _out(row: Integration) -> IntegrationOut:
    return IntegrationOut.model_validate(row)
