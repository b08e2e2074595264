"""What becomes of an event at each trigger that it concerns: a line of stages, the same for every door.

    switched on → key → conditions → dedupe → wait (silence, debounce, delay) → throttle → concurrency → execution

A stage settles the matches that end at it, and hands on the others. What waits becomes a timer, which comes
back later behind the stage at which it left. Nearly all triggers have no options; for them no stage does anything.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from automation import conditions
from automation.callback.tell import executions_ended
from automation.intake import memory, timers
from automation.intake.concurrency import open_executions, replace_open
from automation.intake.create import Started, Wanted, create_executions, runs_in_batch
from automation.intake.events import HasHappened, root_of
from automation.intake.matching import Candidate
from automation.models import Json, utc_now
from automation.requests import Origin, origin
from automation.settings import Settings
from automation.triggers.keys import fitted, key_of, subject
from automation.triggers.types import YEAR


class Outcome(StrEnum):
    """What a trigger made of an event."""

    FIRED = "fired"
    INACTIVE = "inactive"
    NO_KEY = "no_key"
    CONDITIONS = "conditions"
    DUPLICATE = "duplicate"
    SILENCE = "silence_begun"
    DEBOUNCED = "debounced"
    DELAYED = "delayed"
    CALLED_OFF = "called_off"
    THROTTLED = "throttled"
    DROPPED = "dropped"
    REPLACED = "replaced"
    SAME_WORKFLOW = "same_workflow"


@dataclass(slots=True)
class Match:
    """A trigger and an event that concerns it, on their way through the stages. `outcome` ends the way."""

    trigger: Candidate
    event: HasHappened
    key: str | None = None
    event_count: int = 1
    execution_id: UUID = field(default_factory=uuid4)
    not_before: datetime | None = None
    by_name: bool = False
    """Its execution is due at once, and never takes the place of another that waits."""
    outcome: Outcome | None = None
    reason: str = ""
    timer_id: UUID | None = None
    due_at: datetime | None = None
    started: Started | None = None
    leaves: list[conditions.Leaf] | None = None
    """Where the leaves of the conditions are wanted, a list for them."""
    origin: Origin = field(default_factory=origin)
    replaced: Sequence[UUID] = ()
    """Executions whose place it took; those that ran have yet to stop."""

    def end(self, outcome: Outcome, reason: str = "") -> None:
        self.outcome, self.reason = outcome, reason

    @property
    def decision(self) -> Json:
        """What is kept at the event."""
        told: Json = {
            "trigger_id": str(self.trigger.id),
            "workflow_id": str(self.trigger.workflow_id),
            "outcome": str(self.outcome),
        }
        if self.reason:
            told["reason"] = self.reason
        if self.started:
            told["execution_id"] = str(self.started.id)
        if self.timer_id:
            told["timer_id"] = str(self.timer_id)
        if self.due_at:
            told["due_at"] = self.due_at.isoformat()
        return told


Stage = Callable[[AsyncSession, list[Match]], Awaitable[None]]


async def decide(
    session: AsyncSession, matches: Sequence[Match], settings: Settings, *, after: timers.Purpose | None = None
) -> None:
    """Take matches through the stages; each has an outcome afterwards, and what fires has its execution.

    Args:
        after: of matches that a timer brings back, what they waited for; the stages before are behind them.
    """
    for match in matches:
        _check_active(match)
        find_key(match)
    for stage in _STAGES[after]:
        rest = [one for one in matches if one.outcome is None and not one.trigger.is_plain]
        if not rest:
            break
        await stage(session, rest)
    await executions_ended(session, settings, [id_ for match in matches for id_ in match.replaced])
    if after is None:
        _fire_once(matches)
    await _create(session, [one for one in matches if one.outcome is None], settings)


def _check_active(match: Match) -> None:
    if not match.trigger.is_active:
        match.end(Outcome.INACTIVE, "the trigger or its workflow is switched off")


def find_key(match: Match) -> None:
    """The value of the trigger's key."""
    trigger, spec = match.trigger, match.trigger.config.get("key")
    if match.outcome or trigger.is_plain:
        return
    if spec is None and trigger.trigger_type in ("TIMEOUT", "DELAYED"):
        spec = "project"
    if spec is None:
        match.key = "" if trigger.scope else match.event.project_id
        return
    match.key = _key(match, spec)
    if match.key is None:
        match.end(Outcome.NO_KEY, f"the event has no {spec}, which is the trigger's key")


def _key(match: Match, spec: str) -> str | None:
    """A value to count by; at a trigger of the platform, projects never share a count."""
    found = key_of(spec, root_of(match.event))
    return found if found is None or match.trigger.scope else fitted(f"{match.event.project_id}:{found}")


