"""Events: what Studio, or anybody else with the key, tells us."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from automation.api.auth import Reader, Teller
from automation.api.bodies import read_json
from automation.api.filters import NameFilter, ProjectFilter
from automation.api.idempotency import OnceOf
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.intake import Accepted, IncomingEvent, accept_in, explain, parse_events
from automation.intake.events import EVENTS_PER_REQUEST
from automation.models.event_queries import find_event, list_events, missing_event
from automation.redaction import RedactedJson
from automation.requests import trace_id

router = APIRouter(prefix="/events", tags=["events"])

EVENT_SCHEMA = IncomingEvent.model_json_schema()
_LIST_SCHEMA = {"type": "array", "maxItems": EVENTS_PER_REQUEST, "items": EVENT_SCHEMA}


EventId = Annotated[str, Path(min_length=1, max_length=200)]


class StartedOut(BaseModel):
    """An execution in short."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    workflow_id: UUID
    status: str


class AcceptedOut(BaseModel):
    """What became of an event; of a duplicate, what became of it then."""

    id: str
    duplicate: bool
    executions: list[StartedOut]


class EventsOut(BaseModel):
    """One answer for each event, in their order."""

    events: list[AcceptedOut]


class EventOut(BaseModel):
    """An event of the inbox in short."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    type: str
    project_id: str
    occurred_at: datetime
    received_at: datetime
    source: str


class ToldOut(BaseModel):
    """What a trigger made of an event: whether it fired, and if not, the first reason why not."""

    model_config = ConfigDict(from_attributes=True)

    trigger_id: UUID
    workflow_id: UUID
    workflow_name: str
    trigger_type: str
    event_type: str
    fired: bool
    outcome: str
    reason: str
    execution_id: UUID | None
    due_at: datetime | None


class EventDetailOut(EventOut):
    """An event, and every trigger of its project with what it made of it; for who sees all projects, also those of
    the platform."""

    data: RedactedJson
    request_id: str = Field(description="The request that brought it.")
    trace_id: str = Field(description="The trace that it belongs to; empty without one.")
    execution_ids: list[UUID]
    triggers: list[ToldOut]


def json_body(schema: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    """For a route's declaration: a body that the route parses itself."""
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


@router.post(
    "/",
    status_code=202,
    responses=keyed(404, 413, 422),
    openapi_extra=json_body({"anyOf": [EVENT_SCHEMA, _LIST_SCHEMA]}),
)
async def send_events(
    request: Request, caller: Teller, services: ServicesOf, once: OnceOf, background: BackgroundTasks
) -> EventsOut:
    """Take in one event, or a list of up to 500: all of them or, if one is wrong, none."""
    events = await read_json(request, parse_events)
    for event in events:
        caller.place(event.project_id)

    async def take_in() -> EventsOut:
        accepted.extend(await accept_in(session, events, source="api", settings=services.settings))
        return events_out(accepted)

    accepted: list[Accepted] = []
    async with services.database.transaction() as session:
        answer = await once(session, caller, EventsOut, take_in)
    background.add_task(services.announcer.accepted, accepted)
    return answer


@router.get("/", responses=keyed(422))
async def get_events(
    request: Request,
    caller: Reader,
    services: ServicesOf,
    project_id: ProjectFilter = None,
    type: NameFilter = None,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[EventOut]:
    """Events of the inbox, newest first; they are kept for AUTOMATION_EVENT_RETENTION_DAYS."""
    position = decode_cursor(cursor, str)
    async with services.database.reading() as session:
        page = await list_events(
            session, project_id=caller.among(project_id), type=type, position=position, size=page_size
        )
    return listing(request, page, (EventOut.model_validate(one) for (one,) in page.rows))


@router.get("/{id:path}/", responses=keyed(404, 422))
async def get_event(id: EventId, caller: Reader, services: ServicesOf) -> EventDetailOut:
    """Why it did, or did not, fire: an event, and what every trigger of its project made of it."""
    async with services.database.reading() as session:
        event = await find_event(session, id)
        caller.require_project(event.project_id, missing_event(id))
        told = await explain.tell(session, event)
    shown = EventOut.model_validate(event).model_dump()
    triggers = [ToldOut.model_validate(one) for one in told if caller.only in (None, one.project_id)]
    later = (one.execution_id for one in told if one.execution_id)  # of what had to wait
    ids = list(dict.fromkeys((*event.execution_ids, *later)))
    origin = {"request_id": event.request_id, "trace_id": trace_id(event.traceparent)}
    return EventDetailOut(**shown, **origin, data=event.data, execution_ids=ids, triggers=triggers)


def events_out(answers: Sequence[Accepted]) -> EventsOut:
    """What became of events that were just taken in."""
    return EventsOut(
        events=[
            AcceptedOut(
                id=one.event.id,
                duplicate=one.duplicate,
                executions=[StartedOut.model_validate(execution) for execution in one.executions],
            )
            for one in answers
        ]
    )
