"""Alerts: what operators should know, and who looks after it."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from automation.api.auth import Executor, Reader
from automation.api.bodies import Given, parse_given, read_json, schema_of
from automation.api.events import json_body
from automation.api.filters import TEXT, NameFilter, ProjectFilter
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.audit import note
from automation.models import Alert, utc_now
from automation.models.alert_queries import list_alerts, lock_alert

router = APIRouter(prefix="/alerts", tags=["alerts"])

Severity = Literal["INFO", "WARNING", "CRITICAL"]


class AlertOut(BaseModel):
    """Something that an operator should know. It is open until it is over, or somebody has acknowledged it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    rule: str = Field(description="Which kind of incident it is.")
    severity: str
    message: str
    project_id: str | None
    execution_id: UUID | None
    details: dict[str, Any]
    created_at: datetime
    resolved_at: datetime | None = Field(description="When it was over.")
    notified_at: datetime | None = Field(description="When the administrators were told.")
    acknowledged_at: datetime | None
    acknowledged_by: str
    comment: str


class AcknowledgeBody(Given):
    """`by`: who says so, as the holder of the key knows."""

    by: Annotated[str, Field(min_length=1, max_length=150, pattern=TEXT)] | None = None
    comment: Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")] = ""


@router.get("/", responses=keyed(422))
async def get_alerts(
    request: Request,
    caller: Reader,
    services: ServicesOf,
    rule: NameFilter = None,
    severity: Severity | None = None,
    project_id: ProjectFilter = None,
    open: Annotated[bool | None, Query(description="Neither over nor acknowledged, or the others.")] = None,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[AlertOut]:
    """Alerts, newest first."""
    position = decode_cursor(cursor, UUID)
    async with services.database.transaction() as session:
        page = await list_alerts(
            session,
            rule=rule,
            severity=severity,
            project_id=caller.among(project_id),
            is_open=open,
            position=position,
            size=page_size,
        )
    return listing(request, page, (AlertOut.model_validate(one) for (one,) in page.rows))


@router.post(
    "/{id}/acknowledge/",
    responses=keyed(404, 413, 422),
    openapi_extra=json_body(schema_of(AcknowledgeBody), required=False),
)
async def acknowledge_alert(id: UUID, request: Request, caller: Executor, services: ServicesOf) -> AlertOut:
    """Say that somebody looks after an alert; said again, the first one stays with a new comment."""
    parsed = await read_json(request, lambda raw: parse_given(AcknowledgeBody, raw)) if await request.body() else None
    given = parsed or AcknowledgeBody()
    async with services.database.transaction() as session:
        await caller.require(session, Alert, id)
        alert = await lock_alert(session, id)
        before = {"acknowledged_by": alert.acknowledged_by, "comment": alert.comment}
        if alert.acknowledged_at is None:
            alert.acknowledged_at = utc_now()
            alert.acknowledged_by = caller.name if given.by is None else f"{caller.name}: {given.by}"
        alert.comment = given.comment or alert.comment
        after = {"acknowledged_by": alert.acknowledged_by, "comment": alert.comment}
        await note(session, caller, "acknowledge", "alert", id, alert.project_id, before, after)
        return AlertOut.model_validate(alert)
