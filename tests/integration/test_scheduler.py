"""Prefect's scheduler works with the pinned SQLAlchemy: with 2.1 it would die silently, and nothing would ever run."""

import asyncio
from datetime import timedelta

import sqlalchemy
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.schedules import IntervalSchedule


async def test_a_schedule_makes_runs(deployed: None, prefect: PrefectClient) -> None:
    deployment = await prefect.read_deployment_by_name("cleanup/cleanup")
    every_ten = DeploymentScheduleCreate(
        schedule=IntervalSchedule(interval=timedelta(seconds=10)), active=True, slug="every-ten-seconds"
    )
    [schedule] = await prefect.create_deployment_schedules(deployment.id, [every_ten])
    try:
        chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
        async with asyncio.timeout(90):  # the scheduler looks every few seconds, and once a minute at everything
            while not [
                run
                for run in await prefect.read_flow_runs(deployment_filter=chosen)
                if run.auto_scheduled and run.created_by and run.created_by.id == schedule.id
            ]:
                await asyncio.sleep(0.2)
    finally:
        await prefect.delete_deployment_schedule(deployment.id, schedule.id)


def test_the_installed_sqlalchemy_is_one_that_prefect_can_schedule_with() -> None:
    assert sqlalchemy.__version__.startswith("2.0.")
