"""The runs that Prefect makes of a schedule: each slot of a trigger fires once."""

import asyncio
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient

from automation.database import Database
from automation.dispatcher import Dispatcher
from automation.engine.slots import start_slot
from automation.intake import fire_slot
from automation.models import Status, utc_now
from automation.schedules.catch_up import catch_up
from automation.schedules.reconcile import Reconciler
from automation.settings import Settings
from automation.triggers.slots import slot_execution_id
from tests.integration import flows, rows
from tests.integration.schedules.scheduling import (
    EVERY_MINUTE,
    MINUTE,
    backfill,
    change,
    executions,
    existing,
    minute,
    runs_of,
    scheduled,
    triggers_of,
)

pytestmark = pytest.mark.usefixtures("deployed")


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


async def test_many_schedules_of_one_minute_keep_nothing_else_waiting(
    database: Database, prefect: PrefectClient
) -> None:
    for _ in range(3):  # as the mirror has noted them: made by Prefect's scheduler, and not begun
        await rows.flow_run(database, kind="custom-workflow", state="SCHEDULED", state_name="Late", claimed_at=None)
    await rows.execution(database, await rows.workflow(database))

    assert await Dispatcher(database, prefect, Settings(max_in_flight=1)).round() == 1


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
