"""A deployment of a workflow's own carries what the dispatcher and people in Prefect start."""

from datetime import timedelta
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.schedules import IntervalSchedule

from automation.database import Database
from automation.dispatcher import Dispatcher
from automation.models import Status, utc_now
from automation.schedules.reconcile import Reconciler
from automation.settings import Settings
from tests.integration import flows, rows
from tests.integration.schedules.scheduling import backfill, executions, existing, runs_of, scheduled

pytestmark = pytest.mark.usefixtures("deployed")


async def test_any_workflow_may_ask_for_a_deployment_which_then_carries_its_runs(
    database: Database, prefect: PrefectClient
) -> None:
    of = await scheduled(database, config={"own_deployment": True, "concurrency_limit": 1})
    await Reconciler(database, prefect).reconcile({of})
    own = await existing(prefect, of)
    await rows.execution(database, of)

    assert await Dispatcher(database, prefect, Settings()).round() == 1
    assert len(await runs_of(prefect, own.id)) == 1

    await prefect.delete_deployment(own.id)
    second = await rows.execution(database, of)
    dispatcher = Dispatcher(database, prefect, Settings())
    assert await dispatcher.round() == 1
    run = await rows.stored_run(database, (await rows.stored(database, second)).flow_run_id or uuid4())
    kinds = await prefect.read_deployment_by_name("custom-workflow/custom-workflow")
    assert run.prefect_id is not None
    assert (await prefect.read_flow_run(run.prefect_id)).deployment_id == kinds.id


async def test_a_start_by_hand_of_an_own_deployment_runs_its_workflow(
    database: Database, prefect: PrefectClient
) -> None:
    of = await scheduled(database, config={"own_deployment": True})
    await Reconciler(database, prefect).reconcile({of})
    run = await prefect.create_flow_run_from_deployment((await existing(prefect, of)).id)

    assert (await flows.run(prefect, run, "custom-workflow")).is_completed()

    [made] = await executions(database)
    assert (made.workflow_id, made.trigger_type, made.status) == (of, "API_CALL", Status.COMPLETED)


async def test_a_schedule_that_somebody_made_in_prefect_runs_the_workflow(
    database: Database, prefect: PrefectClient
) -> None:
    of = await scheduled(database, config={"own_deployment": True})
    await Reconciler(database, prefect).reconcile({of})
    deployment = await existing(prefect, of)
    await prefect.create_deployment_schedules(deployment.id, [(IntervalSchedule(interval=timedelta(days=1)), True)])
    [run, *_] = await backfill(prefect, of, utc_now() - timedelta(days=2), utc_now())

    await flows.run(prefect, run, "custom-workflow")

    [made] = await executions(database)
    assert (made.workflow_id, made.trigger_type, made.status) == (of, "SCHEDULED", Status.COMPLETED)
