"""What stands now."""

from datetime import timedelta

import pytest

from automation.database import Database
from automation.models import (
    DeadLetter,
    Delivery,
    Execution,
    MirrorCursor,
    Owed,
    ResourceSample,
    Status,
    Trigger,
    Wait,
    utc_now,
)
from automation.monitoring.now import Now, Queue, standing
from automation.monitoring.resources import Sampler
from automation.settings import get_settings
from tests.integration import rows
from tests.integration.monitoring.ending import ended


async def stands(database: Database) -> Now:
    async with database.transaction() as session:
        return await standing(session)


def ages(queues: list[Queue]) -> dict[str, tuple[int, int]]:
    return {one.name: (one.length, round(one.age_seconds / 60)) for one in queues}


async def test_an_empty_installation_has_nothing_to_tell(database: Database) -> None:
    now = await stands(database)
    assert (now.queues, now.projects, now.by_status, now.running, now.processes) == ([], [], {}, {}, [])
    assert (now.approvals, now.dead_letters, now.deliveries, now.owed, now.scheduled) == (0, {}, 0, {}, 0)
    assert (now.mirror_lag, now.schedules_missed, now.runs_without_heartbeat, now.flow_runs) == (None, 0, 0, 0)
    assert (now.machines, now.connections) == ([], None)


async def test_queues_are_what_is_due_and_not_begun_by_kind_and_by_project(database: Database) -> None:
    saves = await rows.workflow(database, kind="auto-save")
    publishes = await rows.workflow(database, kind="publish", project_id="p2")
    ago = utc_now() - timedelta(minutes=10)
    await rows.execution(database, saves, due_at=ago)
    await rows.execution(database, saves, due_at=ago + timedelta(minutes=5), status=Status.RETRYING)
    await rows.execution(database, publishes, due_at=ago + timedelta(minutes=8))
    await rows.execution(database, publishes, due_at=utc_now() + timedelta(hours=1), status=Status.RETRYING)
    await rows.execution(database, publishes, status=Status.RUNNING)
    await rows.execution(database, publishes, status=Status.WAITING)
    await ended(database, saves)

    now = await stands(database)
    assert ages(now.queues) == {"auto-save": (2, 10), "publish": (1, 2)}
    assert ages(now.projects) == {"p1": (2, 10), "p2": (1, 2)}
    assert now.by_status == {"PENDING": 2, "RETRYING": 2, "RUNNING": 1, "WAITING": 1}
    assert (now.running, now.scheduled) == ({"publish": 1}, 1)


async def test_what_is_owed_and_what_waits_for_people(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    await ended(database, workflow_id, Status.FAILED, error_code="NETWORK_ERROR")
    redriven = await ended(database, workflow_id, Status.FAILED, error_code="NETWORK_ERROR")
    waits = await rows.execution(database, workflow_id, status=Status.WAITING)
    owes = {"step": "s", "request": {}}
    await rows.write(
        database,
        Wait(execution_id=waits, identifier="ok", kind="approval"),
        Wait(execution_id=waits, identifier="later", kind="time"),
        Wait(execution_id=waits, identifier="done", kind="approval", status="RESOLVED"),
        Delivery(key="a", type="execution.failed"),
        Delivery(key="b", type="execution.failed", status="DELIVERED"),
        Owed(idempotency_key="a", neighbour="insights", **owes),
        Owed(idempotency_key="b", neighbour="insights", status="DELIVERED", **owes),
        MirrorCursor(name="started", position=utc_now() - timedelta(seconds=90)),
        MirrorCursor(name="ended", position=utc_now()),
    )
    async with database.transaction() as session:
        (await session.get_one(DeadLetter, redriven)).redriven_at = utc_now()

    now = await stands(database)
    assert (now.approvals, now.deliveries, now.owed) == (1, 1, {"insights": 1})
    assert now.dead_letters == {"NETWORK_ERROR": 1}
    assert now.mirror_lag == pytest.approx(90, abs=5)


async def test_flow_runs_are_counted_from_their_claim_to_their_end_and_missed_when_their_lease_is_over(
    database: Database,
) -> None:
    later, before = utc_now() + timedelta(seconds=30), utc_now() - timedelta(seconds=30)
    await rows.flow_run(database, lease_until=later)
    await rows.flow_run(database, lease_until=later, mode="batch")
    await rows.flow_run(database, lease_until=before)
    await rows.flow_run(database, lease_until=before, ended_at=utc_now(), state="COMPLETED")
    await rows.flow_run(database, claimed_at=None, state="SCHEDULED")

    now = await stands(database)
    assert (now.flow_runs, now.batch_runs, now.runs_without_heartbeat) == (3, 1, 1)


async def test_a_schedule_is_missed_when_its_slot_is_past_and_nobody_decided_it(database: Database) -> None:
    workflow_id = await rows.workflow(database, kind="custom")
    config = {"cron": "* * * * *", "timezone": "UTC"}
    late, in_time = utc_now() - timedelta(minutes=5), utc_now()
    for last_slot, is_active in ((late, True), (in_time, True), (late, False), (None, True)):
        trigger = Trigger(
            workflow_id=workflow_id, trigger_type="SCHEDULED", config=config, last_slot=last_slot, is_active=is_active
        )
        await rows.write(database, trigger)

    assert (await stands(database)).schedules_missed == 1


async def test_processes_and_machines_are_those_that_were_heard_of_lately(database: Database) -> None:
    now = utc_now()
    child = {"role": "child", "host": "h", "parent_pid": 1, "memory_bytes": 10}
    await rows.write(
        database,
        ResourceSample(at=now - timedelta(seconds=20), pid=2, cpu=0.9, **child),
        ResourceSample(at=now - timedelta(seconds=5), pid=2, cpu=0.1, **child),
        ResourceSample(at=now - timedelta(seconds=60), pid=3, cpu=0.5, **child),
    )
    sampler = Sampler(database, "worker", get_settings().home)
    await sampler.look()

    found = await stands(database)
    assert [(one.role, one.pid, one.parent_pid, one.cpu) for one in found.processes if one.host == "h"] == [
        ("child", 2, 1, 0.1)
    ]
    [worker] = [one for one in found.processes if one.role == "worker"]
    assert worker.cpu is None
    assert worker.memory_bytes > 10_000_000
    [machine] = found.machines
    assert 0 < machine.memory_share < 1
    assert 0 < machine.disk_share <= 1
    assert found.connections
    assert found.connections.ours >= 1
    assert 0 < found.connections.share < 1


async def test_what_has_ended_does_not_count_however_much_that_is(database: Database) -> None:
    workflow_id = await rows.workflow(database)
    for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
        await rows.execution(database, workflow_id, status=status, completed_at=utc_now())
    now = await stands(database)
    assert (now.by_status, now.queues) == ({}, [])
    assert len(await rows.every(database, Execution)) == 3
