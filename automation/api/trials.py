"""Trying triggers: what one would do with an event, and firing it on past events."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from automation.api.auth import Executor
from automation.api.bodies import Given, Time, parse_given, read_json
from automation.api.events import EVENT_SCHEMA, json_body
from automation.api.idempotency import OnceOf
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.audit import note
from automation.conditions import MISSING
from automation.intake import PastEvent, explain, parse_event
from automation.intake.matching import by_ids
from automation.models import Json, Trigger, WorkflowStep
from automation.models.event_queries import find_event, missing_event
from automation.models.trigger_queries import find_trigger
from automation.models.workflow_queries import steps_of
from automation.redaction import redact

router = APIRouter(prefix="/triggers", tags=["triggers"])


class TestIn(Given):
    """An event as the events endpoint takes it, or the id of one that came."""

    __test__ = False

    event: Json | None = Field(None, json_schema_extra=EVENT_SCHEMA)
    event_id: str | None = None

    @model_validator(mode="after")
    def _one(self) -> "TestIn":
        if (self.event is None) == (self.event_id is None):
            raise ValueError("give `event` or `event_id`")
        return self


class LeafOut(BaseModel):
    """A leaf of the conditions that was looked at, and what the event has there."""

    path: str
    field: str
    operator: str
    expected: Any
    found: Any
    missing: bool
    holds: bool


class StepInShort(BaseModel):
    """A step that would run."""

    model_config = ConfigDict(from_attributes=True)

    identifier: str
    step_type: str
    order: int
    depends_on: list[str]


class WouldRunOut(BaseModel):
    """The workflow that would run."""

    workflow_id: UUID
    workflow_name: str
    steps: list[StepInShort]


class TestOut(BaseModel):
    """What the event would do at the trigger; nothing has happened."""

    __test__ = False

    would_fire: bool
    outcome: str = Field(description="`fired`, `debounced`, `delayed`, `throttled`, `conditions`, `not_heard`, …")
    reason: str
    due_at: datetime | None = Field(description="When it would fire, if not at once.")
    key: str | None = Field(description="The value of the trigger's key.")
    conditions_hold: bool
    leaves: list[LeafOut] = Field(description="What was looked at, in order; a leaf that is not reached is not listed.")
    would_run: WouldRunOut


class ReplayIn(Given):
    """Which past events, by the time at which they came in."""

    since: Time
    until: Time = Field(default_factory=lambda: datetime.now(UTC) + timedelta(seconds=1))
    dry_run: StrictBool = False


class ReplayedOut(BaseModel):
    """A past event that the trigger hears."""

    model_config = ConfigDict(from_attributes=True)

    event_id: str
    fires: bool
    reason: str
    execution_id: UUID | None


class ReplayOut(BaseModel):
    """The first 1,000 past events of the window that the trigger heard, or would have heard, in their order."""

    dry_run: bool
    events: list[ReplayedOut]


@router.post(
    "/{id}/test/",
    responses=keyed(404, 413, 422),
    openapi_extra=json_body(TestIn.model_json_schema()),
)
async def test_trigger(id: UUID, request: Request, caller: Executor, services: ServicesOf) -> TestOut:
    """Would it fire on this event, what was found at each leaf, and what would it run? Nothing runs."""
    given = await read_json(request, lambda raw: parse_given(TestIn, raw))
    async with services.database.rehearsal() as session:
        await caller.require(session, Trigger, id)
        event = await _event(session, id, given)
        if given.event_id is not None:
            caller.require_project(event.project_id, missing_event(event.id))
        rehearsal = await explain.rehearse(session, id, event, services.settings)
        steps = await steps_of(session, rehearsal.candidate.workflow_id)
        return _out(rehearsal, steps)  # here, since what is undone takes its rows with it


@router.post(
    "/{id}/replay/",
    status_code=202,
    responses=keyed(404, 409, 413, 422),
    openapi_extra=json_body(ReplayIn.model_json_schema()),
)
async def replay_trigger(id: UUID, request: Request, caller: Executor, services: ServicesOf, once: OnceOf) -> ReplayOut:
    """Fire a trigger on past events, in their order."""
    given = await read_json(request, lambda raw: parse_given(ReplayIn, raw))

    async def replay() -> ReplayOut:
        replayed = await explain.replay(session, id, given.since, given.until, services.settings, dry_run=given.dry_run)
        if not given.dry_run:
            trigger, _ = await find_trigger(session, id)
            after = given.model_dump(mode="json") | {"fired": sum(one.fires for one in replayed)}
            await note(session, caller, "replay", "trigger", id, trigger.project_id, None, after)
        return ReplayOut(dry_run=given.dry_run, events=[ReplayedOut.model_validate(one) for one in replayed])

    async with services.database.transaction() as session:
        await caller.require(session, Trigger, id)
        return await once(session, caller, ReplayOut, replay)


async def _event(session: AsyncSession, trigger_id: UUID, given: TestIn) -> PastEvent:
    """The event that is meant; a given one gets the project of the trigger when it names none."""
    if given.event_id is not None:
        return explain.past(await find_event(session, given.event_id))
    assert given.event is not None
    candidate = (await by_ids(session, [trigger_id])).get(trigger_id)
    scope = candidate.scope if candidate else ""
    data = given.event.get("data")
    if isinstance(data, dict) and scope:
        data.setdefault("project_id", scope)
    event = parse_event(given.event, prefix="event.")
    return PastEvent(event.id, event.type, event.project_id, event.data, event.occurred_at, event.version)


def _shown(field: str, value: Any) -> Any:
    return redact({field: value})[field]


def _out(rehearsal: explain.Rehearsal, steps: list[WorkflowStep]) -> TestOut:
    candidate = rehearsal.candidate
    return TestOut(
        would_fire=rehearsal.would_fire,
        outcome=rehearsal.outcome,
        reason=rehearsal.reason,
        due_at=rehearsal.due_at,
        key=rehearsal.key,
        conditions_hold=rehearsal.holds,
        leaves=[
            LeafOut(
                path=leaf.path,
                field=leaf.field,
                operator=leaf.operator,
                expected=_shown(leaf.field, leaf.expected),
                found=None if leaf.found is MISSING else _shown(leaf.field, leaf.found),
                missing=leaf.missing,
                holds=leaf.holds,
            )
            for leaf in rehearsal.leaves
        ],
        would_run=WouldRunOut(
            workflow_id=candidate.workflow_id,
            workflow_name=candidate.workflow_name,
            steps=[StepInShort.model_validate(one) for one in steps],
        ),
    )
