"""Credentials whose integration is gone, removed: a process died between block and row, or a project was deleted."""

import asyncio
import logging
from datetime import timedelta

from prefect.client.orchestration import PrefectClient
from sqlalchemy import select

from automation.database import Database
from automation.errors import UnavailableError
from automation.integrations import credentials
from automation.models import Integration, utc_now

INTERVAL = 600.0
"""Seconds between two rounds."""

GRACE = timedelta(minutes=10)
"""A younger block may be one whose row is just being committed."""

log = logging.getLogger(__name__)


class Sweep:
    """The loop of the service; any number may run side by side, since removing twice is removing once."""

    def __init__(self, database: Database, prefect: PrefectClient) -> None:
        self.database = database
        self.prefect = prefect

    async def run(self) -> None:
        """Sweep, again and again."""
        while True:
            try:
                await sweep(self.database, self.prefect)
            except UnavailableError as error:
                log.info("Credentials without an integration are looked for later: %s", error)
            await asyncio.sleep(INTERVAL)


async def sweep(database: Database, prefect: PrefectClient, grace: timedelta = GRACE) -> int:
    """Remove every block that is older than `grace` and has no row; how many there were.

    Raises:
        UnavailableError: Prefect does not answer.
    """
    blocks = await credentials.stored_before(prefect, utc_now() - grace)
    async with database.transaction() as session:
        known = set(await session.scalars(select(Integration.id).where(Integration.id.in_(blocks.values()))))
    orphans = {block: id_ for block, id_ in blocks.items() if id_ not in known}
    for block, id_ in orphans.items():
        await credentials.remove_block(prefect, block)
        log.info("The credentials of integration %s, which is gone, were removed.", id_)
    return len(orphans)
