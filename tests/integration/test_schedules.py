"""Scheduled workflows against a real Prefect server: their deployments, and each slot once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun as PrefectRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.states import Cancelled, Crashed
from sqlalchemy import delete, func, select, update

from automation.database import Database
from automation.dispatcher import Dispatcher
from automation.engine.slots import start_slot
from automation.intake import fire_slot
from automation.models import Execution, Status, Trigger, Workflow, WorkflowDeployment, utc_now
from automation.models.channels import SCHEDULES_CHANNEL
from automation.schedules import Schedules
from automation.schedules.catch_up import catch_up
from automation.schedules.reconcile import Reconciler
from automation.settings import Settings
from automation.triggers.slots import slot_execution_id, slots
from tests.integration import flows, rows

pytestmark = pytest.mark.usefixtures("deployed")

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
EVERY_MINUTE = "* * * * *"


async def scheduled(database: Database, *crons: str, config: dict[str, Any] | None = None, **values: Any) -> UUID:
    """A workflow that somebody defined, with a trigger for each cron; `config` is the workflow's."""
    of = await rows.workflow(database, kind="custom-workflow")
    async with database.transaction() as session:
        await session.execute(update(Workflow).where(Workflow.id == of).values(config=config or {}))
    for cron in crons:
        await trigger(database, of, cron, **values)
    return of


async def trigger(
    database: Database, of: UUID, cron: str = EVERY_MINUTE, *, last_slot: datetime | None = None, **config: Any
) -> UUID:
    id_ = uuid4()
    async with database.transaction() as session:
        workflow = await session.get_one(Workflow, of)
    made = Trigger(
        id=id_,
        workflow_id=of,
        project_id=workflow.project_id,
        trigger_type="SCHEDULED",
        config={"cron": cron, **config},
        last_slot=last_slot or utc_now(),
    )
    await rows.write(database, made)
    return id_


async def triggers_of(database: Database, of: UUID) -> list[Trigger]:
    async with database.transaction() as session:
        query = select(Trigger).where(Trigger.workflow_id == of).order_by(Trigger.created_at)
        return list(await session.scalars(query))


async def change(database: Database, id_: UUID, **values: Any) -> None:
    """Change a trigger as the API does: what came before is over."""
    async with database.transaction() as session:
        await session.execute(update(Trigger).where(Trigger.id == id_).values(last_slot=utc_now(), **values))


async def deployment_of(prefect: PrefectClient, of: UUID) -> DeploymentResponse | None:
    chosen = DeploymentFilter(name=DeploymentFilterName(any_=[str(of)]))
    found = await prefect.read_deployments(deployment_filter=chosen)
    return found[0] if found else None


async def existing(prefect: PrefectClient, of: UUID) -> DeploymentResponse:
    found = await deployment_of(prefect, of)
    assert found is not None
    return found


def crons(deployment: DeploymentResponse) -> dict[str, tuple[str, str, bool]]:
    return {
        str(one.slug): (one.schedule.cron, one.schedule.timezone, one.active)
        for one in deployment.schedules
        if hasattr(one.schedule, "cron")
    }


async def runs_of(prefect: PrefectClient, deployment_id: UUID) -> list[PrefectRun]:
    chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id]))
    return await prefect.read_flow_runs(deployment_filter=chosen)


async def backfill(prefect: PrefectClient, of: UUID, since: datetime, until: datetime) -> list[PrefectRun]:
    """Have Prefect's scheduler make the runs between two times, oldest first."""
    deployment = await existing(prefect, of)
    await prefect.request(
        "POST",
        "/deployments/{id}/schedule",
        path_params={"id": deployment.id},
        json={"start_time": since.isoformat(), "end_time": until.isoformat(), "min_runs": 1000, "max_runs": 1000},
    )
    found = [run for run in await runs_of(prefect, deployment.id) if run.expected_start_time <= until]
    return sorted(found, key=lambda run: run.expected_start_time)


@contextlib.asynccontextmanager
async def away() -> AsyncIterator[PrefectClient]:
    """A client of a Prefect server that does not answer."""
    async with PrefectClient("http://127.0.0.1:9/api") as client:
        yield client


async def executions(database: Database) -> list[Execution]:
    return sorted(await rows.every(database, Execution), key=lambda one: one.occurred_at)


def minute(ago: int) -> datetime:
    """The beginning of a minute, so many before the present one."""
    return utc_now().replace(second=0, microsecond=0) - ago * MINUTE


# --- deployments ------------------------------------------------------------------------------------------------


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


