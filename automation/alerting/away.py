"""What is told when the database does not answer: all else of alerting stands in it.

Each process tells for itself that it is away, by Apprise alone. When it is back, the incident goes into the table, and
those who were told hear as of any other that it is over.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert

from automation.alerting.incidents import clean
from automation.alerting.rules import Rule, Rules, in_force
from automation.database import Database
from automation.errors import NetworkError
from automation.foundation.notify import Channel, Notice, admin_channels, notify, team_channels
from automation.models import Alert, AlertState, utc_now
from automation.settings import Settings
from automation.steps import one_line

log = logging.getLogger(__name__)

_PAUSE = 5.0
_TIMEOUT = 10.0
"""Seconds after which an answer counts as none."""
_AGAIN = 60.0
"""Seconds until a channel that did not take the message is tried again."""


@dataclass(slots=True)
class _Incident:
    """What a rule has seen of an outage that has lasted long enough for it.

    Attributes:
        told: when each channel, by its key, took the message.
        tried: when the others were tried last, on the monotonic clock.
    """

    fired_at: datetime
    id: UUID = field(default_factory=uuid4)
    told: dict[str, datetime] = field(default_factory=dict)
    tried: float = float("-inf")


@dataclass(slots=True)
class _Outage:
    """From the first question without an answer; `began` is the same moment on the monotonic clock."""

    error: str
    since: datetime = field(default_factory=utc_now)
    began: float = field(default_factory=monotonic)
    incidents: dict[str, _Incident] = field(default_factory=dict)


class DatabaseWatch:
    """Asks the database for a sign of life, and tells when there has been none for as long as the rule says."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.rules: Rules = in_force(settings.alerts_file)
        self.watched = [(name, rule) for name, rule in self.rules.enabled().items() if rule.type == "database_away"]
        self._channels = {"admins": admin_channels(settings), "team": team_channels(settings)}
        self._outage: _Outage | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        while self.watched:
            error = await self._ask()
            if error is not None:
                await self._is_away(error)
            elif self._outage is not None:
                await self._is_back(self._outage)
                self._outage = None
            await asyncio.sleep(_PAUSE)
        await asyncio.Event().wait()

    async def _ask(self) -> str | None:
        """Why the database did not answer, or None."""
        try:
            async with asyncio.timeout(_TIMEOUT), self.database.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except Exception as error:
            return one_line(f"{type(error).__name__}: {error}")[:300]
        return None

    async def _is_away(self, error: str) -> None:
        outage = self._outage = self._outage or _Outage(error)
        outage.error = error
        for name, rule in self.watched:
            if monotonic() - outage.began < rule.for_seconds:
                continue
            if name not in outage.incidents:
                log.critical("%s since %s: %s", rule.title, f"{outage.since:%H:%M:%S} UTC", error)
                outage.incidents[name] = _Incident(fired_at=utc_now())
            await self._tell(name, rule, outage, outage.incidents[name])

    async def _tell(self, name: str, rule: Rule, outage: _Outage, incident: _Incident) -> None:
        """Tell those who do not know yet, as far as it is time to."""
        missing = [one for one in self._channels_of(rule) if one.key not in incident.told]
        soon = monotonic() - incident.tried < _AGAIN
        if not missing or soon or self.rules.are_quiet(rule.severity, utc_now()):
            return
        incident.tried = monotonic()
        since, runbook = f"{outage.since:%Y-%m-%d %H:%M:%S} UTC", f"{self.rules.runbook}#{name}"
        body = f"{clean(outage.error)}\n\nSince {since}. What to do: {rule.todo}\n\n{runbook}"
        notice = Notice(f"{rule.severity}: {rule.title}", body, "")

        async def tell(channel: Channel) -> None:
            await channel.deliver(notice)
            incident.told[channel.key] = utc_now()

        try:
            await notify(missing, tell)
        except NetworkError as error:
            log.error("Not everybody could be told: %s", one_line(str(error)))

    def _channels_of(self, rule: Rule) -> Sequence[Channel]:
        return [channel for group in self.rules.channels_of(rule) for channel in self._channels.get(group, ())]

    async def _is_back(self, outage: _Outage) -> None:
        """Note what has fired; the alerting tells that it is over, and tries again who is away."""
        now = utc_now()
        rows = [
            {
                "id": incident.id,
                "rule": name,
                "state": AlertState.RESOLVED,
                "severity": rule.severity,
                "message": clean(f"{rule.title}: {outage.error}"),
                "details": {"threshold": f"{rule.for_seconds:g} s"},
                "created_at": outage.since,
                "fired_at": incident.fired_at,
                "last_seen_at": now,
                "resolved_at": now,
                "notified_at": min(incident.told.values(), default=None),
                "recipients": [{"channel": key} for key in incident.told],
            }
            for name, rule in self.watched
            if (incident := outage.incidents.get(name))
        ]
        if rows:
            log.warning("The database answers again.")
            # noted already, when the answer to that was lost
            statement = insert(Alert).values(rows).on_conflict_do_nothing()
            async with self.database.transaction() as session:
                await session.execute(statement)
