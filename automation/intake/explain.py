"""Why a trigger fired or not: told of a past event, rehearsed with a given one, and past events fired anew."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_
from sqlalchemy.ext.asyncio import AsyncSession

from automation import conditions
from automation.errors import ConflictError, NotFoundError
from automation.intake.create import create_executions
from automation.intake.decide import Match, Outcome, decide, find_key, wanted_of
from automation.intake.events import PastEvent, root_of, version_of
from automation.intake.matching import Candidate, Concerned, by_ids
from automation.models import Event, Json, Timer, Trigger, Workflow
from automation.models.event_queries import events_between, projects_of, timers_of, triggers_of
from automation.settings import Settings
from automation.triggers.types import BY_PATTERN, STUDIO, hears

TRIGGERS_TOLD = 1000
"""Triggers of a project that an event's explanation lists."""
REPLAYED = 1000
"""Events that one replay fires on."""

FOR_ONE = ("webhook", "files")
"""Sources whose events are meant for one trigger, and heard by no other."""
NOT_HEARD = "not_heard"
"""Outcome of an event that does not concern a trigger."""

_HEARING = (*STUDIO, *BY_PATTERN)
_WAITS = (Outcome.DEBOUNCED, Outcome.DELAYED, Outcome.SILENCE)


@dataclass(frozen=True, slots=True)
class Told:
    """What a trigger made of an event, as far as it has come by now."""

    trigger_id: UUID
    workflow_id: UUID
    workflow_name: str
    trigger_type: str
    event_type: str
    fired: bool
    outcome: str
    reason: str
    execution_id: UUID | None = None
    due_at: datetime | None = None
    project_id: str | None = None
    """Of the workflow; None: it is the platform's, or deleted."""


async def tell(session: AsyncSession, event: Event) -> list[Told]:
    """For every trigger of the event's project, and of the platform, whether it fired, and the first reason why not."""
    decisions = {UUID(one["trigger_id"]): one for one in event.decisions}
    timers = await timers_of(session, [UUID(one["timer_id"]) for one in event.decisions if "timer_id" in one])
    told = []
    for trigger, workflow in await triggers_of(session, event.project_id, list(decisions), TRIGGERS_TOLD):
        decision = decisions.pop(trigger.id, None)
        decision = decision or {"outcome": NOT_HEARD, "reason": _deaf(trigger, event)}
        told.append(_told(decision, event, timers, trigger, workflow))
    projects = await projects_of(session, {UUID(one["workflow_id"]) for one in decisions.values()})
    deleted = [_told(one, event, timers, None, None) for one in decisions.values()]  # since then
    return told + [replace(one, project_id=projects.get(one.workflow_id)) for one in deleted]


def _deaf(trigger: Trigger, event: Event) -> str:
    """Why a trigger that made no decision about an event did not."""
    if trigger.trigger_type not in _HEARING:
        return f"{trigger.trigger_type} hears no events of others"
    if event.source in FOR_ONE:
        return "the event came through another trigger's own door"
    if reason := _not_heard(trigger.trigger_type, trigger.event_type, event.type):
        return reason
    if trigger.updated_at > event.received_at:
        return "the trigger was made or changed after this event"
    return "no decision is on record"


def _not_heard(trigger_type: str, event_type: str, of: str) -> str:
    if hears(trigger_type, event_type, of):
        return ""
    return f"{trigger_type} hears {event_type or ' or '.join(STUDIO.get(trigger_type, ()))}, not {of}"


def _told(
    decision: Json, event: Event, timers: dict[UUID, Timer], trigger: Trigger | None, workflow: Workflow | None
) -> Told:
    told: dict[str, Any] = {
        "outcome": decision["outcome"],
        "reason": decision.get("reason", ""),
        "execution_id": UUID(decision["execution_id"]) if "execution_id" in decision else None,
        "due_at": datetime.fromisoformat(decision["due_at"]) if "due_at" in decision else None,
    }
    if timer := timers.get(UUID(decision["timer_id"])) if "timer_id" in decision else None:
        told |= _waited(timer, event, timers)
    return Told(
        trigger_id=trigger.id if trigger else UUID(decision["trigger_id"]),
        workflow_id=workflow.id if workflow else UUID(decision["workflow_id"]),
        workflow_name=workflow.name if workflow else "",
        trigger_type=trigger.trigger_type if trigger else "",
        event_type=trigger.event_type if trigger else "",
        project_id=workflow.project_id if workflow else None,
        fired=told["outcome"] == Outcome.FIRED,
        **told,
    )


