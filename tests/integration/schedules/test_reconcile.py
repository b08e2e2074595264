"""Scheduled workflows have a deployment each in a real Prefect server, whatever happened to it or to them."""

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun as PrefectRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.states import Crashed
from sqlalchemy import delete, update

from automation.database import Database
from automation.models import Trigger, Workflow, WorkflowDeployment, utc_now
from automation.schedules.catch_up import catch_up
from automation.schedules.reconcile import Reconciler
from automation.settings import Settings
from automation.triggers.slots import slots
from tests.integration import rows
from tests.integration.schedules.scheduling import (
    HOUR,
    backfill,
    change,
    deployment_of,
    existing,
    runs_of,
    scheduled,
    trigger,
    triggers_of,
)

pytestmark = pytest.mark.usefixtures("deployed")


def crons(deployment: DeploymentResponse) -> dict[str, tuple[str, str, bool]]:
    return {
        str(one.slug): (one.schedule.cron, one.schedule.timezone, one.active)
        for one in deployment.schedules
        if hasattr(one.schedule, "cron")
    }


@contextlib.asynccontextmanager
async def away() -> AsyncIterator[PrefectClient]:
    """A client of a Prefect server that does not answer."""
    async with PrefectClient("http://127.0.0.1:9/api") as client:
        yield client


async def test_a_scheduled_workflow_has_a_deployment_of_its_own_like_that_of_its_kind(
    database: Database, prefect: PrefectClient
) -> None:
    of = await scheduled(database, "0 9 * * *", timezone="Europe/Paris", config={"concurrency_limit": 2})
    [only] = await triggers_of(database, of)

    assert await Reconciler(database, prefect).reconcile({of}) == set()

    made = await existing(prefect, of)
    kinds = await prefect.read_deployment_by_name("custom-workflow/custom-workflow")
    for name in ("flow_id", "entrypoint", "path", "pull_steps", "work_pool_name", "work_queue_name"):
        assert getattr(made, name) == getattr(kinds, name)
    assert made.description == "W custom-workflow"
    assert set(made.tags) == {"automation", f"workflow:{of}", "project:p1"}
    assert made.parameters == {}
    assert made.global_concurrency_limit is not None
    assert made.global_concurrency_limit.limit == 2
    assert made.concurrency_options is not None
    assert made.concurrency_options.collision_strategy == "ENQUEUE"
    assert crons(made) == {str(only.id): ("0 9 * * *", "Europe/Paris", True)}
    assert made.schedules[0].parameters == {"workflow_id": str(of), "trigger_data": {"trigger_id": str(only.id)}}
    [row] = await rows.every(database, WorkflowDeployment)
    assert (row.workflow_id, row.deployment_id) == (of, made.id)


async def test_what_has_not_changed_costs_no_call(database: Database, prefect: PrefectClient) -> None:
    of = await scheduled(database, "0 9 * * *")
    plain = await scheduled(database)
    reconciler = Reconciler(database, prefect)
    await reconciler.reconcile({of})

    async with away() as gone:
        reconciler.prefect = gone
        assert await reconciler.reconcile({of, plain, uuid4()}) == set()
        await change(database, (await triggers_of(database, of))[0].id, config={"cron": "1 9 * * *"})
        assert await reconciler.reconcile({of}) == {of}


async def test_a_changed_schedule_takes_none_of_the_others_slots(database: Database, prefect: PrefectClient) -> None:
    of = await scheduled(database, "0 * * * *", "30 * * * *")
    first, second = await triggers_of(database, of)
    reconciler = Reconciler(database, prefect)
    await reconciler.reconcile({of})
    deployment = await existing(prefect, of)
    [by_hand] = await prefect.create_deployment_schedules(
        deployment.id, [(IntervalSchedule(interval=timedelta(hours=5)), True)]
    )
    await backfill(prefect, of, utc_now(), utc_now() + 4 * HOUR)

    def slots_of(trigger_id: UUID, runs: list[PrefectRun]) -> set[datetime]:
        return {
            run.expected_start_time
            for run in runs
            if run.parameters.get("trigger_data") == {"trigger_id": str(trigger_id)} and run.expected_start_time
        }

    assert len(slots_of(first.id, await runs_of(prefect, deployment.id))) >= 3
    for values in ({"config": {"cron": "15 * * * *"}}, {"is_active": False}):
        await change(database, second.id, **values)
        await reconciler.reconcile({of})
        # at once, not when Prefect's scheduler comes by
        assert len(slots_of(first.id, await runs_of(prefect, deployment.id))) >= 3
    async with database.transaction() as session:
        await session.execute(delete(Trigger).where(Trigger.id == second.id))
    await reconciler.reconcile({of})

    runs = await runs_of(prefect, deployment.id)
    assert slots_of(first.id, runs) >= set(slots("0 * * * *", "UTC", utc_now(), utc_now() + 3 * HOUR))
    assert slots_of(second.id, runs) == set()
    assert {one.id for one in (await existing(prefect, of)).schedules} >= {by_hand.id}


