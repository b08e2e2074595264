"""The audit: who changed what, and who asked for what."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from automation.api.auth import Admin
from automation.api.bodies import Time
from automation.api.filters import TEXT, NameFilter, ProjectFilter
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.models.access_queries import list_audit

router = APIRouter(prefix="/audit", tags=["audit"])

_IdFilter = Annotated[str | None, Query(min_length=1, max_length=200, pattern=TEXT)]
_Since = Annotated[Time | None, Query(description="With its zone; `+` is `%2B` in an address.")]


class AuditOut(BaseModel):
    """A change, or a wish such as a retry. Secrets in `before` and `after` are `[redacted]`."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    at: datetime
    actor: str = Field(description="The name of the key; `api` is the one in AUTOMATION_API_KEY.")
    key_id: UUID | None
    action: str
    object_type: str
    object_id: str
    project_id: str | None
    before: dict[str, Any] | None = Field(description="What was there; of an execution, how it stood.")
    after: dict[str, Any] | None
    request_id: str


@router.get("/", responses=keyed(422))
async def get_audit(
    request: Request,
    caller: Admin,
    services: ServicesOf,
    object_type: NameFilter = None,
    object_id: _IdFilter = None,
    project_id: ProjectFilter = None,
    actor: NameFilter = None,
    action: NameFilter = None,
    since: _Since = None,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[AuditOut]:
    """What was changed and asked for, newest first."""
    position = decode_cursor(cursor, int)
    async with services.database.reading() as session:
        page = await list_audit(
            session,
            object_type=object_type,
            object_id=object_id,
            project_id=caller.among(project_id),
            actor=actor,
            action=action,
            since=since,
            position=position,
            size=page_size,
        )
    return listing(request, page, (AuditOut.model_validate(one) for (one,) in page.rows))
