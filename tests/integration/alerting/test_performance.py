"""Degraded performance, and resources that are used up."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import update

from automation.database import Database
from automation.models import Execution, ResourceSample, Status, Wait, utc_now
from tests.integration import rows
from tests.integration.alerting.conftest import MakeWatch

# --- slow executions ---------------------------------------------------------------------------------------------


async def took(database: Database, workflow_id: UUID, seconds: float, ago: float = 1, **values: Any) -> UUID:
    """An execution that was over so long ago, and had taken so long."""
    end = utc_now() - timedelta(seconds=ago)
    times = {"started_at": end - timedelta(seconds=seconds), "completed_at": end, "created_at": end}
    return await rows.execution(database, workflow_id, **{"status": Status.COMPLETED, "attempt": 1} | times | values)


async def usual(database: Database, workflow_id: UUID, seconds: float, count: int = 30) -> None:
    """What it took before, some hours ago."""
    for number in range(count):
        await took(database, workflow_id, seconds, ago=7200 + number)


async def test_what_takes_over_ten_seconds_is_told_and_is_over_when_nothing_was_slow_for_five_minutes(
    watch: MakeWatch, database: Database
) -> None:
    seen = watch({"slow-executions": {}})
    workflow_id = await rows.workflow(database)
    await took(database, workflow_id, 9.9)
    await seen.look()
    assert await seen.alerts() == []

    id_ = await took(database, workflow_id, 12)
    await took(database, workflow_id, 11)
    await seen.look()
    alert = await seen.alert()
    assert (alert.fingerprint, alert.execution_id, alert.count) == ("publish", id_, 2)
    assert seen.told == ["WARNING: W publish took 12 s (2 executions of publish are slow)"]
    assert "Threshold: 10 s, and 3 × the workflow's usual 95th percentile" in seen.bodies[0]

    async with database.transaction() as session:
        await session.execute(update(Execution).values(completed_at=utc_now() - timedelta(seconds=301)))
    await seen.look()
    assert (await seen.alert()).state == "RESOLVED"
    assert [one[:4] for one in seen.told] == ["WARN", "Over"]


async def test_what_usually_takes_long_is_not_slow_before_three_times_its_usual(
    watch: MakeWatch, database: Database
) -> None:
    seen = watch({"slow-executions": {}})
    workflow_id = await rows.workflow(database)
    await usual(database, workflow_id, 20)
    await took(database, workflow_id, 55)
    await seen.look()
    assert await seen.alerts() == []

    await took(database, workflow_id, 65)
    await seen.look()
    assert seen.told == ["WARNING: W publish took 65 s; 95 of 100 take less than 20 s"]
    assert (await seen.alert()).details["limit"] == 60


async def test_a_run_that_hangs_is_slow_before_it_ends(watch: MakeWatch, database: Database) -> None:
    seen = watch({"slow-executions": {}})
    workflow_id = await rows.workflow(database)
    began = {"started_at": utc_now() - timedelta(seconds=40), "completed_at": None}
    id_ = await took(database, workflow_id, 0, status=Status.RUNNING, **began)
    await seen.look()
    assert seen.told[0].startswith("WARNING: W publish has been running for 4")
    assert (await seen.alert()).execution_id == id_


async def test_what_waited_for_somebody_or_was_tried_again_is_not_slow(watch: MakeWatch, database: Database) -> None:
    seen = watch({"slow-executions": {}})
    workflow_id = await rows.workflow(database)
    waited = await took(database, workflow_id, 500)
    await rows.write(database, Wait(execution_id=waited, identifier="ask", kind="approval", status="RESOLVED"))
    await took(database, workflow_id, 500, attempt=2)
    await seen.look()
    assert await seen.alerts() == []


async def test_slow_executions_of_one_type_are_one_alert(watch: MakeWatch, database: Database) -> None:
    seen = watch({"slow-executions": {}})
    for number in range(20):
        await took(database, await rows.workflow(database, project_id=f"p{number}"), 11 + number)
    await seen.look()
    await seen.look()
    assert (await seen.alert()).count == 20
    assert len(seen.told) == 1


# --- resources ---------------------------------------------------------------------------------------------------


async def used(database: Database, ago: float = 0, **shares: Any) -> None:
    """What a machine tells of itself, or the database."""
    role = "database" if "connections" in shares else "host"
    host = {"role": role, "host": "" if role == "database" else "host-1", "at": utc_now() - timedelta(seconds=ago)}
    await rows.write(database, ResourceSample(**host | shares))


async def later(database: Database, seconds: float) -> None:
    async with database.transaction() as session:
        at = ResourceSample.at - timedelta(seconds=seconds)
        await session.execute(update(ResourceSample).values(at=at))


async def test_a_processor_over_eighty_percent_is_told_after_five_minutes(watch: MakeWatch, database: Database) -> None:
    seen = watch({"cpu-saturated": {}})
    shares = {"memory_share": 0.2, "disk_share": 0.2}
    for _ in range(11):  # five minutes, all but a moment of them
        assert seen.told == []
        for share in (0.95, 0.78):
            await used(database, cpu=share, **shares)
        await seen.look()
        await seen.passes(28)
        await later(database, 28)
    await used(database, cpu=0.95, **shares)
    await seen.look()
    [title] = seen.told
    assert title.startswith("WARNING: host-1: the processor is 8")
    assert "Threshold: 80 % for 5 min" in seen.bodies[0]

    await later(database, 120)
    await used(database, cpu=0.3, **shares)
    await seen.look()
    assert (await seen.alert()).state == "FIRING"  # it may be a moment only
    await seen.passes(60)
    await seen.look()
    assert (await seen.alert()).state == "RESOLVED"
    assert len(seen.told) == 2


async def test_a_busy_minute_is_no_saturation(watch: MakeWatch, database: Database) -> None:
    seen = watch({"cpu-saturated": {}})
    await used(database, cpu=1.0)
    await seen.look()
    assert await seen.states() == [("cpu-saturated", "PENDING")]
    await later(database, 90)
    await used(database, cpu=0.1)
    await seen.look()
    assert (await seen.alerts(), seen.told) == ([], [])


@pytest.mark.parametrize(
    ("rule", "bad", "good", "told"),
    [
        ("disk-full", {"disk_share": 0.93}, {"disk_share": 0.4}, "host-1: the disk of AUTOMATION_HOME is 93 % used"),
        ("memory-saturated", {"memory_share": 0.97}, {"memory_share": 0.5}, "host-1: the memory is 97 % used"),
        (
            "connections-used-up",
            {"connections": 85, "connections_share": 0.85},
            {"connections": 20, "connections_share": 0.2},
            "85 connections to the database, 85 % of those that it allows",
        ),
    ],
)
async def test_what_is_nearly_used_up_is_told_and_is_over_when_there_is_room_again(
    watch: MakeWatch, database: Database, rule: str, bad: dict[str, Any], good: dict[str, Any], told: str
) -> None:
    seen = watch({rule: {"for_seconds": 30, "resolve_after_seconds": 0}})
    await used(database, **bad)
    await seen.look()
    await seen.lasts(30)
    assert seen.told == [f"CRITICAL: {told}"]

    await later(database, 90)
    await used(database, **good)
    await seen.look()
    assert [one.state for one in await seen.alerts()] == ["RESOLVED"]
    assert seen.told[1] == f"Over: {told}"


async def test_a_machine_that_nobody_has_heard_of_lately_is_not_saturated(watch: MakeWatch, database: Database) -> None:
    seen = watch({"disk-full": {"for_seconds": 0}})
    await used(database, ago=300, disk_share=0.99)
    await seen.look()
    assert await seen.alerts() == []


@pytest.mark.parametrize(
    ("rule", "bad"),
    [("disk-full", {"disk_share": 0.99}), ("connections-used-up", {"connections": 99, "connections_share": 0.99})],
)
async def test_what_was_used_up_when_it_was_heard_of_last_is_not_told_as_over(
    watch: MakeWatch, database: Database, rule: str, bad: dict[str, Any]
) -> None:
    seen = watch({rule: {"for_seconds": 0, "resolve_after_seconds": 0}})
    await used(database, **bad)
    await seen.look()
    await later(database, 90)
    await seen.passes(90)
    await seen.look()
    assert (await seen.states(), len(seen.told)) == ([(rule, "FIRING")], 1)


async def test_a_machine_that_is_gone_for_an_hour_is_not_saturated_any_more(
    watch: MakeWatch, database: Database
) -> None:
    seen = watch({"disk-full": {"for_seconds": 0}})
    await used(database, disk_share=0.99)
    await seen.look()
    await later(database, 3601)
    await seen.passes(3601)
    await seen.look()
    assert await seen.states() == [("disk-full", "RESOLVED")]


async def test_the_same_resource_may_have_two_rules(watch: MakeWatch, database: Database) -> None:
    nearly = {
        "type": "host", "resource": "disk", "severity": "WARNING", "title": "The disk fills up", "todo": "Look.",
        "above": 0.7,
    }  # fmt: skip
    seen = watch({"disk-full": {"for_seconds": 0}, "disk-filling": nearly})
    await used(database, disk_share=0.8)
    await seen.look()
    assert await seen.states() == [("disk-filling", "FIRING")]
