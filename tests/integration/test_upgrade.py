"""`automation deploy` on an installation whose work pool is of another type."""

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Cancelling, Pending, Running, Scheduled

from automation.database import Database
from automation.errors import UnavailableError
from automation.models import utc_now
from automation.settings import Settings, get_settings
from deployments import pool, upgrade
from tests.integration import rows

POOL = "upgraded"


@pytest.fixture
async def settings(
    database: Database, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Settings]:
    """A pool of Prefect's own type, as the first version made it; other tests' pool is left alone."""
    for module in (pool, upgrade):
        monkeypatch.setattr(module, "WORK_POOL", POOL)
    monkeypatch.setattr(upgrade, "HOLDING", f"{POOL}-upgrade")
    await prefect.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    await prefect.create_work_queue(name="auto-save", priority=3, work_pool_name=POOL)
    await prefect.create_work_queue(name="mine", concurrency_limit=2, work_pool_name=POOL)
    get_settings.cache_clear()
    yield get_settings().model_copy(update={"pending_seconds": 1.0, "lease_seconds": 1.0})
    for name in (POOL, f"{POOL}-upgrade"):
        with suppress(ObjectNotFound):
            await prefect.delete_work_pool(name)


async def deployment(
    prefect: PrefectClient, queue: str, *, cron: str | None = None, entrypoint: str = "flows.cleanup.cleanup"
) -> UUID:
    """A deployment made at run time: named by a workflow's id, its schedule by a trigger's."""
    flow_id = await prefect.create_flow_from_name("cleanup")
    schedules = []
    if cron:
        schedules = [DeploymentScheduleCreate(schedule=CronSchedule(cron=cron), slug="trigger-id", active=False)]
    return await prefect.create_deployment(
        flow_id, str(uuid4()), entrypoint=entrypoint, work_pool_name=POOL, work_queue_name=queue, schedules=schedules
    )


async def runs_of(prefect: PrefectClient, id_: UUID) -> list[FlowRun]:
    chosen = DeploymentFilter(id=DeploymentFilterId(any_=[id_]))
    return await prefect.read_flow_runs(deployment_filter=chosen)


async def state_of(prefect: PrefectClient, run: FlowRun) -> str:
    state = (await prefect.read_flow_run(run.id)).state
    assert state is not None
    return state.type.value


async def exists(prefect: PrefectClient, name: str) -> bool:
    try:
        await prefect.read_work_pool(name)
    except ObjectNotFound:
        return False
    return True


async def test_deployments_keep_their_queues_and_schedules(prefect: PrefectClient, settings: Settings) -> None:
    mine = await deployment(prefect, "mine", cron="0 3 * * *")
    saves = await deployment(prefect, "auto-save")

    await pool.apply_pool(prefect, settings)

    upgraded = await prefect.read_work_pool(POOL)
    assert (upgraded.type, upgraded.is_paused) == ("warm", False)
    assert not await exists(prefect, upgrade.HOLDING)
    for id_, queue in ((mine, "mine"), (saves, "auto-save")):
        found = await prefect.read_deployment(id_)
        assert (found.work_pool_name, found.work_queue_name) == (POOL, queue)
    [schedule] = (await prefect.read_deployment(mine)).schedules
    assert (schedule.slug, schedule.active) == ("trigger-id", False)
    assert isinstance(schedule.schedule, CronSchedule)
    assert schedule.schedule.cron == "0 3 * * *"
    queues = {one.name: one for one in await prefect.read_work_queues(work_pool_name=POOL)}
    assert queues["mine"].concurrency_limit == 2
    assert {one.name for one in pool.QUEUES} <= queues.keys()


async def test_a_waiting_run_that_carries_an_execution_ends_so_that_it_is_dispatched_anew(
    prefect: PrefectClient, settings: Settings
) -> None:
    id_ = await deployment(prefect, "mine")
    later = AwaitingRetry(scheduled_time=utc_now() + timedelta(hours=1))
    run = await prefect.create_flow_run_from_deployment(id_, parameters={"executions": [str(uuid4())]}, state=later)

    await pool.apply_pool(prefect, settings)

    assert await state_of(prefect, run) == "CRASHED"
    assert len(await runs_of(prefect, id_)) == 1