async def test_schedules_are_changed_paused_and_removed_with_their_triggers(
    database: Database, prefect: PrefectClient
) -> None:
    of = await scheduled(database, "0 9 * * *", "0 10 * * *")
    one, other = (str(found.id) for found in await triggers_of(database, of))
    reconciler = Reconciler(database, prefect)

    async def seen() -> dict[str, tuple[str, str, bool]]:
        await reconciler.reconcile({of})
        return crons(await existing(prefect, of))

    assert await seen() == {one: ("0 9 * * *", "UTC", True), other: ("0 10 * * *", "UTC", True)}
    await change(database, UUID(one), config={"cron": "5 9 * * *", "timezone": "America/New_York"})
    assert await seen() == {one: ("5 9 * * *", "America/New_York", True), other: ("0 10 * * *", "UTC", True)}
    await change(database, UUID(one), is_active=False)
    assert (await seen())[one][2] is False
    await change(database, UUID(one), is_active=True)
    async with database.transaction() as session:
        await session.execute(update(Workflow).where(Workflow.id == of).values(is_active=False, name="Renamed"))
    assert [active for _, _, active in (await seen()).values()] == [False, False]
    assert (await existing(prefect, of)).description == "Renamed"
    async with database.transaction() as session:
        await session.execute(update(Workflow).where(Workflow.id == of).values(is_active=True))
        await session.execute(delete(Trigger).where(Trigger.id == UUID(other)))
    third = str(await trigger(database, of, "0 12 * * 1"))
    assert await seen() == {one: ("5 9 * * *", "America/New_York", True), third: ("0 12 * * 1", "UTC", True)}


@pytest.mark.parametrize("how", ["deleted", "archived", "no trigger"])
async def test_a_deployment_goes_with_its_workflow_and_its_runs_stay(
    database: Database, prefect: PrefectClient, how: str
) -> None:
    of = await scheduled(database, "0 9 * * *")
    reconciler = Reconciler(database, prefect)
    await reconciler.reconcile({of})
    deployment = await existing(prefect, of)
    run = await prefect.create_flow_run_from_deployment(deployment.id)
    await prefect.set_flow_run_state(run.id, Crashed(), force=True)
    async with database.transaction() as session:
        if how == "deleted":
            await session.execute(delete(Workflow).where(Workflow.id == of))
        elif how == "archived":
            await session.execute(update(Workflow).where(Workflow.id == of).values(archived_at=utc_now()))
        else:
            await session.execute(delete(Trigger).where(Trigger.workflow_id == of))

    assert await reconciler.reconcile({of}) == set()

    assert await deployment_of(prefect, of) is None
    assert await rows.every(database, WorkflowDeployment) == []
    assert (await prefect.read_flow_run(run.id)).id == run.id


async def test_what_people_and_crashes_left_in_prefect_is_put_right(database: Database, prefect: PrefectClient) -> None:
    reconciler = Reconciler(database, prefect)
    fine, changed, removed, lost = [await scheduled(database, "0 9 * * *") for _ in range(4)]
    everything = {fine, changed, removed, lost}
    await reconciler.reconcile(everything)
    before = {of: await existing(prefect, of) for of in everything}
    [schedule] = before[changed].schedules
    await prefect.update_deployment_schedule(before[changed].id, schedule.id, active=False)
    await prefect.delete_deployment(before[removed].id)
    async with database.transaction() as session:
        # as if we had died between Prefect's answer and our commit
        await session.execute(delete(WorkflowDeployment).where(WorkflowDeployment.workflow_id == lost))
    orphan = await scheduled(database, "0 9 * * *")
    await reconciler.reconcile({orphan})
    async with database.transaction() as session:
        await session.execute(delete(Workflow).where(Workflow.id == orphan))

    fresh = Reconciler(database, prefect)  # another process, which has seen none of that
    differing = await fresh.refresh()
    assert differing & {fine, changed, removed, lost, orphan} == {changed, removed, orphan}
    assert await fresh.reconcile(differing) == set()

    assert await deployment_of(prefect, orphan) is None
    after = {of: await existing(prefect, of) for of in everything}
    assert [after[of].id == before[of].id for of in (fine, changed, removed, lost)] == [True, True, False, True]
    assert all(one.schedules[0].active for one in after.values())
    assert {row.workflow_id: row.deployment_id for row in await rows.every(database, WorkflowDeployment)} == {
        of: one.id for of, one in after.items()
    }
    assert await fresh.refresh() == set()


async def test_the_platforms_own_schedules_stay_in_prefect_yaml(database: Database, prefect: PrefectClient) -> None:
    of = await rows.workflow(database, project_id=None, kind="cleanup")
    await trigger(database, of, "0 2 * * *", last_slot=utc_now() - 24 * HOUR)

    assert of not in await Reconciler(database, prefect).refresh()
    assert await catch_up(database, prefect, Settings()) == 0