async def test_many_schedules_of_one_minute_keep_nothing_else_waiting(
    database: Database, prefect: PrefectClient
) -> None:
    for _ in range(3):  # as the mirror has noted them: made by Prefect's scheduler, and not begun
        await rows.flow_run(database, kind="custom-workflow", state="SCHEDULED", state_name="Late", claimed_at=None)
    await rows.execution(database, await rows.workflow(database))

    assert await Dispatcher(database, prefect, Settings(max_in_flight=1)).round() == 1


async def test_a_start_by_hand_of_an_own_deployment_runs_its_workflow(
    database: Database, prefect: PrefectClient
) -> None:
    of = await scheduled(database, config={"own_deployment": True})
    await Reconciler(database, prefect).reconcile({of})
    run = await prefect.create_flow_run_from_deployment((await existing(prefect, of)).id)

    assert (await flows.run(prefect, run, "custom-workflow")).is_completed()

    [made] = await executions(database)
    assert (made.workflow_id, made.trigger_type, made.status) == (of, "API_CALL", Status.COMPLETED)


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


# --- slots ------------------------------------------------------------------------------------------------------


async def test_prefects_run_of_a_slot_runs_the_workflow_once(database: Database, prefect: PrefectClient) -> None:
    slot = minute(1)
    of = await scheduled(database, f"{slot.minute} * * * *", last_slot=slot - MINUTE)
    [only] = await triggers_of(database, of)
    await Reconciler(database, prefect).reconcile({of})
    [run] = await backfill(prefect, of, slot, slot)

    assert (await flows.run(prefect, run, "custom-workflow")).is_completed()
    assert (await flows.run(prefect, run, "custom-workflow")).is_completed()

    [made] = await executions(database)
    assert made.id == slot_execution_id(only.id, slot)
    assert (made.status, made.trigger_type, made.trigger_id) == (Status.COMPLETED, "SCHEDULED", only.id)
    assert made.trigger_data == {
        "project_id": "p1", "trigger_id": str(only.id), "scheduled_for": slot.isoformat(),
    }  # fmt: skip
    named = await prefect.read_flow_run(run.id)
    assert named.name == "W custom-workflow"
    assert f"execution:{made.id}" in named.tags
    assert await catch_up(database, prefect, Settings()) == 0
    assert (await triggers_of(database, of))[0].last_slot == slot


async def test_the_dispatcher_leaves_a_slot_to_the_run_that_has_come_for_it(
    database: Database, prefect: PrefectClient
) -> None:
    slot = minute(1)
    of = await scheduled(database, f"{slot.minute} * * * *", last_slot=slot - MINUTE)
    [only] = await triggers_of(database, of)
    await Reconciler(database, prefect).reconcile({of})
    await backfill(prefect, of, slot, slot)
    [run] = await runs_of(prefect, (await existing(prefect, of)).id)

    async with database.transaction() as session:
        assert isinstance(await start_slot(session, only.id, slot, Settings()), UUID)
    assert await Dispatcher(database, prefect, Settings()).round() == 0

    assert (await flows.run(prefect, run, "custom-workflow")).is_completed()
    assert [one.status for one in await executions(database)] == [Status.COMPLETED]


async def test_a_slot_beyond_the_triggers_throttle_waits_for_its_turn(
    database: Database, prefect: PrefectClient
) -> None:
    first, second = minute(3), minute(2)
    limit = {"throttle": {"limit": 1, "per_seconds": 3600, "excess": "queue"}}
    of = await scheduled(database, f"{first.minute},{second.minute} * * * *", last_slot=minute(4), **limit)
    await Reconciler(database, prefect).reconcile({of})
    runs = await backfill(prefect, of, first, second)

    states = [await flows.run(prefect, run, "custom-workflow") for run in runs]

    assert all(state.is_completed() for state in states)
    assert "waits for its turn" in (states[1].message or "")
    ran, waits = await executions(database)
    assert (ran.status, waits.status) == (Status.COMPLETED, Status.PENDING)
    assert waits.due_at > utc_now() + 30 * MINUTE


async def test_a_slot_fires_once_although_its_run_and_the_catch_up_come_at_once(
    database: Database, prefect: PrefectClient
) -> None:
    slot = minute(2)
    of = await scheduled(database, f"{slot.minute} * * * *", last_slot=slot - MINUTE)
    [only] = await triggers_of(database, of)

    async def fire() -> None:
        async with database.transaction() as session:
            await fire_slot(session, only.id, slot, Settings())

    await asyncio.gather(*(fire() for _ in range(4)), catch_up(database, prefect, Settings()))

    assert [one.occurred_at for one in await executions(database)].count(slot) == 1
    await Reconciler(database, prefect).reconcile({of})
    [run] = await backfill(prefect, of, slot, slot)
    await flows.run(prefect, run, "custom-workflow")
    assert [one.occurred_at for one in await executions(database)].count(slot) == 1


