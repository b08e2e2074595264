"""Events: what Studio, or anybody else with the key, tells us."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Depends
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from automation.api.auth import require_key
from automation.api.bodies import read_json
from automation.api.problems import documented
from automation.api.services import Services, ServicesOf
from automation.intake import Accepted, IncomingEvent, accept, announce, parse_events
from automation.intake.events import EVENTS_PER_REQUEST

router = APIRouter(prefix="/events", tags=["events"], dependencies=[Depends(require_key)])

EVENT_SCHEMA = IncomingEvent.model_json_schema()
_LIST_SCHEMA = {"type": "array", "maxItems": EVENTS_PER_REQUEST, "items": EVENT_SCHEMA}


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


def json_body(schema: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    """For a route's declaration: a body that the route parses itself."""
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


@router.post(
    "/",
    status_code=202,
    responses=documented(401, 413, 422, 503),
    openapi_extra=json_body({"anyOf": [EVENT_SCHEMA, _LIST_SCHEMA]}),
)
async def send_events(request: Request, services: ServicesOf, background: BackgroundTasks) -> EventsOut:
    """Take in one event, or a list of up to 500: all of them or, if one is wrong, none."""
    events = await read_json(request, parse_events)
    return await take_in(services, background, events, source="api")


async def take_in(
    services: Services, background: BackgroundTasks, events: Sequence[IncomingEvent], *, source: str
) -> EventsOut:
    """Accept events, and tell Prefect once the answer is on its way."""
    answers = await accept(services.database, events, source=source, settings=services.settings)
    background.add_task(announce, services.prefect, answers)
    return EventsOut(events=[_out(one) for one in answers])


def _out(answer: Accepted) -> AcceptedOut:
    executions = [StartedOut.model_validate(one) for one in answer.executions]
    return AcceptedOut(id=answer.event.id, duplicate=answer.duplicate, executions=executions)
