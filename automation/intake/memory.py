"""What triggers remember between two events: SQL, with the little arithmetic that belongs to it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.conditions import MISSING, look_up
from automation.models import DedupeKey, TriggerState, utc_now
from automation.models.bulk import insert_rows, update_rows

Place = tuple[UUID, str]
"""A trigger and a key of it."""


@dataclass(slots=True)
class State:
    """The memory of one place: when it fired, and the values that it saw last."""

    place: Place
    fired: list[float]
    seen: dict[str, Any]

    def see(self, root: Mapping[str, Any], fields: Iterable[str]) -> None:
        """Remember the values of an event for the next one; one that is not there is forgotten."""
        for field in fields:
            if (value := look_up(root, field)) is MISSING:
                self.seen.pop(field, None)
            else:
                self.seen[field] = value

    def next_turn(self, limit: int, per_seconds: float, now: datetime) -> datetime:
        """When it may fire next, so that no window of `per_seconds` holds more than `limit` firings."""
        if len(self.fired) < limit:
            return now
        return max(now, datetime.fromtimestamp(self.fired[-limit] + per_seconds, UTC))

    def take_turn(self, at: datetime, limit: int) -> None:
        self.fired = [*self.fired, at.timestamp()][-limit:]


# in one order for everybody, and locked until the transaction ends
_LOCK = """ON CONFLICT (trigger_id, key) DO UPDATE SET updated_at = excluded.updated_at"""


async def load(session: AsyncSession, places: set[Place]) -> dict[Place, State]:
    """What these places remember; nobody else changes it until the transaction ends."""
    now = utc_now()
    rows = [
        {"trigger_id": trigger_id, "key": key, "fired": [], "seen": {}, "updated_at": now}
        for trigger_id, key in sorted(places)
    ]
    found = await insert_rows(session, TriggerState.table(), rows, _LOCK, "trigger_id, key, fired::text, seen::text")
    return {(id_, key): State((id_, key), orjson.loads(fired), orjson.loads(seen)) for id_, key, fired, seen in found}


async def save(session: AsyncSession, states: Iterable[State]) -> None:
    """Write back what `load` has read."""
    rows = [{"trigger_id": s.place[0], "key": s.place[1], "fired": s.fired, "seen": s.seen} for s in states]
    await update_rows(session, TriggerState.table(), rows, keys=("trigger_id", "key"))


async def claim_keys(session: AsyncSession, firsts: Mapping[Place, str]) -> dict[Place, str]:
    """Claim dedupe keys for events.

    Args:
        firsts: the event that claims each.

    Returns:
        For each key the event that had claimed it before, or "" for one that was free.
    """
    now = utc_now()
    rows = [
        {"trigger_id": trigger_id, "key": key, "event_id": event_id, "created_at": now}
        for (trigger_id, key), event_id in sorted(firsts.items())
    ]
    written = await insert_rows(session, DedupeKey.table(), rows, "ON CONFLICT DO NOTHING", "trigger_id, key")
    new = {(trigger_id, key) for trigger_id, key in written}
    taken = [place for place in firsts if place not in new]
    return dict.fromkeys(firsts, "") | (await _claimants(session, taken) if taken else {})


_CLAIMANTS = text("""
    SELECT d.trigger_id, d.key, d.event_id FROM trigger_dedupe_keys AS d
    JOIN unnest(CAST(:triggers AS uuid[]), CAST(:keys AS text[])) AS wanted(trigger_id, key)
      ON wanted.trigger_id = d.trigger_id AND wanted.key = d.key
""")


async def _claimants(session: AsyncSession, places: list[Place]) -> dict[Place, str]:
    rows = await session.execute(_CLAIMANTS, {"triggers": [p[0] for p in places], "keys": [p[1] for p in places]})
    return {(trigger_id, key): event_id for trigger_id, key, event_id in rows.tuples()}


# Once a second at most, and not while another is at it: a busy project's requests would else wait for each other
# over a time that nobody reads so fast.
_NOTE_FIRED = text("""
    UPDATE triggers SET last_triggered = CAST(:now AS timestamptz)
    WHERE id IN (
        SELECT id FROM triggers
        WHERE id = ANY(CAST(:ids AS uuid[]))
          AND (last_triggered IS NULL OR last_triggered < CAST(:now AS timestamptz) - interval '1 second')
        FOR NO KEY UPDATE SKIP LOCKED
    )
""")


async def note_fired(session: AsyncSession, trigger_ids: set[UUID]) -> None:
    """Remember at each trigger when it fired."""
    await session.execute(_NOTE_FIRED, {"ids": sorted(trigger_ids), "now": utc_now()})
