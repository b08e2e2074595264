"""Firings that wait for their time. SQL only; the clock brings back what is due."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.intake.create import newer
from automation.intake.events import HasHappened
from automation.intake.memory import Place
from automation.models import Timer, utc_now
from automation.models.bulk import insert_rows

TIMERS_CHANNEL = "automation_timers"
"""NOTIFY channel that says that a timer was started, perhaps one that is due before all others."""


class Purpose(StrEnum):
    """What a firing waits for."""

    DEBOUNCE = "debounce"
    DELAY = "delay"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class WantedTimer:
    """A firing that has to wait `seconds`; with `max_seconds`, never longer than that after its first event."""

    trigger_id: UUID
    key: str
    event: HasHappened
    event_count: int
    seconds: float
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class StartedTimer:
    """The timer that stands for a wanted one: its own, or the one that waited already."""

    id: UUID
    due_at: datetime


# of a key one waits: it is put off, with the newer event ("newer" as for executions), and counts
_NEWER = """CASE WHEN excluded.version <> timers.version THEN excluded.version > timers.version
    ELSE excluded.occurred_at >= timers.occurred_at END"""
_REPLACED = ("event_id", "event_type", "event_data", "version", "occurred_at")
_RESTARTED = (
    "ON CONFLICT (trigger_id, purpose, key) WHERE status = 'WAITING' AND purpose <> 'delay' DO UPDATE SET "
    + ", ".join(f"{name} = CASE WHEN {_NEWER} THEN excluded.{name} ELSE timers.{name} END" for name in _REPLACED)
    + ", event_count = timers.event_count + excluded.event_count"
    ", due_at = least(excluded.due_at, timers.latest_at)"
)


async def start(session: AsyncSession, purpose: Purpose, wanted: Sequence[WantedTimer]) -> list[StartedTimer]:
    """Start the timers that are wanted, or put off those that wait already; one answer each, in their order."""
    now = utc_now()
    merged = _merge(purpose, wanted)
    rows = [_row(purpose, one, now) for one in merged.values()]
    written = await insert_rows(
        session, Timer.table(), rows, "" if purpose == Purpose.DELAY else _RESTARTED, "id, trigger_id, key, due_at"
    )
    await session.execute(select(func.pg_notify(TIMERS_CHANNEL, "")))
    if purpose == Purpose.DELAY:
        by_id = {id_: StartedTimer(id_, due_at) for id_, _, _, due_at in written}
        return [by_id[row["id"]] for row in rows]
    by_place = {(trigger_id, key): StartedTimer(id_, due_at) for id_, trigger_id, key, due_at in written}
    return [by_place[(one.trigger_id, one.key)] for one in wanted]


def _merge(purpose: Purpose, wanted: Sequence[WantedTimer]) -> dict[object, WantedTimer]:
    """Of one key in one request one timer, with the newest event; each delay stands for itself."""
    merged: dict[object, WantedTimer] = {}
    if purpose == Purpose.DELAY:
        return dict(enumerate(wanted))
    for one in sorted(wanted, key=lambda one: (str(one.trigger_id), one.key)):  # one order: no waiting in a circle
        place = (one.trigger_id, one.key)
        if place not in merged:
            merged[place] = one
            continue
        old = merged[place]
        a, b = one.event, old.event
        best = one if newer(a.version, a.occurred_at, b.version, b.occurred_at) else old
        count = old.event_count + one.event_count
        merged[place] = WantedTimer(one.trigger_id, one.key, best.event, count, one.seconds, one.max_seconds)
    return merged


def _row(purpose: Purpose, one: WantedTimer, now: datetime) -> dict[str, object]:
    event = one.event
    due_at = now + timedelta(seconds=one.seconds)
    latest_at = None if one.max_seconds is None else now + timedelta(seconds=one.max_seconds)
    return {
        "id": uuid4(),
        "trigger_id": one.trigger_id,
        "project_id": event.project_id,
        "purpose": purpose,
        "key": one.key,
        "status": "WAITING",
        "created_at": now,
        "due_at": due_at,
        "latest_at": latest_at,
        "event_id": event.id,
        "event_type": event.type,
        "event_data": event.data,
        "occurred_at": event.occurred_at,
        "version": event.version,
        "event_count": one.event_count,
        "outcome": "",
        "reason": "",
    }


_CALL_OFF = text("""
    UPDATE timers SET status = 'CANCELLED', ended_at = CAST(:now AS timestamptz), reason = waiting.reason
    FROM (
        SELECT t.id, wanted.reason
        FROM unnest(CAST(:triggers AS uuid[]), CAST(:keys AS text[]), CAST(:reasons AS text[]))
            AS wanted(trigger_id, key, reason)
        JOIN timers AS t ON t.trigger_id = wanted.trigger_id AND t.key = wanted.key AND t.status = 'WAITING'
        ORDER BY t.trigger_id, t.key, t.id
        FOR UPDATE OF t
    ) AS waiting
    WHERE timers.id = waiting.id
    RETURNING timers.trigger_id, timers.key
""")


async def call_off(session: AsyncSession, reasons: Mapping[Place, str]) -> Counter[Place]:
    """End what waits at these places, each for its reason; how many that were. ix_timers_trigger_id_key."""
    places = list(reasons)
    rows = await session.execute(
        _CALL_OFF,
        {
            "now": utc_now(),
            "triggers": [trigger_id for trigger_id, _ in places],
            "keys": [key for _, key in places],
            "reasons": list(reasons.values()),
        },
    )
    return Counter((trigger_id, key) for trigger_id, key in rows.tuples())


async def due(session: AsyncSession, limit: int) -> list[Timer]:
    """Timers of one purpose whose time has come, oldest first, for this process alone; ix_timers_due.

    One purpose a transaction, so that all of them go through the stages together and take their locks in order.
    """
    query = (
        select(Timer)
        .where(Timer.status == "WAITING", Timer.due_at <= utc_now())
        .order_by(Timer.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = (await session.scalars(query)).all()
    return [timer for timer in found if timer.purpose == found[0].purpose]


async def next_due(session: AsyncSession) -> datetime | None:
    """When the next timer is due; ix_timers_due."""
    return (await session.execute(select(func.min(Timer.due_at)).where(Timer.status == "WAITING"))).scalar_one()


async def cancel_all(session: AsyncSession, trigger_ids: Sequence[UUID], reason: str) -> None:
    """End what waits at these triggers: somebody has switched them off."""
    waiting = (
        select(Timer.id)
        .where(Timer.trigger_id.in_(trigger_ids), Timer.status == "WAITING")
        .order_by(Timer.trigger_id, Timer.key, Timer.id)  # as the intake takes them
        .with_for_update()
    )
    await session.execute(
        update(Timer)
        .where(Timer.id.in_(waiting))
        .values(status="CANCELLED", ended_at=utc_now(), reason=reason)
        .execution_options(synchronize_session=False)
    )
