"""What is told when the database does not answer: all else of alerting stands in it.

Each process tells for itself, by Apprise alone, and notes the incident when the database is back.
"""

import asyncio
import logging
from datetime import datetime
from time import monotonic

from sqlalchemy import text

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
"""Seconds until a message that no channel took is tried again."""


class DatabaseWatch:
    """Asks the database for a sign of life, and tells when there has been none for as long as the rule says."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        rules: Rules = in_force(settings.alerts_file)
        self.watched = [(name, rule) for name, rule in rules.enabled().items() if rule.type == "database_away"]
        self._runbook = rules.runbook
        self._channels = {
            name: [
                channel
                for group in rules.channels_of(rule)
                for channel in (admin_channels(settings) if group == "admins" else team_channels(settings))
            ]
            for name, rule in self.watched
        }
        self._told: set[str] = set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while self.watched:
            if (error := await self._ask()) is not None:
                await self._outage(error)
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

    async def _outage(self, error: str) -> None:
        """From the first question without an answer to the first with one."""
        since, began, tried = utc_now(), monotonic(), float("-inf")
        last: str | None = error
        self._told.clear()
        while last is not None:
            error = last
            lasted = monotonic() - began
            if monotonic() - tried >= _AGAIN:
                for name, rule in self.watched:
                    if name not in self._told and lasted >= rule.for_seconds:
                        tried = monotonic()
                        await self._tell_away(name, rule, error, since)
            await asyncio.sleep(_PAUSE)
            last = await self._ask()
        for name, rule in self.watched:
            if name in self._told:
                await self._tell_back(name, rule, error, since)

    async def _tell_away(self, name: str, rule: Rule, error: str, since: datetime) -> None:
        log.critical("%s since %s: %s", rule.title, f"{since:%H:%M:%S} UTC", error)
        body = f"{error}\n\nSince {since:%Y-%m-%d %H:%M:%S} UTC. What to do: {rule.todo}\n\n{self._runbook}#{name}"
        if await self._tell(name, Notice(f"{rule.severity}: {rule.title}", body, "")):
            self._told.add(name)

    async def _tell_back(self, name: str, rule: Rule, error: str, since: datetime) -> None:
        now = utc_now()
        log.warning("The database answers again.")
        await self._tell(name, Notice(f"Over: {rule.title}", f"From {since:%H:%M:%S} to {now:%H:%M:%S} UTC.", ""))
        alert = Alert(
            rule=name,
            state=AlertState.RESOLVED,
            severity=rule.severity,
            message=f"{rule.title}: {error}",
            details={"threshold": f"{rule.for_seconds:g} s"},
            created_at=since,
            fired_at=since,
            last_seen_at=now,
            resolved_at=now,
            notified_at=since,
            over_notified_at=now,
        )
        async with self.database.transaction() as session:
            session.add(alert)

    async def _tell(self, name: str, notice: Notice) -> bool:
        """Whether everybody was told (also when there is nobody)."""

        async def tell(channel: Channel) -> None:
            await channel.deliver(notice)

        try:
            await notify(self._channels[name], tell)
        except NetworkError as error:
            log.error("Not everybody could be told: %s", one_line(str(error)))
            return False
        return True
