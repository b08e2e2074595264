"""What administrators are to know at once: rows of `alerts`, sent by the service to `AUTOMATION_ADMIN_NOTIFY_URLS`.

Whoever notices it only writes the row, so that nothing waits for a message or fails with it.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.database import Database
from automation.foundation.notify import Notice
from automation.models import Alert, utc_now
from automation.settings import Settings
from automation.steps import one_line

log = logging.getLogger(__name__)

CRITICAL = "CRITICAL"
_STALE = timedelta(days=1)
"""What nobody could be told of for so long is not told any more."""
_PATIENCE = 2.0
"""Seconds that `tell_admins` waits for the database."""


def admin_alert(
    key: str, title: str, body: str, *, execution_id: UUID | None = None, project_id: str | None = None
) -> Alert:
    """The row of an incident, for a transaction of the caller's own: what it records there, the administrators hear.

    Args:
        key: names the kind of incident; the cooldown is for each key. At most 100 characters.
        title: one line; what is wrong.
        body: what happened and what to do.
    """
    return Alert(
        rule=key,
        severity=CRITICAL,
        message=one_line(title),
        details={"body": body},
        execution_id=execution_id,
        project_id=project_id,
    )


async def tell_admins(database: Database, settings: Settings, *, key: str, title: str, body: str) -> None:
    """Have the administrators told, from where there is no transaction. Nothing is raised, and at most 2 s waited.

    Args: as of `admin_alert`.
    """
    try:
        async with asyncio.timeout(_PATIENCE), database.transaction() as session:
            session.add(admin_alert(key, title, body))
    except Exception as error:
        log.critical("%s: %s (the administrators could not be told: %s)", one_line(title), one_line(body), error)


@dataclass(frozen=True, slots=True)
class Incident:
    """What one message tells: the first incident of its key that nobody was told of, and how many more there are.

    Attributes:
        told: keys of the channels that have taken this message already.
        until: the latest that is counted.
    """

    alert: Alert
    more: int
    until: datetime

    @property
    def told(self) -> Sequence[str]:
        return list(self.alert.details.get("told", ()))

    def notice(self) -> Notice:
        """The message."""
        since = f"{self.alert.created_at:%Y-%m-%d %H:%M:%S} UTC"
        parts = [str(self.alert.details.get("body", "")), f"Seen at {since}."]
        if self.more:
            parts.append(f"{self.more} more of this kind ({self.alert.rule}) were held back since then.")
        if self.alert.execution_id:
            parts.append(f"Execution {self.alert.execution_id}, project {self.alert.project_id or '–'}.")
        return Notice(self.alert.message, "\n\n".join(filter(None, parts)), f"alert:{self.alert.id}")


async def due(session: AsyncSession, settings: Settings) -> list[Incident]:
    """What the administrators are to be told of now: of each key one message, its cooldown being over."""
    now = utc_now()
    untold = (Alert.notified_at.is_(None), Alert.severity == CRITICAL, Alert.created_at > now - _STALE)
    counts = select(Alert.rule, func.count(), func.max(Alert.created_at)).where(*untold).group_by(Alert.rule)
    found = []
    for key, count, latest in (await session.execute(counts)).tuples():
        last = await session.scalar(select(func.max(Alert.notified_at)).where(Alert.rule == key))
        if last is not None and now < last + timedelta(seconds=settings.admin_notify_cooldown):
            continue
        first = select(Alert).where(*untold, Alert.rule == key).order_by(Alert.created_at, Alert.id).limit(1)
        alert = await session.scalar(first)
        if alert is not None:
            found.append(Incident(alert, count - 1, latest))
    return found


async def channel_told(session: AsyncSession, incident: Incident, channel_key: str) -> None:
    """Remember that a channel took the message, so that it does not get it again when another one fails."""
    incident.alert.details = incident.alert.details | {"told": [*incident.told, channel_key]}
    change = update(Alert).where(Alert.id == incident.alert.id)
    await session.execute(change.values(details=incident.alert.details))


async def all_told(session: AsyncSession, incident: Incident) -> None:
    """The message has gone out by every channel: it, and what it counts, is told."""
    same = (Alert.rule == incident.alert.rule, Alert.notified_at.is_(None), Alert.created_at <= incident.until)
    await session.execute(update(Alert).where(*same).values(notified_at=utc_now()))
