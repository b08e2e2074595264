"""Failures by their cause: the groups that fingerprints make, and how often each came up."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.models import ErrorCount, ErrorGroup, Json
from automation.models.bulk import insert_rows
from automation.monitoring.fingerprints import fingerprint, step_of, template

MOST_GROUPS = 5000
"""Groups that are kept apart; what comes on top, as when every message is another, counts as OTHER of its class."""

OTHER = "(other messages)"

_SEEN = text("""
    SELECT e.execution_id, e.ended_at, e.error_code, e.error_message, coalesce(nullif(e.step, ''), d.failed_step, '')
    FROM endings AS e LEFT JOIN dead_letters AS d ON d.execution_id = e.execution_id AND e.status = 'FAILED'
    WHERE e.id = ANY(CAST(:ids AS bigint[])) AND e.status IN ('FAILED', 'RETRYING')
""")


@dataclass(slots=True)
class Group:
    """Failures of one fingerprint, and the minutes in which they came up."""

    fingerprint: str
    error_code: str
    step: str
    message: str
    first_seen: datetime
    last_seen: datetime
    execution_id: UUID
    minutes: dict[datetime, int]


Failure = tuple[UUID, datetime, str, str, str]
"""Execution, time, error code, message, step."""


def grouped(failures: Iterable[Failure]) -> dict[str, Group]:
    """Failures by their fingerprint; pure."""
    groups: dict[str, Group] = {}
    for execution_id, at, code, message, step in failures:
        kind = (code, step_of(step), template(message))
        key = fingerprint(*kind)
        minute = at.astimezone(UTC).replace(second=0, microsecond=0)
        _add(groups, Group(key, *kind, at, at, execution_id, {minute: 1}))
    return groups


def _add(groups: dict[str, Group], more: Group) -> None:
    """Put a group to the one of its fingerprint."""
    one = groups.setdefault(more.fingerprint, more)
    if one is more:
        return
    for minute, times in more.minutes.items():
        one.minutes[minute] = one.minutes.get(minute, 0) + times
    one.first_seen = min(one.first_seen, more.first_seen)
    if more.last_seen >= one.last_seen:
        one.last_seen, one.execution_id = more.last_seen, more.execution_id


async def seen_errors(session: AsyncSession, ids: Sequence[int]) -> dict[str, Group]:
    """The failures among these endings."""
    rows: Sequence[Row[Any]] = (await session.execute(_SEEN, {"ids": ids})).all()
    # a storm of long messages takes a moment
    return await asyncio.to_thread(grouped, [(*row,) for row in rows]) if rows else {}


async def note_errors(session: AsyncSession, groups: dict[str, Group]) -> None:
    """Add failures to what is known of their groups: in one order, as two may do it at once."""
    if not groups:
        return
    known = set(await session.scalars(select(ErrorGroup.fingerprint).where(ErrorGroup.fingerprint.in_(groups))))
    kept = await session.scalar(select(func.count()).select_from(ErrorGroup)) or 0
    groups = bounded(groups, known, MOST_GROUPS - kept)
    await insert_rows(
        session,
        ErrorGroup.table(),
        [
            {name: getattr(one, name) for name in ErrorGroup.table().c.keys()}  # noqa: SIM118 (columns, not a dict)
            for _, one in sorted(groups.items())
        ],
        "ON CONFLICT (fingerprint) DO UPDATE SET last_seen = greatest(error_groups.last_seen, excluded.last_seen), "
        "first_seen = least(error_groups.first_seen, excluded.first_seen), execution_id = CASE "
        "WHEN excluded.last_seen >= error_groups.last_seen THEN excluded.execution_id "
        "ELSE error_groups.execution_id END",
    )
    await insert_rows(
        session,
        ErrorCount.table(),
        sorted(
            (row for one in groups.values() for row in _counts(one)), key=itemgetter("resolution", "at", "fingerprint")
        ),
        "ON CONFLICT (resolution, at, fingerprint) DO UPDATE SET count = error_counts.count + excluded.count",
    )


def bounded(groups: dict[str, Group], known: Collection[str], room: int) -> dict[str, Group]:
    """The groups with the new ones that there is no room for made one of each class; pure."""
    kept: dict[str, Group] = {}
    for key, one in groups.items():
        room -= key not in known
        if key not in known and room < 0:
            other = fingerprint(one.error_code, "", OTHER)
            one = replace(one, fingerprint=other, step="", message=OTHER)
        _add(kept, one)
    return kept


def _counts(one: Group) -> Iterable[Json]:
    counts: Counter[tuple[str, datetime]] = Counter()
    for minute, times in one.minutes.items():
        hour = minute.replace(minute=0)
        for begin in (("minute", minute), ("hour", hour), ("day", hour.replace(hour=0))):
            counts[begin] += times
    for (resolution, at), times in counts.items():
        yield {"resolution": resolution, "at": at, "fingerprint": one.fingerprint, "count": times}
