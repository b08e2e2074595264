"""Work that does not go on: nobody takes it, nobody has been heard of, nobody looks."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.states import Running
from sqlalchemy import delete, update

from automation.database import Database
from automation.intake.slots import Skip, skip_slots
from automation.mirror import reaper
from automation.models import (
    Execution,
    FlowRun,
    MirrorCursor,
    ResourceSample,
    Status,
    Trigger,
    utc_now,
)
from automation.monitoring.resources import Sampler
from automation.settings import Settings
from tests.integration import rows
from tests.integration.alerting.conftest import MakeWatch
from tests.integration.flows import carry


async def worker_tells(database: Database) -> None:
    await Sampler(database, "worker", Path.cwd()).look()


async def nobody_tells(database: Database) -> None:
    """Every process was heard of long ago."""
    async with database.transaction() as session:
        await session.execute(update(ResourceSample).values(at=ResourceSample.at - timedelta(minutes=10)))


# --- no worker ---------------------------------------------------------------------------------------------------


async def test_that_no_worker_is_there_is_told_after_a_minute_and_so_is_its_coming(
    watch: MakeWatch, database: Database
) -> None:
    seen = watch({"no-worker": {}})
    await worker_tells(database)
    await seen.look()
    assert await seen.alerts() == []

    await nobody_tells(database)
    await seen.look()
    assert await seen.states() == [("no-worker", "PENDING")]
    await seen.lasts(60)
    assert seen.told == ["CRITICAL: No worker has been heard of; 0 executions wait"]

    await worker_tells(database)
    await seen.look()
    assert await seen.states() == [("no-worker", "RESOLVED")]
    assert seen.told[1] == "Over: No worker has been heard of; 0 executions wait"


async def test_a_worker_that_starts_within_the_minute_is_missed_by_nobody(watch: MakeWatch, database: Database) -> None:
    seen = watch({"no-worker": {}})
    await seen.look()
    await seen.lasts(30)
    await worker_tells(database)
    await seen.look()
    assert (await seen.alerts(), seen.told) == ([], [])


# --- the queue ---------------------------------------------------------------------------------------------------


async def test_work_that_waits_longer_than_its_limit_is_told_until_somebody_begins_it(
    watch: MakeWatch, database: Database
) -> None:
    seen = watch({"queue-old": {}})
    workflow_id = await rows.workflow(database)
    ids = [
        await rows.execution(database, workflow_id, due_at=utc_now() - timedelta(seconds=age)) for age in (90, 30, 10)
    ]
    await seen.look()
    await seen.look()
    alert = await seen.alert()
    assert (alert.fingerprint, alert.execution_id, alert.count) == ("publish", ids[0], 3)
    assert seen.told == ["WARNING: publish: 3 wait, the oldest for 90 s"]
    assert "Threshold: 60 s" in seen.bodies[0]

    async with database.transaction() as session:
        await session.execute(update(Execution).values(status=Status.RUNNING))
    await seen.look()
    assert [one[:4] for one in seen.told] == ["WARN", "Over"]


async def test_each_type_of_workflow_may_have_a_limit_of_its_own(watch: MakeWatch, database: Database) -> None:
    seen = watch({"queue-old": {"longer_than_seconds": 20, "of_kind": {"cleanup": 600}}})
    for kind in ("publish", "cleanup"):
        workflow_id = await rows.workflow(database, kind=kind)
        await rows.execution(database, workflow_id, due_at=utc_now() - timedelta(seconds=90))
    await seen.look()
    assert [one.fingerprint for one in await seen.alerts()] == ["publish"]


async def test_what_waits_for_its_turn_makes_no_queue_old(watch: MakeWatch, database: Database) -> None:
    seen = watch({"queue-old": {}})
    workflow_id = await rows.workflow(database)
    run = await rows.flow_run(database, lease_until=utc_now() + timedelta(seconds=30))
    await rows.execution(database, workflow_id, key="home", status=Status.RUNNING, flow_run_id=run)
    await rows.execution(database, workflow_id, key="home", due_at=utc_now() - timedelta(seconds=90))
    await seen.look()
    assert await seen.alerts() == []


# --- the mirror --------------------------------------------------------------------------------------------------


async def test_a_mirror_that_has_not_read_for_a_minute_is_told(watch: MakeWatch, database: Database) -> None:
    seen = watch({"mirror-lag": {}})
    await seen.look()
    assert await seen.alerts() == []  # it has not begun yet

    await rows.write(database, *(MirrorCursor(name=name, position=utc_now()) for name in ("started", "ended")))
    await seen.look()
    assert await seen.alerts() == []
    async with database.transaction() as session:
        await session.execute(update(MirrorCursor).values(position=utc_now() - timedelta(seconds=200)))
    await seen.look()
    assert seen.told == ["WARNING: The mirror last read all of Prefect's runs 3 min ago"]

    async with database.transaction() as session:
        await session.execute(update(MirrorCursor).values(position=utc_now()))
    await seen.look()
    assert await seen.states() == [("mirror-lag", "RESOLVED")]


# --- schedules ---------------------------------------------------------------------------------------------------


async def scheduled(database: Database, **values: Any) -> Trigger:
    """A workflow that should have run each minute."""
    workflow_id = await rows.workflow(database)
    config = {"cron": "* * * * *", "timezone": "UTC", "catch_up": "skip", "grace_seconds": 60.0}
    made = {"trigger_type": "SCHEDULED", "last_slot": utc_now() - timedelta(minutes=10)} | values
    trigger = Trigger(id=uuid4(), workflow_id=workflow_id, project_id="p1", config=config, **made)
    await rows.write(database, trigger)
    return trigger


async def test_slots_that_nobody_decides_are_told_until_somebody_does(watch: MakeWatch, database: Database) -> None:
    seen = watch({"schedule-missed": {}})
    await scheduled(database)
    await seen.look()
    await seen.lasts(30)
    assert seen.told == ["WARNING: 1 slots of schedules are past, and nothing has started them"]

    async with database.transaction() as session:
        await session.execute(update(Trigger).values(last_slot=utc_now()))
    await seen.look()
    assert await seen.states() == [("schedule-missed", "RESOLVED")]


async def test_a_slot_that_was_given_up_as_too_late_is_told_with_its_workflow(
    watch: MakeWatch, database: Database
) -> None:
    seen = watch({"schedule-missed": {}})
    trigger = await scheduled(database, last_slot=utc_now())
    slot = utc_now().replace(second=0, microsecond=0) - timedelta(minutes=5)
    async with database.transaction() as session:
        await skip_slots(session, [Skip(trigger.id, {slot: "skipped: its slot 03:00 UTC was 300 s ago"})])
    await seen.look()
    await seen.lasts(30)
    assert seen.told == ["WARNING: 1 slots of schedules are past; W publish: its slot 03:00 UTC was 300 s ago"]
    assert (await seen.alert()).project_id == "p1"

    async with database.transaction() as session:
        await session.execute(update(Execution).values(created_at=Execution.created_at - timedelta(minutes=6)))
    await seen.look()
    assert await seen.states() == [("schedule-missed", "RESOLVED")]


async def test_a_slot_that_a_limit_of_its_trigger_ended_was_not_missed(watch: MakeWatch, database: Database) -> None:
    seen = watch({"schedule-missed": {"for_seconds": 0}})
    trigger = await scheduled(database, last_slot=utc_now())
    async with database.transaction() as session:
        await skip_slots(session, [Skip(trigger.id, {utc_now(): "skipped: throttled: 1 in 60 s"})])
    await seen.look()
    assert await seen.alerts() == []


# --- runs without a sign of life ---------------------------------------------------------------------------------


async def test_a_run_whose_lease_is_over_and_that_nobody_ends_is_told(watch: MakeWatch, database: Database) -> None:
    seen = watch({"run-without-heartbeat": {"resolve_after_seconds": 0}})
    over = utc_now() - timedelta(seconds=40)
    run = await rows.flow_run(database, name="brave-otter", lease_until=over, process="host-1:4711")
    workflow_id = await rows.workflow(database)
    id_ = await rows.execution(database, workflow_id, status=Status.RUNNING, flow_run_id=run)
    await seen.look()
    await seen.lasts(30)
    alert = await seen.alert()
    assert (alert.state, alert.execution_id) == ("FIRING", id_)
    assert "brave-otter (host-1:4711)" in alert.message
    prefect_id = (await rows.stored_run(database, run)).prefect_id
    assert f"/runs/flow-run/{prefect_id}" in seen.bodies[0]

    async with database.transaction() as session:
        await session.execute(update(FlowRun).values(lease_until=utc_now() + timedelta(seconds=30)))
    await seen.look()
    assert await seen.states() == [("run-without-heartbeat", "RESOLVED")]


@pytest.mark.usefixtures("deployed")
async def test_a_run_that_was_lost_with_its_process_is_told_when_it_is_ended(
    watch: MakeWatch, database: Database, prefect: PrefectClient
) -> None:
    seen = watch({"run-without-heartbeat": {}})
    lost = await carry(prefect, uuid4())
    await prefect.set_flow_run_state(lost.id, Running(), force=True)
    over = utc_now() - timedelta(seconds=40)
    run = await rows.flow_run(database, prefect_id=lost.id, lease_until=over, state="RUNNING")
    id_ = await rows.execution(database, await rows.workflow(database), status=Status.RUNNING, flow_run_id=run)

    assert await reaper.reap(database, prefect, Settings(lease_seconds=0.001)) == 1
    await seen.tell()

    assert seen.told == [f"WARNING: The process of flow run {lost.name} gave no sign of life"]
    assert f"/runs/flow-run/{lost.id}" in seen.bodies[0]
    assert (await seen.alert()).execution_id == id_
    async with database.transaction() as session:
        await session.execute(delete(FlowRun))
    await seen.lasts(330)
    assert await seen.states() == [("run-without-heartbeat", "RESOLVED")]