async def _check_conditions(session: AsyncSession, matches: list[Match]) -> None:
    """Conditions, in the order of the events: `changed` compares with the value at the event before."""
    remembering = [one for one in matches if conditions.changed_fields(one.trigger.conditions)]
    seen = await memory.load(session, {_seen_by(one) for one in remembering}) if remembering else {}
    roots = {event.id: root_of(event) for event in {one.event.id: one.event for one in matches}.values()}
    for match in matches:
        if not match.trigger.conditions:
            continue
        root = roots[match.event.id]
        state = seen.get(_seen_by(match)) if seen else None
        previous = state.seen if state else None
        if match.leaves is None:
            verdict = conditions.holds(match.trigger.conditions, root, previous)
        else:
            verdict, match.leaves = conditions.explain(match.trigger.conditions, root, previous)
        if state:
            state.see(root, conditions.changed_fields(match.trigger.conditions))
        if not verdict.holds:
            match.end(Outcome.CONDITIONS, verdict.reason)
    await memory.save(session, seen.values())


def _seen_by(match: Match) -> memory.Place:
    keyed = match.trigger.config.get("key")
    key = match.key if keyed else f"{match.event.project_id}:{subject(root_of(match.event))}"
    return match.trigger.id, fitted(f"seen:{key}")


async def _check_dedupe(session: AsyncSession, matches: list[Match]) -> None:
    """The first event of each `dedupe_key` goes on, whatever becomes of it then."""
    keyed: dict[memory.Place, list[Match]] = {}
    for match in matches:
        if (spec := match.trigger.config.get("dedupe_key")) is None:
            continue
        if (key := _key(match, spec)) is None:
            match.end(Outcome.NO_KEY, f"the event has no {spec}, which is the trigger's dedupe_key")
        else:
            keyed.setdefault((match.trigger.id, key), []).append(match)
    if not keyed:
        return
    first_of = await memory.claim_keys(session, {place: several[0].event.id for place, several in keyed.items()})
    for place, several in keyed.items():
        for match in several if first_of[place] else several[1:]:
            first = first_of[place] or several[0].event.id
            match.end(Outcome.DUPLICATE, f"event {first} had the same dedupe_key {place[1]!r}")


async def _call_off(session: AsyncSession, matches: list[Match]) -> None:
    """An event that is some trigger's `cancel_on` ends what waits there under its key, or came just before it."""
    if not any(one.trigger.calls_off for one in matches):
        return
    reasons: dict[memory.Place, str] = {}
    for match in matches:
        if match.trigger.calls_off:
            reasons.setdefault((match.trigger.id, match.key or ""), f"called off by event {match.event.id}")
    counts = await timers.call_off(session, reasons)
    before: dict[memory.Place, list[Match]] = {}
    for match in matches:
        place = (match.trigger.id, match.key or "")
        if not match.trigger.calls_off:
            before.setdefault(place, []).append(match)
            continue
        ended = before.pop(place, [])
        for one in ended:
            one.end(Outcome.CALLED_OFF, f"called off by event {match.event.id}")
        match.end(Outcome.CALLED_OFF, f"{counts.pop(place, 0) + len(ended)} waiting under the key {match.key!r}")


async def _begin_silence(session: AsyncSession, matches: list[Match]) -> None:
    silences = [one for one in matches if one.trigger.trigger_type == "TIMEOUT"]
    await _wait(session, silences, timers.Purpose.SILENCE, Outcome.SILENCE, "after_seconds")


async def _debounce(session: AsyncSession, matches: list[Match]) -> None:
    debounced = [one for one in matches if one.trigger.config.get("debounce_seconds")]
    await _wait(session, debounced, timers.Purpose.DEBOUNCE, Outcome.DEBOUNCED, "debounce_seconds")


async def _delay(session: AsyncSession, matches: list[Match]) -> None:
    delayed = [one for one in matches if one.trigger.trigger_type == "DELAYED"]
    await _wait(session, delayed, timers.Purpose.DELAY, Outcome.DELAYED, "delay_seconds")


async def _wait(
    session: AsyncSession, matches: list[Match], purpose: timers.Purpose, outcome: Outcome, setting: str
) -> None:
    if not matches:
        return
    wanted = [
        timers.WantedTimer(
            trigger_id=one.trigger.id,
            key=one.key or "",
            event=one.event,
            event_count=one.event_count,
            seconds=one.trigger.config[setting],
            max_seconds=one.trigger.config.get("max_wait_seconds") if purpose == timers.Purpose.DEBOUNCE else None,
        )
        for one in matches
    ]
    for match, timer in zip(matches, await timers.start(session, purpose, wanted), strict=True):
        match.end(outcome)
        match.timer_id, match.due_at = timer.id, timer.due_at


