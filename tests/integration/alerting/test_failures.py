"""Failures: of a workflow in a row, for good, by the database; a thousand of one cause are one incident."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import update

from automation.alerting.sightings import sighting
from automation.database import Database
from automation.models import Alert, DeadLetter, Sighting, Status, Workflow, utc_now
from automation.models.recovery_queries import close_letter, dead_letter
from tests.integration import rows
from tests.integration.alerting.conftest import MakeWatch


async def fails(
    database: Database,
    workflow_id: UUID,
    count: int = 1,
    *,
    code: str = "NETWORK_ERROR",
    **own: Any,
) -> list[UUID]:
    """Executions that fail for good, as the engine records it."""
    error = {"error_message": "Runtime does not answer", **own}
    ids = [
        await rows.execution(
            database,
            workflow_id,
            status=Status.FAILED,
            error_code=code,
            failed_step="save",
            completed_at=utc_now(),
            **{name: value.format(n=number) for name, value in error.items()},
        )
        for number in range(count)
    ]
    async with database.transaction() as session:
        await dead_letter(session, ids)
    return ids


async def succeeds(database: Database, workflow_id: UUID) -> None:
    now = utc_now()
    await rows.execution(database, workflow_id, status=Status.COMPLETED, started_at=now, completed_at=now)


# --- in a row ----------------------------------------------------------------------------------------------------


async def test_three_failures_in_a_row_are_told_once_and_the_success_that_ends_them_too(
    watch: MakeWatch, database: Database
) -> None:
    seen = watch({"repeated-failures": {}})
    workflow_id = await rows.workflow(database)
    await fails(database, workflow_id, 2)
    await seen.look()
    assert await seen.alerts() == []

    [last] = await fails(database, workflow_id)
    await seen.look()
    await fails(database, workflow_id)
    await seen.look()

    alert = await seen.alert()
    assert (alert.rule, alert.state, alert.severity) == ("repeated-failures", "FIRING", "WARNING")
    assert alert.message == "W publish failed 4 times in a row: NETWORK_ERROR at save: Runtime does not answer"
    assert (alert.count, alert.workflow_id, alert.project_id) == (4, workflow_id, "p1")
    assert alert.execution_id != last
    assert seen.told == ["WARNING: W publish failed 3 times in a row: NETWORK_ERROR at save: Runtime does not answer"]
    for part in (f"/ops/executions/{last}/", "Threshold: 3 failures in a row", "What to do: ", "#repeated-failures"):
        assert part in seen.bodies[0]

    await succeeds(database, workflow_id)
    await seen.look()
    await seen.look()
    alert = await seen.alert()
    assert (alert.state, alert.resolved_at is not None, alert.over_notified_at is not None) == ("RESOLVED", True, True)
    assert [one.partition(":")[0] for one in seen.told] == ["WARNING", "Over"]


async def test_a_success_in_between_breaks_the_row(watch: MakeWatch, database: Database) -> None:
    seen = watch({"repeated-failures": {}})
    workflow_id = await rows.workflow(database)
    await fails(database, workflow_id, 2)
    await succeeds(database, workflow_id)
    await fails(database, workflow_id, 2)

    await seen.look()

    assert await seen.alerts() == []


async def test_failures_that_lie_nights_apart_are_a_row_too(watch: MakeWatch, database: Database) -> None:
    seen = watch({"repeated-failures": {}})
    workflow_id = await rows.workflow(database)
    for days, id_ in zip((2, 1, 0), await fails(database, workflow_id, 3), strict=True):
        async with database.transaction() as session:
            at = DeadLetter.created_at - timedelta(days=days)
            await session.execute(update(DeadLetter).where(DeadLetter.execution_id == id_).values(created_at=at))

    await seen.look()
    assert len(seen.told) == 1

    # a day later nothing has run, so that nothing is well either
    async with database.transaction() as session:
        await session.execute(update(DeadLetter).values(created_at=DeadLetter.created_at - timedelta(days=1)))
    seen.restart()
    await seen.look()
    assert [one.state for one in await seen.alerts()] == ["FIRING"]


async def test_a_workflow_that_somebody_switches_off_does_not_fail_any_more(
    watch: MakeWatch, database: Database
) -> None:
    seen = watch({"repeated-failures": {}})
    workflow_id = await rows.workflow(database)
    await fails(database, workflow_id, 3)
    await seen.look()
    async with database.transaction() as session:
        await session.execute(update(Workflow).values(is_active=False))
    await seen.look()
    assert [one.state for one in await seen.alerts()] == ["RESOLVED"]


async def test_a_workflow_that_goes_on_failing_in_another_way_stays_one_incident(
    watch: MakeWatch, database: Database
) -> None:
    seen = watch({"repeated-failures": {}})
    workflow_id = await rows.workflow(database)
    await fails(database, workflow_id, 3)
    await seen.look()
    await fails(database, workflow_id, code="VALIDATION_ERROR", error_message="the page has no name")
    await seen.look()
    assert "VALIDATION_ERROR" in (await seen.alert()).message
    assert len(seen.told) == 1


# --- storms ------------------------------------------------------------------------------------------------------


async def test_a_thousand_failures_of_one_cause_are_one_alert_and_one_message(
    watch: MakeWatch, database: Database
) -> None:
    every_rule_of_causes = {name: {} for name in ("critical-errors", "repeated-failures", "dead-letters")}
    seen = watch(every_rule_of_causes)
    workflows = [await rows.workflow(database, project_id=f"p{number}") for number in range(10)]
    for workflow_id in workflows:
        await fails(database, workflow_id, 50, error_message=f"http://runtime/{workflow_id}/ took {{n}} ms")
    await seen.look()
    for workflow_id in workflows:
        await fails(database, workflow_id, 50, error_message=f"http://runtime/{workflow_id}/ took {{n}} ms")
    await seen.look()
    await seen.lasts(120)

    alert = await seen.alert()
    assert (alert.rule, alert.count, alert.project_id) == ("repeated-failures", 1000, None)
    assert "10 workflows failed in a row, together 1000 times" in alert.message
    assert len(seen.told) == 1


async def test_a_thousand_critical_errors_are_one_alert_and_one_message(watch: MakeWatch, database: Database) -> None:
    seen = watch({name: {} for name in ("critical-errors", "repeated-failures", "dead-letters")})
    workflow_id = await rows.workflow(database)
    ids = await fails(database, workflow_id, 1000, code="DATABASE_ERROR", error_message="connection {n} was closed")
    noticed = [critical(id_, workflow_id, f"connection {number} was closed") for number, id_ in enumerate(ids)]
    await asyncio.gather(*(rows.write(database, *noticed[start::4]) for start in range(4)))

    await seen.tell()
    await seen.look()
    await seen.lasts(90)

    alert = await seen.alert()
    assert (alert.rule, alert.severity, alert.count) == ("critical-errors", "CRITICAL", 1000)
    assert len(seen.told) == 1
    assert await rows.every(database, Sighting) == []


def critical(execution_id: UUID, workflow_id: UUID, message: str) -> Sighting:
    """As the engine leaves it."""
    return sighting(
        "critical-errors",
        "W publish failed at save: DATABASE_ERROR",
        message,
        error_code="DATABASE_ERROR",
        step="save",
        execution_id=execution_id,
        workflow_id=workflow_id,
        project_id="p1",
    )


async def test_failures_of_two_causes_are_two_alerts(watch: MakeWatch, database: Database) -> None:
    seen = watch({"repeated-failures": {}})
    for number, message in enumerate(("Runtime does not answer", "the certificate is over")):
        await fails(database, await rows.workflow(database, project_id=f"p{number}"), 3, error_message=message)
    await seen.look()
    assert len(await seen.alerts()) == len(seen.told) == 2


async def test_a_flood_of_causes_does_not_become_a_flood_of_messages(watch: MakeWatch, database: Database) -> None:
    seen = watch({"dead-letters": {"for_seconds": 0}})
    workflow_id = await rows.workflow(database)
    for number in range(60):
        await fails(database, workflow_id, error_message="cause " + "ab"[number % 2] * (number + 1))
    await seen.look()
    assert len(seen.told) == 50


# --- critical errors ---------------------------------------------------------------------------------------------


async def test_a_critical_error_is_told_without_a_look_and_is_over_when_it_does_not_come_again(
    watch: MakeWatch, database: Database
) -> None:
    seen = watch({"critical-errors": {}})
    workflow_id = await rows.workflow(database)
    await rows.write(database, critical(await rows.execution(database, workflow_id), workflow_id, "disk full"))

    await seen.tell()
    assert seen.told == ["CRITICAL: W publish failed at save: DATABASE_ERROR: disk full"]

    await seen.lasts(840)
    assert (await seen.alert()).state == "FIRING"
    await seen.lasts(90)
    assert (await seen.alert()).state == "RESOLVED"
    assert [one.partition(":")[0] for one in seen.told] == ["CRITICAL", "Over"]


# --- dead letters ------------------------------------------------------------------------------------------------


async def test_a_dead_letter_is_told_and_is_over_when_somebody_tries_it_again(
    watch: MakeWatch, database: Database
) -> None:
    seen = watch({"dead-letters": {}})
    [id_] = await fails(database, await rows.workflow(database))
    await seen.look()
    assert (await seen.alert()).state == "PENDING"
    assert seen.told == []
    await seen.lasts(60)
    assert seen.told == ["WARNING: W publish failed for good: NETWORK_ERROR at save: Runtime does not answer"]

    async with database.transaction() as session:
        await close_letter(session, id_, "Ada")
    await seen.look()
    assert (await seen.alert()).state == "RESOLVED"
    assert len(seen.told) == 2


async def test_a_dead_letter_that_becomes_a_row_of_failures_is_told_as_that_and_not_as_over(
    watch: MakeWatch, database: Database
) -> None:
    seen = watch({"repeated-failures": {}, "dead-letters": {"for_seconds": 0}})
    workflow_id = await rows.workflow(database)
    await fails(database, workflow_id)
    await seen.look()
    await fails(database, workflow_id, 2)
    await seen.look()
    assert await seen.states() == [("dead-letters", "RESOLVED"), ("repeated-failures", "FIRING")]
    assert [one.partition(" failed ")[2][:11] for one in seen.told] == ["for good: N", "3 times in "]


async def test_nobody_is_told_of_a_dead_letter_whose_workflow_was_deleted(watch: MakeWatch, database: Database) -> None:
    seen = watch({"dead-letters": {"for_seconds": 0}})
    await fails(database, await rows.workflow(database))
    async with database.transaction() as session:
        await session.execute(update(Workflow).values(archived_at=utc_now()))
    await seen.look()
    assert await seen.alerts() == []


async def test_what_an_error_says_of_passwords_is_told_to_nobody(watch: MakeWatch, database: Database) -> None:
    seen = watch({"dead-letters": {"for_seconds": 0}})
    message = "no login at postgresql://ada:hunter2@db/x with password=swordfish\nFAKE LINE"
    await fails(database, await rows.workflow(database), error_message=message)
    await seen.look()
    [text] = seen.told
    stored = await rows.every(database, Alert)
    for secret in ("hunter2", "swordfish", "\n"):
        assert secret not in text
        assert secret not in stored[0].message
