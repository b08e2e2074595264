"""The loop of the schedules. One process holds it by an advisory lock; when that one dies, another takes over."""

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient

from automation.database import Database
from automation.models.channels import SCHEDULES_CHANNEL
from automation.schedules.catch_up import catch_up
from automation.schedules.reconcile import Reconciler
from automation.settings import Settings

_LOCK = 0x5343_4844  # "SCHD"
_CATCH_UP = 15.0
"""Seconds between two looks for missed slots."""
_RETRY = 60.0
"""Seconds until a deployment that Prefect did not take is tried again."""
_AT_ONCE = 20
"""Deployments that are changed between two looks at the clock; one costs Prefect's server some 50 ms."""


class Schedules:
    """Keeps the deployments of scheduled workflows in line with our rows, and sees to it that no slot is lost."""

    def __init__(self, database: Database, prefect: PrefectClient, settings: Settings) -> None:
        self.database = database
        self.prefect = prefect
        self.settings = settings
        self.reconciler = Reconciler(database, prefect)
        self._changed: set[UUID] = set()
        self._refresh = True
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled, while this process holds the lock."""
        connection = await self.database.listen()
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                await asyncio.sleep(2)
            await connection.add_listener(SCHEDULES_CHANNEL, self._hear)
            self._refresh = True
            caught_up = float("-inf")
            while not connection.is_closed():
                if monotonic() - caught_up >= _CATCH_UP:
                    await catch_up(self.database, self.prefect, self.settings)
                    caught_up = monotonic()
                await self._sleep(caught_up + _CATCH_UP - monotonic())
                await self.round()
        finally:
            connection.terminate()

    async def round(self) -> None:
        """Bring some of the deployments that may have changed in line."""
        self._wake.clear()
        if self._refresh:
            self._refresh = False
            self._changed |= await self.reconciler.refresh()
        some = [self._changed.pop() for _ in range(min(_AT_ONCE, len(self._changed)))]
        if some and (failed := await self.reconciler.reconcile(some)):
            asyncio.get_running_loop().call_later(_RETRY, self._again, failed)

    def _hear(self, *notification: Any) -> None:
        """A workflow's id; anything else is all of them."""
        try:
            self._changed.add(UUID(notification[-1]))
        except ValueError:
            self._refresh = True
        self._wake.set()

    def _again(self, failed: set[UUID]) -> None:
        self._changed |= failed
        self._wake.set()

    async def _sleep(self, seconds: float) -> None:
        if not self._changed and not self._refresh:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(seconds, 0)):
                    await self._wake.wait()