def _waited(timer: Timer, event: Event, timers: dict[UUID, Timer]) -> Json:
    """What became of an event that had to wait: of the last timer that it led to."""
    while timer.next_id and timer.next_id in timers:
        timer = timers[timer.next_id]
    if timer.event_id != event.id:
        return {
            "outcome": "superseded",
            "reason": f"event {timer.event_id} came after it and stands for it",
            "execution_id": timer.execution_id,
            "due_at": timer.due_at,
        }
    if timer.status == "WAITING":
        return {"due_at": timer.due_at, "reason": f"waits until {timer.due_at:%Y-%m-%d %H:%M:%S} UTC"}
    outcome = "called_off" if timer.status == "CANCELLED" else timer.outcome
    return {"outcome": outcome, "reason": timer.reason, "execution_id": timer.execution_id, "due_at": timer.due_at}


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What an event would do at a trigger."""

    candidate: Candidate
    outcome: str
    reason: str
    holds: bool
    leaves: list[conditions.Leaf] = field(default_factory=list)
    key: str | None = None
    due_at: datetime | None = None

    @property
    def would_fire(self) -> bool:
        """At once, or when its wait is over."""
        return self.outcome == Outcome.FIRED or self.outcome in _WAITS


async def rehearse(session: AsyncSession, trigger_id: UUID, event: PastEvent, settings: Settings) -> Rehearsal:
    """Take an event through a trigger's stages; the caller undoes what that writes.

    Raises:
        NotFoundError: there is no such trigger.
    """
    candidate = await _candidate(session, trigger_id)
    verdict, leaves = conditions.explain(candidate.conditions, root_of(event))
    matches = [Match(one, event, leaves=[]) for one in _as_heard(candidate, event)]
    if not matches:
        return Rehearsal(candidate, NOT_HEARD, _cannot_hear(candidate, event), verdict.holds, leaves)
    await decide(session, matches, settings)
    match = matches[-1]
    holds = match.outcome != Outcome.CONDITIONS if match.leaves else verdict.holds  # `changed` knows more there
    return Rehearsal(
        candidate, str(match.outcome), match.reason, holds, match.leaves or leaves, match.key, match.due_at
    )


def _as_heard(candidate: Candidate, event: PastEvent) -> list[Candidate]:
    """What an event is to a trigger, if it concerns it: what calls off, what fires, or first one, then the other."""
    if candidate.trigger_type not in _HEARING:
        return [candidate] if event.project_id == candidate.scope or not candidate.scope else []
    calls_off = [replace(candidate, calls_off=True)] if "cancel_on" in candidate.config else []
    return Concerned([candidate, *calls_off]).by(event)


def _cannot_hear(candidate: Candidate, event: PastEvent) -> str:
    if candidate.scope and event.project_id != candidate.scope:
        return f"the trigger is of project {candidate.scope!r}, the event of {event.project_id!r}"
    return _not_heard(candidate.trigger_type, candidate.event_type, event.type)


@dataclass(frozen=True, slots=True)
class Replayed:
    """Of one past event, the execution that it starts now; None in a dry run, or when it would not fire."""

    event_id: str
    fires: bool
    reason: str
    execution_id: UUID | None = None


async def replay(
    session: AsyncSession,
    trigger_id: UUID,
    since: datetime,
    until: datetime,
    settings: Settings,
    *,
    dry_run: bool,
) -> list[Replayed]:
    """Fire a trigger on the past events that it hears, as if they came now.

    Its conditions decide; what limits a flow of events (debounce, throttle, dedupe) does not, and `changed`
    holds. Executions of one key run one after the other.

    Raises:
        NotFoundError: there is no such trigger.
        ConflictError: it, or its workflow, is switched off.
    """
    candidate = await _candidate(session, trigger_id)
    if not candidate.is_active:
        raise ConflictError(f"Trigger {trigger_id} or its workflow is switched off; set is_active first.")
    told: list[Replayed] = []
    wanted = []
    scope = candidate.scope or None
    for row in await events_between(session, scope, since, until, _heard_by(candidate), REPLAYED):
        event = past(row)
        match = Match(candidate, event, execution_id=uuid4(), by_name=True)
        if reason := _why_not(match):
            told.append(Replayed(event.id, fires=False, reason=reason))
            continue
        told.append(Replayed(event.id, fires=True, reason="", execution_id=None if dry_run else match.execution_id))
        wanted.append(wanted_of(match))
    if not dry_run:
        await create_executions(session, wanted, settings)
    return told


def _why_not(match: Match) -> str:
    """Why a past event does not fire a trigger, whatever limits its flow of events; "" when it does."""
    find_key(match)
    return match.reason or conditions.holds(match.trigger.conditions, root_of(match.event)).reason


def _heard_by(candidate: Candidate) -> ColumnElement[bool]:
    """The events that a trigger heard when they came, or would have; with a door of its own, those that it had."""
    type_, name = candidate.trigger_type, candidate.event_type
    if type_ not in _HEARING:
        return Event.decisions.contains([{"trigger_id": str(candidate.id)}])
    of_all = Event.source.not_in(FOR_ONE)
    if name in ("", "*"):
        return and_(of_all, Event.type.in_(STUDIO[type_])) if type_ in STUDIO else of_all
    if name.endswith(".*"):
        return and_(of_all, Event.type.startswith(name.removesuffix("*"), autoescape=True))
    return and_(of_all, Event.type == name)


async def _candidate(session: AsyncSession, trigger_id: UUID) -> Candidate:
    found = await by_ids(session, [trigger_id])
    if not found:
        raise NotFoundError(f"Trigger {trigger_id} does not exist.")
    return found[trigger_id]


def past(event: Event) -> PastEvent:
    """A stored event as triggers see it."""
    return PastEvent(event.id, event.type, event.project_id, event.data, event.occurred_at, version_of(event.data))
