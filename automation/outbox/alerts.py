"""The loop that tells administrators what they are to know at once."""

import asyncio
import logging
from collections import defaultdict
from time import monotonic

from automation.database import Database
from automation.errors import NetworkError
from automation.foundation import admin
from automation.foundation.notify import Channel, apprise_channels, notify
from automation.outbox.pace import Pace
from automation.settings import Settings

log = logging.getLogger(__name__)

_LOCK = 0x5445_4C4C  # "TELL"
_PAUSE = 1.0
"""Seconds between two looks."""


class Alerts:
    """Sends critical alerts to `AUTOMATION_ADMIN_NOTIFY_URLS`: the first of a kind at once, the next ones together
    when the cooldown is over. A channel that fails is tried again, less and less often."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.channels = apprise_channels(settings.admin_notify_urls, "AUTOMATION_ADMIN_NOTIFY_URLS")
        self._pace: defaultdict[str, Pace] = defaultdict(Pace)

    async def run(self) -> None:
        """Tell until cancelled, while this process holds the lock: so each message goes out once."""
        connection = await self.database.listen()
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                await asyncio.sleep(_PAUSE)
            while not connection.is_closed():
                await self.round()
                await asyncio.sleep(_PAUSE)
        finally:
            connection.terminate()

    async def round(self) -> None:
        """Tell what is due now."""
        async with self.database.transaction() as session:
            incidents = await admin.due(session, self.settings)
        for incident in incidents:
            await self._tell(incident)

    async def _tell(self, incident: admin.Incident) -> None:
        notice = incident.notice()

        async def tell(channel: Channel) -> None:
            pace = self._pace[channel.key]
            if monotonic() < pace.next_try:
                raise NetworkError("waits for its next try")
            try:
                await channel.deliver(notice)
            except NetworkError as error:
                log.error("The administrators could not be told by %s: %s", channel.name, error)
                pace.failed(monotonic())
                raise
            pace.worked()
            async with self.database.transaction() as session:
                await admin.channel_told(session, incident, channel.key)

        try:
            await notify([one for one in self.channels if one.key not in incident.told], tell)
        except NetworkError:
            return
        async with self.database.transaction() as session:
            await admin.all_told(session, incident)
