"""What processes and machines use: each service and each worker tells of itself, its children and its machine.

Memory is resident memory, so that what the children of a worker share counts for each of them.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.database import Database
from automation.models import Json, ResourceSample, utc_now
from automation.models.bulk import insert_rows
from automation.steps import one_line

log = logging.getLogger(__name__)

PAUSE = 15.0
"""Seconds between two looks: one takes 1 ms of CPU, and CPU that is short for 5 minutes shows in 20 of them."""

_EMPTY: Json = dict.fromkeys(
    ("pid", "parent_pid", "cpu", "memory_bytes", "memory_share", "disk_share", "connections", "connections_share")
)

_CONNECTIONS = text("""
    SELECT count(*) FILTER (WHERE datname = current_database()) AS ours,
        count(*)::double precision / current_setting('max_connections')::int AS share
    FROM pg_stat_activity WHERE backend_type = 'client backend'
""")


class Sampler:
    """Tells every 15 s what this process uses, and its children, its machine, and the database's connections.

    Args:
        role: `service` or `worker`.
        home: a folder of the disk that counts.
        children: the process ids of those that work for this one.
    """

    def __init__(
        self, database: Database, role: str, home: Path, children: Callable[[], Iterable[int]] = tuple
    ) -> None:
        self.database = database
        self.role = role
        self.home = home
        self.children = children
        self.host = socket.gethostname()[:255]
        self._processes: dict[int, psutil.Process] = {}

    async def run(self) -> None:
        """Work until cancelled; a database that is away for a while is only told of."""
        failed = False
        while True:
            try:
                await self.look()
                failed = False
            except Exception as error:  # what is not measured now is measured next time
                if not failed:
                    log.warning("What this process uses cannot be told at the moment: %s", one_line(repr(error)))
                failed = True
            await asyncio.sleep(PAUSE)

    async def look(self) -> None:
        """Write a sample of each."""
        now = utc_now()
        rows = await asyncio.to_thread(self._look, list(self.children()))
        async with self.database.transaction() as session:
            rows.append(await _database(session))
            await insert_rows(
                session, ResourceSample.table(), [_EMPTY | {"at": now, "host": self.host} | row for row in rows]
            )

    def _look(self, children: list[int]) -> list[Json]:
        own = os.getpid()
        machine = _machine(self.home)
        if own not in self._processes:
            machine["cpu"] = None  # as below
        rows = [self._process(own, self.role, None), *(self._process(pid, "child", own) for pid in children)]
        for gone in self._processes.keys() - {own, *children}:
            del self._processes[gone]
        return [*(row for row in rows if row), machine]

    def _process(self, pid: int, role: str, parent: int | None) -> Json | None:
        """Its use since the last look; none of a process that has just ended."""
        known = self._processes.get(pid)
        try:
            process = known or psutil.Process(pid)
            used = process.cpu_percent() / 100  # since it was asked last, so that the first answer means nothing
            memory = process.memory_info().rss
        except psutil.Error:
            self._processes.pop(pid, None)
            return None
        self._processes[pid] = process
        cpu = used if known else None
        return {"role": role, "pid": pid, "parent_pid": parent, "cpu": cpu, "memory_bytes": memory}


def _machine(home: Path) -> Json:
    memory = psutil.virtual_memory()
    return {
        "role": "host",
        "cpu": psutil.cpu_percent() / 100,
        "memory_bytes": memory.total - memory.available,
        "memory_share": memory.percent / 100,
        "disk_share": psutil.disk_usage(str(home if home.exists() else home.anchor or "/")).percent / 100,
    }


async def _database(session: AsyncSession) -> Json:
    """Its connections: those to our database, and all of them as a share of what the server allows."""
    ours, share = (await session.execute(_CONNECTIONS)).tuples().one()
    return {"role": "database", "host": "", "connections": ours, "connections_share": share}
