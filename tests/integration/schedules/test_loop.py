"""The loop that keeps the deployments of scheduled workflows as they should be."""

import asyncio
import contextlib

import pytest
from prefect.client.orchestration import PrefectClient
from sqlalchemy import func, select

from automation.database import Database
from automation.models.channels import SCHEDULES_CHANNEL
from automation.schedules import Schedules
from automation.settings import Settings
from tests.integration.schedules.scheduling import deployment_of, scheduled

pytestmark = pytest.mark.usefixtures("deployed")


async def test_a_change_reaches_prefect_when_it_is_told(database: Database, prefect: PrefectClient) -> None:
    loop = asyncio.create_task(Schedules(database, prefect, Settings()).run())
    standby = asyncio.create_task(Schedules(database, prefect, Settings()).run())
    try:
        early = await scheduled(database, "0 9 * * *")
        async with asyncio.timeout(30):
            while await deployment_of(prefect, early) is None:
                await tell(database, "")
                await asyncio.sleep(0.05)
            of = await scheduled(database, "0 9 * * *")
            await tell(database, str(of))
            while await deployment_of(prefect, of) is None:
                assert not loop.done()
            loop.cancel()  # the other one takes over
            with contextlib.suppress(asyncio.CancelledError):
                await loop
            late = await scheduled(database, "0 9 * * *")
            while await deployment_of(prefect, late) is None:
                assert not standby.done()
                await tell(database, str(late))
                await asyncio.sleep(0.05)
    finally:
        for task in (loop, standby):
            task.cancel()
        await asyncio.gather(loop, standby, return_exceptions=True)


async def tell(database: Database, payload: str) -> None:
    async with database.transaction() as session:
        await session.execute(select(func.pg_notify(SCHEDULES_CHANNEL, payload)))
