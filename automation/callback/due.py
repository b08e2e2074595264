"""Which deliveries are due, and what became of them. SQL only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.models import utc_now

TIMEOUT = 10.0
"""Seconds that a delivery may take in all; Studio only has to note it."""

_LEASE = timedelta(seconds=60)
"""A delivery that was taken belongs to its process for so long, several times as long as it can take. When that
process has died, the delivery is sent again, under the same id: Studio may have got it."""

BACKOFF = (
    timedelta(seconds=30),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(hours=15),
)
"""Between two tries of one delivery; used up after 23.6 hours, then it is FAILED. Soon at first, for a restart of
Studio's; later rarely, since by then a person has to mend something and has it sent again."""


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that this process is to send now; `attempts` counts this try."""

    id: UUID
    type: str
    execution_id: UUID | None
    project_id: str | None
    created_at: datetime
    attempts: int
    alert_id: UUID | None = None
    traceparent: str = ""
    """The trace that its execution belongs to."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a try came to: the status that was answered, or None; an error is empty when it was taken."""

    due: Due
    status: int | None
    error: str
    hopeless: bool = False
    """Whether there is nothing to send any more."""


_TAKE = """
    UPDATE deliveries SET attempts = attempts + 1, due_at = CAST(:leased AS timestamptz)
    WHERE id IN (
        SELECT id FROM deliveries
        WHERE status = 'PENDING' AND alert_id IS {null} AND due_at <= CAST(:now AS timestamptz)
        ORDER BY due_at LIMIT :count FOR UPDATE SKIP LOCKED
    )
    RETURNING id, type, execution_id, project_id, created_at, attempts, alert_id, coalesce(
        (SELECT traceparent FROM workflow_executions WHERE workflow_executions.id = deliveries.execution_id), '')
"""
_NEXT = "SELECT min(due_at) FROM deliveries WHERE status = 'PENDING' AND alert_id IS {null}"
_NULL = {True: "NOT NULL", False: "NULL"}
"""By whether they are of alerts, as the two indexes are."""

# guarded by the number of the try: who sent it again meanwhile, or wants it sent again, knows better
_NOTE = text("""
    UPDATE deliveries SET status = CAST(:status AS text), due_at = CAST(:due_at AS timestamptz),
        delivered_at = CASE WHEN CAST(:status AS text) = 'DELIVERED' THEN CAST(:now AS timestamptz) END,
        last_status = :last_status, last_error = :last_error
    WHERE id = :id AND status = 'PENDING' AND attempts = :attempts
""")


async def take(session: AsyncSession, count: int, of_alerts: bool = False) -> list[Due]:
    """Up to `count` deliveries that are due, which nobody else takes for a minute; ix_deliveries_due_at,
    ix_deliveries_alerts_due_at."""
    now = utc_now()
    statement = text(_TAKE.format(null=_NULL[of_alerts]))
    rows = await session.execute(statement, {"now": now, "leased": now + _LEASE, "count": count})
    return [Due(*row) for row in rows]


async def next_due(session: AsyncSession, of_alerts: bool = False) -> datetime | None:
    """When the next delivery is due; ix_deliveries_due_at, ix_deliveries_alerts_due_at."""
    due: datetime | None = await session.scalar(text(_NEXT.format(null=_NULL[of_alerts])))
    return due


async def note(session: AsyncSession, answered: Sequence[Answered]) -> None:
    """Write down what tries came to, and when those that were not taken are tried again."""
    now = utc_now()
    for one in sorted(answered, key=lambda one: one.due.id):
        status, due_at = _after(one, now)
        await session.execute(
            _NOTE,
            {
                "id": one.due.id,
                "attempts": one.due.attempts,
                "status": status,
                "due_at": due_at,
                "now": now,
                "last_status": one.status,
                "last_error": one.error,
            },
        )


def _after(one: Answered, now: datetime) -> tuple[str, datetime]:
    if not one.error:
        return "DELIVERED", now
    if one.hopeless or one.due.attempts > len(BACKOFF):
        return "FAILED", now
    return "PENDING", now + BACKOFF[one.due.attempts - 1]
