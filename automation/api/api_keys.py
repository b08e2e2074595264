"""API keys: giving them, seeing who has which, and taking them back."""

import secrets
from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID, uuid4

from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.requests import Request

from automation.api.auth import PREFIX, START_UP, Admin, hashed
from automation.api.bodies import Given, Time, parse_given, read_json, schema_of
from automation.api.events import json_body
from automation.api.filters import TEXT, ProjectFilter
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.audit import note
from automation.errors import ConflictError
from automation.models import ApiKey, utc_now
from automation.models.access_queries import add_key, list_keys, lock_key

router = APIRouter(prefix="/api-keys", tags=["api keys"])

ScopeName = Literal["events:write", "read", "execute", "manage", "admin"]

_SHOWN = 10
"""Characters of a key by which people recognise it: `ak_` and 7 of its 43."""


def _not_ours(name: str) -> str:
    if name == START_UP:
        raise ValueError(f"{START_UP!r} is the name of the key in AUTOMATION_API_KEY; take another")
    return name


def _ahead(at: datetime | None) -> datetime | None:
    if at is not None and not utc_now() < at < utc_now() + timedelta(days=36_525):
        raise ValueError("expected a time ahead, within a hundred years")
    return at


class ApiKeyBody(Given):
    """A key for somebody, or something, by whose name the record shows what was asked with it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "studio", "scopes": ["events:write"], "project_id": "project-456"}]},
    )

    name: Annotated[str, Field(min_length=1, max_length=48, pattern=TEXT), AfterValidator(_not_ours)]
    scopes: list[ScopeName] = Field(min_length=1, max_length=5, description="What each implies: SECURITY.md.")
    project_id: Annotated[str, Field(min_length=1, max_length=128, pattern=TEXT)] | None = Field(
        None, description="The only project that it sees; null: all, and the platform's workflows."
    )
    expires_at: Annotated[Time | None, AfterValidator(_ahead)] = None


class ApiKeyOut(BaseModel):
    """A key without the key."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    prefix: str = Field(description="How the key begins.")
    scopes: list[str]
    project_id: str | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="Up to a minute late.")


class NewApiKeyOut(ApiKeyOut):
    """A key that was just made; it is shown in this answer only."""

    key: str


@router.get("/", responses=keyed(422))
async def get_api_keys(
    request: Request,
    caller: Admin,
    services: ServicesOf,
    project_id: ProjectFilter = None,
    revoked: bool = False,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[ApiKeyOut]:
    """Keys, newest first: those that are in force or have expired, or those that were revoked."""
    position = decode_cursor(cursor, UUID)
    async with services.database.reading() as session:
        page = await list_keys(
            session, project_id=caller.among(project_id), revoked=revoked, position=position, size=page_size
        )
    return listing(request, page, (ApiKeyOut.model_validate(one) for (one,) in page.rows))


@router.post("/", status_code=201, responses=keyed(404, 409, 413, 422), openapi_extra=json_body(schema_of(ApiKeyBody)))
async def create_api_key(request: Request, caller: Admin, services: ServicesOf) -> NewApiKeyOut:
    """Make a key. It is shown in this answer only; whoever loses it gets another."""
    body = await read_json(request, lambda raw: parse_given(ApiKeyBody, raw))
    caller.place(body.project_id)
    made = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(
        id=uuid4(),
        key_hash=hashed(made),
        prefix=made[:_SHOWN],
        scopes=sorted(set(body.scopes)),
        created_by=caller.name,
        created_at=utc_now(),
        **body.model_dump(include={"name", "project_id", "expires_at"}),
    )
    async with services.database.transaction() as session:
        await add_key(session, key)
        shown = ApiKeyOut.model_validate(key)
        await note(session, caller, "create", "api-key", key.id, key.project_id, None, shown.model_dump(mode="json"))
    return NewApiKeyOut(**shown.model_dump(), key=made)


@router.delete("/{id}/", status_code=204, responses=keyed(404, 409, 422))
async def revoke_api_key(id: UUID, caller: Admin, services: ServicesOf) -> None:
    """Revoke a key: from now on nobody gets in with it. Its row stays, so that the record can name it."""
    async with services.database.transaction() as session:
        await caller.require(session, ApiKey, id, f"API key {id} does not exist.")
        key = await lock_key(session, id)
        if key.revoked_at is not None:
            raise ConflictError(f"API key {id} ({key.name}) was revoked before.")
        before = ApiKeyOut.model_validate(key).model_dump(mode="json")
        key.revoked_at = utc_now()
        after = ApiKeyOut.model_validate(key).model_dump(mode="json")
        await note(session, caller, "revoke", "api-key", id, key.project_id, before, after)
