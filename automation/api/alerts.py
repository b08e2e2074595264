"""Alerts: what operators should know, who looks after it, and what nobody wants to hear of for a while."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from automation.alerting import silences
from automation.alerting.links import links_of
from automation.alerting.rules import in_force
from automation.api.auth import Executor, Reader
from automation.api.bodies import Given, Time, parse_given, read_json, schema_of
from automation.api.events import json_body
from automation.api.filters import TEXT, NameFilter, ProjectFilter
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.models import Alert, AlertState, Silence, utc_now
from automation.models.alert_queries import find_alert, list_alerts, list_silences
from automation.redaction import RedactedJson, RedactedText
from automation.settings import Settings, get_settings

router = APIRouter(tags=["alerts"])

Severity = Literal["INFO", "WARNING", "CRITICAL"]
By = Annotated[str, Field(min_length=1, max_length=150, pattern=TEXT)]
Comment = Annotated[str, Field(max_length=2000, pattern=r"^[^\x00]*$")]


class AlertLinks(BaseModel):
    """Where to read on: pages of this installation, Prefect's UI, the runbook."""

    model_config = ConfigDict(from_attributes=True)

    alert: str
    execution: str | None
    prefect_run: str | None
    runbook: str = Field(description="An address, or a file of the documentation, with the rule's section.")


class AlertOut(BaseModel):
    """Something that an operator should know. It is open until it is over, or somebody has acknowledged it."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    rule: str = Field(description="Which kind of incident it is.")
    fingerprint: str = Field(description="What of all that the rule watches: a cause, a type of workflow, a machine.")
    state: AlertState
    severity: str
    message: RedactedText = Field(description="What was seen, as it was last.")
    threshold: str = Field(description="From when on it is wrong.")
    todo: str = Field(description="What to do; the runbook says more.")
    count: int = Field(description="How many there are of what was seen: failures, slots, …")
    project_id: str | None
    workflow_id: UUID | None
    execution_id: UUID | None = Field(description="The latest example; it may be gone since.")
    links: AlertLinks
    details: RedactedJson
    created_at: datetime = Field(description="When it was seen first.")
    fired_at: datetime | None
    last_seen_at: datetime
    resolved_at: datetime | None = Field(description="When it was over.")
    notified_at: datetime | None = Field(description="When people were told last.")
    over_notified_at: datetime | None = Field(description="When they were told that it is over.")
    acknowledged_at: datetime | None
    acknowledged_by: str
    comment: str


class AcknowledgeBody(Given):
    """`by`: who says so, as the holder of the key knows."""

    by: By | None = None
    comment: Comment = ""


class SilenceBody(Given):
    """How long, in `seconds` or `until` a time, at most 90 days."""

    seconds: Annotated[float, Field(gt=0, le=90 * 86_400, allow_inf_nan=False)] | None = None
    until: Time | None = None
    by: By | None = None
    comment: Comment = ""

    @model_validator(mode="after")
    def _one_of_them(self) -> "SilenceBody":
        if (self.seconds is None) == (self.until is None):
            raise ValueError("expected either seconds or until")
        return self

    @property
    def ends(self) -> datetime:
        return self.until or utc_now() + timedelta(seconds=self.seconds or 0)


class CreateSilenceBody(SilenceBody):
    """What is silenced: a rule, a project, or what a rule sees of a project; neither: everything."""

    rule: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$")] | None = None
    project_id: Annotated[str, Field(min_length=1, max_length=128, pattern=TEXT)] | None = None


class SilenceOut(BaseModel):
    """Until when nobody is told of what it names; null does not narrow."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    rule: str | None
    fingerprint: str | None
    project_id: str | None
    until: datetime
    comment: str
    created_at: datetime
    created_by: str


class RuleOut(BaseModel):
    """A rule in force; what else it has depends on its type."""

    model_config = ConfigDict(extra="allow", from_attributes=True)

    name: str
    type: str
    severity: str
    title: str
    todo: str
    enabled: bool


class RulesOut(BaseModel):
    """All of them, in the order in which they are looked at."""

    results: list[RuleOut]


