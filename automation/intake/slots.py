"""A cron slot fires its trigger: at most once, whoever comes with it (Prefect's run, or the catch-up).

Each slot ends as an execution under an id of its own. One that does not run is recorded too (CANCELLED, error code
SKIPPED, with the reason): a schedule has no event at which the reason could stand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.errors import NotFoundError
from automation.intake.create import Started
from automation.intake.decide import Match, Outcome, decide
from automation.intake.events import PastEvent
from automation.intake.matching import Candidate, by_ids
from automation.models import Execution, Status, utc_now
from automation.settings import Settings
from automation.triggers.slots import slot_execution_id

SKIPPED = "SKIPPED"
"""Error code of the execution of a slot that did not run."""


async def fire_slot(
    session: AsyncSession, trigger_id: UUID, slot: datetime, settings: Settings, *, not_before: datetime | None = None
) -> Match:
    """Fire a SCHEDULED trigger for a slot; a slot that has its execution already answers with it.

    One that the trigger's own limits (throttle, concurrency, …) end is recorded as skipped; of a trigger that is
    switched off nothing is recorded.

    Args:
        not_before: when the dispatcher may give its execution a run, if the run that comes with the slot has not
            taken it until then.

    Raises:
        NotFoundError: there is no such trigger.
    """
    found = await by_ids(session, [trigger_id])
    if not found:
        raise NotFoundError(f"Trigger {trigger_id} does not exist.")
    event = _event(found[trigger_id], slot)
    match = Match(found[trigger_id], event, execution_id=slot_execution_id(trigger_id, slot), not_before=not_before)
    await _lock(session, [match.execution_id])
    if known := await session.get(Execution, match.execution_id):
        match.end(Outcome.FIRED, "the slot has its execution already")
        match.started = Started(known.id, known.workflow_id, known.kind, known.status)
        return match
    await decide(session, [match], settings)
    if match.started is None and match.outcome != Outcome.INACTIVE:
        reason = f"{match.outcome}: {match.reason}" if match.reason else str(match.outcome)
        session.add(_skipped(match.trigger, slot, f"skipped: {reason}"))
    return match


@dataclass(frozen=True, slots=True)
class Skip:
    """Slots of a trigger that do not run, each with the reason; `unlisted`: how many came before that nobody lists."""

    trigger_id: UUID
    reasons: Mapping[datetime, str]
    unlisted: int = 0


async def skip_slots(session: AsyncSession, skips: list[Skip]) -> None:
    """Record that these slots do not run, except those that have an execution already; a fixed number of statements."""
    triggers = await by_ids(session, {one.trigger_id for one in skips})
    wanted = {
        slot_execution_id(one.trigger_id, slot): _skipped(triggers[one.trigger_id], slot, reason)
        for one in skips
        if one.trigger_id in triggers
        for slot, reason in one.reasons.items()
    }
    for one in skips:
        if one.unlisted and one.trigger_id in triggers:
            last = slot_execution_id(one.trigger_id, max(one.reasons))
            wanted[last].result = {"skipped_before_and_not_listed": one.unlisted}
    await _lock(session, wanted)
    known = set(await session.scalars(select(Execution.id).where(Execution.id.in_(wanted))))
    session.add_all(row for id_, row in wanted.items() if id_ not in known)
    await session.flush()


def _event(trigger: Candidate, slot: datetime) -> PastEvent:
    """What the stages of a decision, and the workflow's steps, see of a slot."""
    project = {"project_id": trigger.scope} if trigger.scope else {}
    return PastEvent(
        id=f"slot:{trigger.id}:{slot.isoformat()}",
        type="schedule.slot",
        project_id=trigger.scope,
        data={**project, "trigger_id": str(trigger.id), "scheduled_for": slot.isoformat()},
        occurred_at=slot,
    )


def _skipped(trigger: Candidate, slot: datetime, reason: str) -> Execution:
    event = _event(trigger, slot)
    return Execution(
        id=slot_execution_id(trigger.id, slot),
        workflow_id=trigger.workflow_id,
        project_id=trigger.scope or None,
        kind=trigger.kind,
        coalesces=False,
        status=Status.CANCELLED,
        due_at=slot,
        completed_at=utc_now(),
        trigger_type=trigger.trigger_type,
        event_type=event.type,
        trigger_id=trigger.id,
        event_id=event.id,
        trigger_data=event.data,
        occurred_at=slot,
        error_code=SKIPPED,
        error_message=reason,
    )


async def _lock(session: AsyncSession, ids: Mapping[UUID, object] | list[UUID]) -> None:
    """Whoever else comes with one of these slots waits until this transaction ends, and finds the execution then."""
    keys = sorted(id_.int >> 65 for id_ in ids)
    lock = "SELECT pg_advisory_xact_lock(key) FROM unnest(CAST(:keys AS bigint[])) AS key"
    await session.execute(text(lock), {"keys": keys})
