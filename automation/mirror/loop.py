"""The mirror's loop. One process holds it by an advisory lock; when that one dies, another takes over."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import monotonic
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowFilterId
from prefect.client.schemas.objects import FlowRun as PrefectRun

from automation.database import Database
from automation.mirror import logs, reaper, settle, states
from automation.models import utc_now
from automation.prefect_events import send
from automation.settings import Settings

log = logging.getLogger(__name__)

_LOCK = 0x4D49_5252  # "MIRR"
_WINDOWS = 5.0
"""Seconds between two readings of runs that others made (cron, Prefect's UI)."""
_WAITING = 15.0
"""Seconds between two readings of runs that others made and nobody has begun: hundreds, when many crons are due."""
_SWEEP = 24 * 3600.0
"""Seconds between two sweeps over what ended in the last days, for states that somebody changed after the end."""
_SWEEP_REACH = timedelta(days=2)


class Mirror:
    """Keeps `flow_runs` and the logs in line with Prefect, and ends what is lost."""

    def __init__(self, database: Database, prefect: PrefectClient, settings: Settings) -> None:
        self.database = database
        self.prefect = prefect
        self.settings = settings
        self._kinds: dict[UUID, str] = {}
        self._done: dict[str, float] = {}

    async def run(self) -> None:
        """Mirror until cancelled, while this process holds the lock."""
        connection = await self.database.listen()
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                await asyncio.sleep(2)
            # a reaper that starts after an outage would find every lease expired: give them time to be renewed
            self._done["reap"] = monotonic() + self.settings.lease_seconds
            while not connection.is_closed():
                await self.round()
                await asyncio.sleep(self.settings.mirror_interval)
        finally:
            connection.terminate()

    async def round(self) -> None:
        """One look at everything that is due to be looked at."""
        await self.read_open(waiting=False)
        await self._every("waiting", _WAITING, self.read_open)
        await self._every("windows", _WINDOWS, self.read_windows)
        await self._every("sweep", _SWEEP, self.sweep)
        async with self.database.transaction() as session:
            failed = await settle.settle_ended(session, self.settings)
        await send(self.prefect, failed)
        await self._every("reap", self.settings.lease_seconds / 6, self._reap)
        await logs.copy(self.database, self.prefect)

    async def read_open(self, waiting: bool = True) -> None:
        """Read by id every run that is open in our table; not `waiting`: only those that somebody has begun, or that
        we made."""
        async with self.database.transaction() as session:
            ids = await states.open_ids(session, waiting=waiting)
        if not ids:
            return
        runs = await states.read_by_id(self.prefect, ids)
        await self._store(runs)
        if gone := set(ids) - {run.id for run in runs}:
            async with self.database.transaction() as session:
                await states.vanished(session, list(gone))

    async def read_windows(self) -> None:
        """Read the runs that others made: those that were to start, and those that ended, since last time."""
        now = utc_now()
        async with self.database.transaction() as session:
            started = await states.position(session, "started")
            ended = await states.position(session, "ended")
        async for page in states.read_started(self.prefect, started - states.OVERLAP, now):
            await self._store(page)
        async for page in states.read_ended(self.prefect, ended - states.OVERLAP, now):
            await self._store(page)
        async with self.database.transaction() as session:
            await states.advance(session, "started", now)
            await states.advance(session, "ended", now)
            await states.drop_orphans(session)

    async def sweep(self) -> None:
        """Read again what ended lately: somebody may have set a state after the end."""
        now = utc_now()
        async for page in states.read_ended(self.prefect, now - _SWEEP_REACH, now):
            await self._store(page)

    async def _reap(self) -> None:
        await reaper.reap(self.database, self.prefect, self.settings)

    async def _store(self, runs: list[PrefectRun]) -> None:
        unknown = {run.flow_id for run in runs} - self._kinds.keys()
        if unknown:
            chosen = FlowFilter(id=FlowFilterId(any_=list(unknown)))
            self._kinds |= {flow.id: flow.name for flow in await self.prefect.read_flows(flow_filter=chosen)}
        async with self.database.transaction() as session:
            await states.store(session, runs, self._kinds)
        async with self.database.transaction() as session:
            await states.request_cancels(session, runs)

    async def _every(self, name: str, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        if monotonic() - self._done.get(name, float("-inf")) >= seconds:
            await action()
            self._done[name] = monotonic()