async def test_a_time_of_prefects_that_is_no_slot_does_nothing(database: Database, prefect: PrefectClient) -> None:
    at = minute(1)
    of = await scheduled(database, EVERY_MINUTE, last_slot=at - MINUTE)
    [only] = await triggers_of(database, of)
    await Reconciler(database, prefect).reconcile({of})
    [run] = await backfill(prefect, of, at, at)
    await change(database, only.id, config={"cron": f"{(at.minute + 30) % 60} * * * *"})

    state = await flows.run(prefect, run, "custom-workflow")

    assert state.is_completed()
    assert "is not a slot of trigger" in (state.message or "")
    assert await executions(database) == []


async def test_a_slot_from_before_the_trigger_was_changed_does_nothing(
    database: Database, prefect: PrefectClient
) -> None:
    at = minute(1)
    of = await scheduled(database, EVERY_MINUTE)
    await Reconciler(database, prefect).reconcile({of})
    [run] = await backfill(prefect, of, at, at)

    state = await flows.run(prefect, run, "custom-workflow")

    assert state.is_completed()
    assert "was settled before" in (state.message or "")
    assert await executions(database) == []


async def test_a_run_that_comes_too_late_records_its_slot_as_skipped(
    database: Database, prefect: PrefectClient
) -> None:
    slot = minute(10)
    of = await scheduled(database, EVERY_MINUTE, last_slot=slot - MINUTE, grace_seconds=60)
    await Reconciler(database, prefect).reconcile({of})
    [run] = await backfill(prefect, of, slot, slot)

    state = await flows.run(prefect, run, "custom-workflow")

    [made] = await executions(database)
    assert state.is_completed()
    assert state.message == made.error_message
    assert (made.status, made.error_code) == (Status.CANCELLED, "SKIPPED")
    assert made.error_message.startswith(f"skipped: its slot {slot:%Y-%m-%d %H:%M} UTC was ")
    assert made.completed_at is not None


async def test_after_an_outage_slots_later_than_their_grace_are_skipped_and_the_others_run(
    database: Database, prefect: PrefectClient
) -> None:
    of = await scheduled(database, EVERY_MINUTE, last_slot=minute(6), grace_seconds=150)
    [only] = await triggers_of(database, of)

    assert await catch_up(database, prefect, Settings()) > 0
    found = await executions(database)

    assert [one.occurred_at for one in found][:4] == [minute(5), minute(4), minute(3), minute(2)][: len(found)]
    statuses = [one.status for one in found]
    assert statuses == sorted(statuses)  # CANCELLED ones before PENDING ones
    assert {one.error_code for one in found if one.status == Status.CANCELLED} == {"SKIPPED"}
    assert set(statuses) == {Status.CANCELLED, Status.PENDING}
    assert (await triggers_of(database, of))[0].last_slot == found[-1].occurred_at
    assert {one.id for one in found} == {slot_execution_id(only.id, one.occurred_at) for one in found}
    assert await catch_up(database, prefect, Settings()) in (0, 1)  # a minute may have passed


async def test_of_the_latest_only_the_newest_runs_and_of_all_each(database: Database, prefect: PrefectClient) -> None:
    hour = utc_now().replace(minute=0, second=0, microsecond=0)
    if utc_now() - hour < MINUTE:
        hour -= HOUR
    cron = f"{(utc_now() - 2 * MINUTE).minute} * * * *"
    since = utc_now() - 4 * HOUR
    latest = await scheduled(database, cron, last_slot=since, catch_up="latest")
    everyone = await scheduled(database, cron, last_slot=since, catch_up="all")

    await catch_up(database, prefect, Settings())

    found = await executions(database)
    assert [one.status for one in found if one.workflow_id == latest] == [Status.CANCELLED] * 3 + [Status.PENDING]
    assert [one.status for one in found if one.workflow_id == everyone] == [Status.PENDING] * 4