@router.get("/alerts/", responses=keyed(422))
async def get_alerts(
    request: Request,
    caller: Reader,
    services: ServicesOf,
    rule: NameFilter = None,
    severity: Severity | None = None,
    state: AlertState | None = None,
    project_id: ProjectFilter = None,
    open: Annotated[bool | None, Query(description="Neither over nor acknowledged, or the others.")] = None,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[AlertOut]:
    """Alerts, newest first."""
    position = decode_cursor(cursor, UUID)
    async with services.database.reading() as session:
        page = await list_alerts(
            session,
            rule=rule,
            severity=severity,
            state=state,
            project_id=caller.among(project_id),
            is_open=open,
            position=position,
            size=page_size,
        )
        shown = await show_alerts(session, [one for (one,) in page.rows], services.settings)
    return listing(request, page, shown)


@router.get("/alerts/{id}/", responses=keyed(404, 422))
async def get_alert(id: UUID, caller: Reader, services: ServicesOf) -> AlertOut:
    """One alert."""
    async with services.database.reading() as session:
        await caller.require(session, Alert, id)
        return await shown_alert(session, id, services.settings)


@router.post(
    "/alerts/{id}/acknowledge/",
    responses=keyed(404, 413, 422),
    openapi_extra=json_body(schema_of(AcknowledgeBody), required=False),
)
async def acknowledge_alert(id: UUID, request: Request, caller: Executor, services: ServicesOf) -> AlertOut:
    """Say that somebody looks after an alert; said again, the first one stays with a new comment."""
    parsed = await read_json(request, lambda raw: parse_given(AcknowledgeBody, raw)) if await request.body() else None
    given = parsed or AcknowledgeBody()
    async with services.database.transaction() as session:
        await caller.require(session, Alert, id)
        await silences.acknowledge(session, caller, id, by=given.by, comment=given.comment)
        return await shown_alert(session, id, services.settings)


@router.post(
    "/alerts/{id}/silence/",
    status_code=201,
    responses=keyed(404, 413, 422),
    openapi_extra=json_body(schema_of(SilenceBody)),
)
async def silence_alert(id: UUID, request: Request, caller: Executor, services: ServicesOf) -> SilenceOut:
    """Tell nobody of this alert, or of the next one of its rule about the same thing, for a while."""
    given = await read_json(request, lambda raw: parse_given(SilenceBody, raw))
    async with services.database.transaction() as session:
        await caller.require(session, Alert, id)
        made = await silences.silence(
            session, caller, id, given.ends, only=caller.only, by=given.by, comment=given.comment
        )
        return SilenceOut.model_validate(made)


@router.get("/alert-rules/", responses=keyed())
async def get_alert_rules(caller: Reader, services: ServicesOf) -> RulesOut:
    """The rules in force: what is watched, and from when on it is wrong."""
    rules = in_force(services.settings.alerts_file).rules
    return RulesOut(
        results=[RuleOut.model_validate({"name": name, **rule.model_dump(mode="json")}) for name, rule in rules.items()]
    )


@router.get("/silences/", responses=keyed(422))
async def get_silences(
    request: Request,
    caller: Reader,
    services: ServicesOf,
    project_id: ProjectFilter = None,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[SilenceOut]:
    """Silences that are not over, newest first."""
    position = decode_cursor(cursor, UUID)
    async with services.database.reading() as session:
        page = await list_silences(session, project_id=caller.among(project_id), position=position, size=page_size)
    return listing(request, page, (SilenceOut.model_validate(one) for (one,) in page.rows))


@router.post(
    "/silences/", status_code=201, responses=keyed(404, 413, 422), openapi_extra=json_body(schema_of(CreateSilenceBody))
)
async def create_silence(request: Request, caller: Executor, services: ServicesOf) -> SilenceOut:
    """Tell nobody of what a rule sees, or of what concerns a project, for a while; alerts are noted all the same."""
    given = await read_json(request, lambda raw: parse_given(CreateSilenceBody, raw))
    caller.place(given.project_id)
    async with services.database.transaction() as session:
        made = await silences.silence_all(
            session,
            caller,
            given.ends,
            rule=given.rule,
            project_id=given.project_id,
            by=given.by,
            comment=given.comment,
        )
        return SilenceOut.model_validate(made)


@router.delete("/silences/{id}/", status_code=204, responses=keyed(404, 422))
async def delete_silence(id: UUID, caller: Executor, services: ServicesOf) -> None:
    """End a silence now."""
    async with services.database.transaction() as session:
        await caller.require(session, Silence, id)
        await silences.unsilence(session, caller, id)


async def show_alerts(session: AsyncSession, alerts: Sequence[Alert], settings: Settings) -> list[AlertOut]:
    """Alerts as answers show them, with their links."""
    rules = in_force(settings.alerts_file)
    links = await links_of(session, alerts, rules, settings)
    return [_shown(one, links[one.id], getattr(rules.rules.get(one.rule), "todo", "")) for one in alerts]


async def shown_alert(session: AsyncSession, alert_id: UUID, settings: Settings | None = None) -> AlertOut:
    """One alert, as webhooks show it too; raises NotFoundError when there is none."""
    (shown,) = await show_alerts(session, [await find_alert(session, alert_id)], settings or get_settings())
    return shown


def _shown(alert: Alert, links: Any, todo: str) -> AlertOut:
    own: dict[str, Any] = {name: getattr(alert, name) for name in AlertOut.model_fields if hasattr(alert, name)}
    threshold = str(alert.details.get("threshold", ""))
    return AlertOut.model_validate({**own, "links": links, "threshold": threshold, "todo": todo})
