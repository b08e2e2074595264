"""Slots that no run of Prefect's came for: they fire late or are recorded as skipped."""

from datetime import timedelta
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.states import Cancelled, Crashed
from sqlalchemy import update

from automation.database import Database
from automation.models import Status, Trigger, Workflow, utc_now
from automation.schedules.catch_up import catch_up
from automation.schedules.reconcile import Reconciler
from automation.settings import Settings
from automation.triggers.slots import slot_execution_id
from tests.integration import flows
from tests.integration.schedules.scheduling import (
    EVERY_MINUTE,
    HOUR,
    MINUTE,
    backfill,
    executions,
    minute,
    scheduled,
    triggers_of,
)

pytestmark = pytest.mark.usefixtures("deployed")


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
