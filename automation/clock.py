"""The clock: firings that wait for their time (debounced, delayed, at the end of a silence) fire when it has come."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy.ext.asyncio import AsyncSession

from automation.database import Database
from automation.intake import Announcer, timers
from automation.intake.decide import Match, Outcome, decide
from automation.intake.events import PastEvent
from automation.intake.matching import by_ids
from automation.models import Timer, utc_now
from automation.models.event_queries import origins_of
from automation.requests import NOWHERE
from automation.settings import Settings

log = logging.getLogger(__name__)

_AT_ONCE = 200
"""Timers that one transaction fires."""
_PAUSE = 5.0
"""Longest wait in seconds between two looks, should a NOTIFY be lost."""


class Clock:
    """Fires what is due. Any number may run side by side; each timer goes to one of them (SKIP LOCKED)."""

    def __init__(self, database: Database, settings: Settings, announcer: Announcer | None = None) -> None:
        self.database = database
        self.settings = settings
        self.announcer = announcer
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Fire until cancelled."""
        connection = await self.database.listen()
        try:
            await connection.add_listener(timers.TIMERS_CHANNEL, lambda *_: self._wake.set())
            while not connection.is_closed():
                self._wake.clear()
                while await self.round():
                    pass
                await self._sleep()
        finally:
            connection.terminate()

    async def round(self) -> int:
        """Fire what is due now; how many timers that were."""
        async with self.database.transaction() as session:
            due = await timers.due(session, _AT_ONCE)
            fired = await _fire(session, due, timers.Purpose(due[0].purpose), self.settings) if due else []
        if fired and self.announcer:
            await self.announcer.decided((match.event, match.decision) for match in fired)
        return len(due)

    async def _sleep(self) -> None:
        async with self.database.transaction() as session:
            due = await timers.next_due(session)
        pause = min(_PAUSE, (due - utc_now()).total_seconds()) if due else _PAUSE
        with suppress(TimeoutError):
            async with asyncio.timeout(max(pause, 0.01)):
                await self._wake.wait()


async def _fire(
    session: AsyncSession, due: Sequence[Timer], purpose: timers.Purpose, settings: Settings
) -> list[Match]:
    triggers = await by_ids(session, {timer.trigger_id for timer in due})
    origins = await origins_of(session, {timer.event_id for timer in due})
    matches = [
        Match(
            triggers[timer.trigger_id],
            _event(timer),
            event_count=timer.event_count,
            origin=origins.get(timer.event_id, NOWHERE),
        )
        for timer in due
    ]
    await decide(session, matches, settings, after=purpose)
    for timer, match in zip(due, matches, strict=True):
        timer.ended_at = utc_now()
        timer.status = "CANCELLED" if match.outcome == Outcome.INACTIVE else "FIRED"
        timer.execution_id = match.started.id if match.started else None
        timer.next_id = match.timer_id
        timer.outcome, timer.reason = str(match.outcome), match.reason
    return matches


def _event(timer: Timer) -> PastEvent:
    return PastEvent(
        id=timer.event_id,
        type=timer.event_type,
        project_id=timer.project_id,
        data=timer.event_data,
        occurred_at=timer.occurred_at,
        version=timer.version,
    )