_LONGEST_QUEUE = timedelta(seconds=YEAR)
"""Whose turn would come later is dropped."""


async def _throttle(session: AsyncSession, matches: list[Match]) -> None:
    """At most `limit` firings in any window of `per_seconds`; an excess one is dropped, or gets the next turn."""
    limited = [one for one in matches if one.trigger.config.get("throttle")]
    if not limited:
        return
    states = await memory.load(session, {_fired_by(one) for one in limited})
    now = utc_now()
    for match in limited:
        rule = match.trigger.config["throttle"]
        used = f"fired {rule['limit']} times in {rule['per_seconds']:g} s"
        state = states[_fired_by(match)]
        turn = state.next_turn(rule["limit"], rule["per_seconds"], now)
        if turn > now and (rule.get("excess", "drop") == "drop" or turn > now + _LONGEST_QUEUE):
            match.due_at = turn
            match.end(Outcome.THROTTLED, f"{used} already; it may fire again at {turn:%H:%M:%S} UTC")
            continue
        state.take_turn(turn, rule["limit"])
        if turn > now:
            match.not_before = match.due_at = turn
            match.reason = f"waits for its turn: {used} already"
    await memory.save(session, states.values())


def _fired_by(match: Match) -> memory.Place:
    return match.trigger.id, fitted(f"fired:{match.key}")


async def _limit_concurrency(session: AsyncSession, matches: list[Match]) -> None:
    """`drop`: not beside an open execution of the key. `replace`: instead of it. (`queue` is the dispatcher's work.)"""
    limited = [one for one in matches if one.trigger.config.get("concurrency") in ("drop", "replace")]
    if not limited:
        return
    places = {(one.trigger.workflow_id, one.key or "") for one in limited}
    held = await open_executions(session, places)
    chosen: dict[tuple[UUID, str], Match] = {}
    for match in limited:
        place = (match.trigger.workflow_id, match.key or "")
        if match.trigger.config["concurrency"] == "drop" and (place in held or place in chosen):
            by = held[place][0] if place in held else chosen[place].execution_id
            match.end(Outcome.DROPPED, f"execution {by} of the same key is open")
            continue
        if place in chosen:
            chosen[place].end(Outcome.REPLACED, f"event {match.event.id} took its place")
        chosen[place] = match
    for place, match in sorted(chosen.items(), key=lambda pair: pair[0]):
        if place in held and match.trigger.config["concurrency"] == "replace":
            match.replaced = await replace_open(session, held[place], by=match.execution_id)


def _fire_once(matches: Sequence[Match]) -> None:
    """A workflow runs once for an event that fires at once, however many of its triggers match."""
    first: dict[tuple[str, UUID], Match] = {}
    for match in matches:
        if match.outcome is None:
            mine = first.setdefault((match.event.id, match.trigger.workflow_id), match)
            if mine is not match:
                match.end(Outcome.SAME_WORKFLOW, f"trigger {mine.trigger.id} of the same workflow has fired")


async def _create(session: AsyncSession, fired: list[Match], settings: Settings) -> None:
    """The executions of what fires."""
    if not fired:
        return
    made = await create_executions(session, [wanted_of(match) for match in fired], settings)
    for match in fired:
        match.outcome, match.started = Outcome.FIRED, made[match.execution_id]
    await memory.note_fired(session, {match.trigger.id for match in fired})


def wanted_of(match: Match) -> Wanted:
    """The execution that a match wants."""
    trigger, event = match.trigger, match.event
    serial = bool(trigger.config.get("key") or trigger.config.get("concurrency"))
    return Wanted(
        id=match.execution_id,
        workflow_id=trigger.workflow_id,
        project_id=trigger.scope or event.project_id or None,
        kind=trigger.kind,
        trigger_type=trigger.trigger_type,
        trigger_data=event.data,
        event_type=event.type,
        trigger_id=trigger.id,
        event_id=event.id,
        serial_key=match.key if serial else None,
        batch=not (serial or match.by_name) and runs_in_batch(trigger.kind, trigger.workflow_config),
        version=event.version,
        occurred_at=event.occurred_at,
        event_count=match.event_count,
        not_before=match.not_before,
        by_name=match.by_name,
        origin=match.origin,
    )


_FIRE: tuple[Stage, ...] = (_throttle, _limit_concurrency)
_STAGES: dict[timers.Purpose | None, tuple[Stage, ...]] = {
    None: (_check_conditions, _check_dedupe, _call_off, _begin_silence, _debounce, _delay, *_FIRE),
    timers.Purpose.DEBOUNCE: (_delay, *_FIRE),
    timers.Purpose.DELAY: _FIRE,
    timers.Purpose.SILENCE: _FIRE,
}