async def test_a_long_outage_of_a_frequent_cron_is_recorded_by_its_last_slots_and_a_number(
    database: Database, prefect: PrefectClient
) -> None:
    await scheduled(database, EVERY_MINUTE, last_slot=utc_now() - timedelta(days=7), grace_seconds=1)

    assert await catch_up(database, prefect, Settings()) == 100

    found = await executions(database)
    assert {one.status for one in found} == {Status.CANCELLED}
    assert [one.result for one in found[:-1]] == [{}] * 99
    unlisted = found[-1].result["skipped_before_and_not_listed"]
    assert abs(unlisted + 100 - 7 * 24 * 60) <= 1


async def test_a_run_on_its_way_is_waited_for_until_its_grace_is_over(
    database: Database, prefect: PrefectClient
) -> None:
    slot = minute(2)
    cron = f"{slot.minute} * * * *"
    of = await scheduled(database, cron, last_slot=slot - MINUTE, catch_up="all", grace_seconds=3600)
    [only] = await triggers_of(database, of)
    await Reconciler(database, prefect).reconcile({of})
    [run] = await backfill(prefect, of, slot, slot)

    assert await catch_up(database, prefect, Settings()) == 0
    assert (await triggers_of(database, of))[0].last_slot == slot - MINUTE

    async with database.transaction() as session:
        short = {"cron": cron, "catch_up": "all", "grace_seconds": 1}
        await session.execute(update(Trigger).where(Trigger.id == only.id).values(config=short))
    assert await catch_up(database, prefect, Settings()) == 1
    assert (await triggers_of(database, of))[0].last_slot == slot

    assert (await flows.run(prefect, run, "custom-workflow")).is_completed()
    [made] = await executions(database)
    assert made.status == Status.COMPLETED


async def test_a_schedule_that_somebody_switched_off_and_on_in_prefect_still_makes_slots(
    database: Database, prefect: PrefectClient
) -> None:
    slot = minute(2)
    of = await scheduled(database, f"{slot.minute} * * * *", last_slot=slot - MINUTE)
    await Reconciler(database, prefect).reconcile({of})
    deployment = await existing(prefect, of)
    for active in (False, True):  # Prefect empties the schedule's parameters with that
        await prefect.update_deployment_schedule(deployment.id, deployment.schedules[0].id, active=active)
    [run] = await backfill(prefect, of, slot, slot)
    assert run.parameters == {}

    await flows.run(prefect, run, "custom-workflow")

    [only] = await triggers_of(database, of)
    assert [one.id for one in await executions(database)] == [slot_execution_id(only.id, slot)]


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


@pytest.mark.parametrize(("state", "fires"), [(Crashed(), 1), (Cancelled(), 0)])
async def test_a_run_that_broke_before_it_began_is_made_up_for_one_that_was_called_off_is_not(
    database: Database, prefect: PrefectClient, state: Any, fires: int
) -> None:
    slot = minute(2)
    of = await scheduled(database, f"{slot.minute} * * * *", last_slot=slot - MINUTE)
    await Reconciler(database, prefect).reconcile({of})
    [run] = await backfill(prefect, of, slot, slot)
    await prefect.set_flow_run_state(run.id, state, force=True)

    assert await catch_up(database, prefect, Settings()) == fires

    assert (await triggers_of(database, of))[0].last_slot == slot
    assert len(await executions(database)) == fires


async def test_a_trigger_that_is_switched_off_catches_nothing_up(database: Database, prefect: PrefectClient) -> None:
    of = await scheduled(database, EVERY_MINUTE, last_slot=minute(5))
    async with database.transaction() as session:
        await session.execute(update(Trigger).where(Trigger.workflow_id == of).values(is_active=False))
    other = await scheduled(database, EVERY_MINUTE, last_slot=minute(5))
    async with database.transaction() as session:
        await session.execute(update(Workflow).where(Workflow.id == other).values(is_active=False))

    assert await catch_up(database, prefect, Settings()) == 0
    assert await executions(database) == []


async def test_a_slot_that_the_triggers_limits_end_says_so_and_is_not_tried_again(
    database: Database, prefect: PrefectClient
) -> None:
    limit = {"throttle": {"limit": 1, "per_seconds": 3600}}
    cron = f"{minute(3).minute},{minute(2).minute} * * * *"
    await scheduled(database, cron, last_slot=minute(4), catch_up="all", **limit)

    assert await catch_up(database, prefect, Settings()) == 2
    assert await catch_up(database, prefect, Settings()) == 0

    ran, dropped = await executions(database)
    assert (ran.status, dropped.status) == (Status.PENDING, Status.CANCELLED)
    assert dropped.error_message.startswith("skipped: throttled: fired 1 times")