async def test_a_waiting_run_that_somebody_planned_runs_in_the_new_pool_when_it_was_planned(
    prefect: PrefectClient, settings: Settings
) -> None:
    id_ = await deployment(prefect, "mine")
    due = utc_now() + timedelta(hours=1)
    await prefect.create_flow_run_from_deployment(
        id_, parameters={"trigger_data": {"a": 1}}, name="planned", tags=["x"], state=Scheduled(scheduled_time=due)
    )

    await pool.apply_pool(prefect, settings)

    [waiting] = [run for run in await runs_of(prefect, id_) if run.state and run.state.is_scheduled()]
    assert (waiting.work_pool_name, waiting.work_queue_name) == (POOL, "mine")
    assert (waiting.name, waiting.tags, waiting.parameters) == ("planned", ["x"], {"trigger_data": {"a": 1}})
    assert waiting.next_scheduled_start_time is not None
    assert abs(waiting.next_scheduled_start_time.timestamp() - due.timestamp()) < 1


async def test_a_run_whose_process_is_gone_does_not_hold_the_upgrade_up(
    prefect: PrefectClient, settings: Settings
) -> None:
    id_ = await deployment(prefect, "mine")
    taken, running, cancelling = [await prefect.create_flow_run_from_deployment(id_) for _ in range(3)]
    for run, state in ((taken, Pending()), (running, Running()), (cancelling, Cancelling())):
        await prefect.set_flow_run_state(run.id, state, force=True)

    await pool.apply_pool(prefect, settings)

    ended = [await state_of(prefect, run) for run in (taken, running, cancelling)]
    assert ended == ["CRASHED", "CRASHED", "CANCELLED"]


@pytest.mark.parametrize("entrypoint", ["flows.cleanup.cleanup", "somebody/elses.py:flow"])
async def test_a_run_that_a_process_has_is_waited_for_and_after_a_while_nothing_is_changed(
    prefect: PrefectClient,
    database: Database,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    entrypoint: str,
) -> None:
    monkeypatch.setattr(upgrade, "DRAIN", 2.0)
    id_ = await deployment(prefect, "mine", entrypoint=entrypoint)
    run = await prefect.create_flow_run_from_deployment(id_, name="long")
    await prefect.set_flow_run_state(run.id, Running(), force=True)
    if entrypoint.startswith("flows"):
        await rows.flow_run(database, prefect_id=run.id, lease_until=utc_now() + timedelta(seconds=30))

    with pytest.raises(UnavailableError, match="long"):
        await pool.apply_pool(prefect, settings)

    kept = await prefect.read_work_pool(POOL)
    assert (kept.type, kept.is_paused) == ("process", False)
    assert await state_of(prefect, run) == "RUNNING"


@pytest.mark.parametrize("died", ["before the old pool went", "before the new pool came", "before all was back"])
async def test_an_upgrade_that_died_is_finished_by_the_next_deploy(
    prefect: PrefectClient, settings: Settings, died: str
) -> None:
    first, second = await deployment(prefect, "mine"), await deployment(prefect, "auto-save")
    await prefect.create_work_pool(WorkPoolCreate(name=upgrade.HOLDING, type="warm", is_paused=True))
    if died == "before the old pool went":
        moved = DeploymentUpdate(work_pool_name=upgrade.HOLDING, work_queue_name="mine")
        await prefect.update_deployment(first, moved)
    else:
        await prefect.delete_work_pool(upgrade.HOLDING)
        await upgrade.clear_away(prefect, settings, "warm")
    if died == "before all was back":
        await prefect.create_work_pool(WorkPoolCreate(name=POOL, type="warm"))

    await pool.apply_pool(prefect, settings)

    assert (await prefect.read_work_pool(POOL)).type == "warm"
    assert not await exists(prefect, upgrade.HOLDING)
    for id_, queue in ((first, "mine"), (second, "auto-save")):
        found = await prefect.read_deployment(id_)
        assert (found.work_pool_name, found.work_queue_name) == (POOL, queue)
