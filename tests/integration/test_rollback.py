"""Undoing what a workflow had done: when it fails for good, when it is cancelled, and when a process dies over it."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from sqlalchemy import update

from automation import control
from automation.database import Database
from automation.errors import NetworkError, ValidationError
from automation.mirror import settle
from automation.models import DeadLetter, ExecutionLog, FlowRun, Status, WorkflowStep, utc_now
from automation.settings import get_settings
from automation.steps import Result, StepContext
from tests.integration.flows import carry, run
from tests.integration.making import MakeStep, failing, ran, steps, undo
from tests.integration.rows import every, execution, planned, stored, workflow
from tests.integration.service import Service

pytestmark = pytest.mark.usefixtures("deployed")

WRONG = failing(ValidationError("WRONG: no"))


async def statuses(database: Database, id_: UUID) -> dict[str, str]:
    return {name: one.status for name, one in (await steps(database, id_)).items()}


async def cancel(database: Database, id_: UUID) -> None:
    async with database.transaction() as session:
        await control.cancel(session, id_, get_settings())


async def test_completed_steps_are_rolled_back_in_reverse_order_and_recorded(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    one, two = make("ONE", rollback=undo("ONE")), make("TWO", rollback=undo("TWO"))
    of = await workflow(database, one, make("PLAIN"), two, make("WRONG", WRONG, rollback=undo("WRONG")))
    id_ = await execution(database, of)

    assert (await run(prefect, await carry(prefect, id_))).is_failed()

    assert ran == ["ONE", "PLAIN", "TWO", "WRONG", "TWO undone", "ONE undone"]
    assert await statuses(database, id_) == {
        "one": "ROLLED_BACK", "plain": "COMPLETED", "two": "ROLLED_BACK", "wrong": "FAILED",
    }  # fmt: skip
    assert (await steps(database, id_))["one"].result == {"word": "hello", "rollback": {"was": {"word": "hello"}}}
    done = await stored(database, id_)
    assert (done.status, done.error_message, done.ending) == (Status.FAILED, "WRONG: no", "")
    lines = [one.message for one in await every(database, ExecutionLog) if one.message.endswith("rolled back")]
    assert lines == ["TWO rolled back", "ONE rolled back"]


async def test_a_failure_that_is_tried_again_undoes_nothing(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    of = await workflow(database, make("ONE", rollback=undo("ONE")), make("AWAY", failing(NetworkError("away"))))
    id_ = await execution(database, of)

    assert (await run(prefect, await carry(prefect, id_))).name == "AwaitingRetry"
    assert "ONE undone" not in ran


async def test_a_rollback_that_fails_is_critical_and_the_next_is_done_all_the_same(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    one, two = make("ONE", rollback=undo("ONE")), make("TWO", rollback=undo("TWO", OSError("disk is gone")))
    id_ = await execution(database, await workflow(database, one, two, make("WRONG", WRONG)))

    await run(prefect, await carry(prefect, id_))

    assert ran[-2:] == ["TWO undone", "ONE undone"]
    assert await statuses(database, id_) == {"one": "ROLLED_BACK", "two": "COMPLETED", "wrong": "FAILED"}
    two_ = (await steps(database, id_))["two"]
    assert (two_.error_code, two_.error_message) == (
        "FILE_SYSTEM_ERROR", "TWO: its rollback failed: OSError: disk is gone",
    )  # fmt: skip
    [critical] = [one for one in await every(database, ExecutionLog) if one.level == "CRITICAL"]
    assert critical.step_identifier == "two"
    assert (await stored(database, id_)).error_message == "WRONG: no"


async def test_a_rollback_whose_answer_cannot_be_stored_has_failed_and_the_next_is_done_all_the_same(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    async def odd(step: StepContext, config: Any) -> Result:
        return {"said": "a\0b"}

    one, two = make("ONE", rollback=undo("ONE")), make("TWO", rollback=odd)
    id_ = await execution(database, await workflow(database, one, two, make("WRONG", WRONG)))

    assert (await run(prefect, await carry(prefect, id_))).is_failed()

    assert await statuses(database, id_) == {"one": "ROLLED_BACK", "two": "COMPLETED", "wrong": "FAILED"}
    assert "it holds a NUL" in (await steps(database, id_))["two"].error_message


async def test_a_rollback_that_takes_too_long_is_stopped(
    database: Database, prefect: PrefectClient, make: MakeStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(step: StepContext, config: Any) -> Result:
        await asyncio.Event().wait()
        return {}

    short = get_settings().model_copy(update={"step_soft_time_limit": 0.2})
    monkeypatch.setattr("automation.engine.entry.get_settings", lambda: short)
    id_ = await execution(database, await workflow(database, make("ONE", rollback=hangs), make("WRONG", WRONG)))

    assert (await run(prefect, await carry(prefect, id_))).is_failed()
    assert (await steps(database, id_))["one"].error_message == "ONE: its rollback failed: took longer than 0.2 s"


async def test_what_was_rolled_back_is_done_anew_by_a_retry(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    one = make("ONE", rollback=undo("ONE"))
    id_ = await execution(database, await workflow(database, one, make("ONCE", failing(ValidationError("no"), 1))))
    await run(prefect, await carry(prefect, id_))
    assert ran == ["ONE", "ONCE", "ONE undone"]

    async with database.transaction() as session:
        await control.retry(session, id_)

    assert (await run(prefect, await carry(prefect, id_))).is_completed()
    assert ran[3:] == ["ONE", "ONCE"]
    assert await statuses(database, id_) == {"one": "COMPLETED", "once": "COMPLETED"}


async def test_a_cancelled_execution_is_rolled_back(database: Database, prefect: PrefectClient, make: MakeStep) -> None:
    async def long(step: StepContext) -> Result:
        await cancel(database, step.execution_id)
        await asyncio.Event().wait()
        return {}

    id_ = await execution(database, await workflow(database, make("ONE", rollback=undo("ONE")), make("LONG", long)))

    assert (await run(prefect, await carry(prefect, id_))).is_cancelled()
    assert ran == ["ONE", "LONG", "ONE undone"]
    assert (await stored(database, id_)).status == Status.CANCELLED


async def test_what_is_cancelled_while_it_waits_is_rolled_back_by_its_own_run(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    approval = WorkflowStep(identifier="asks", step_type="APPROVAL", order=2, config={})
    one, last = planned(make("ONE", rollback=undo("ONE")), 1), planned(make("LAST"), 3)
    id_ = await execution(database, await workflow(database, one, approval, last))
    flow_run = await carry(prefect, id_)
    assert (await run(prefect, flow_run)).name == "Suspended"
    service = Service(database, prefect)
    await service.look()

    await cancel(database, id_)
    await service.look()

    assert (await service.state(flow_run)).name == "Resuming"
    assert (await run(prefect, flow_run)).is_cancelled()
    assert ran == ["ONE", "ONE undone"]
    done = await stored(database, id_)
    assert (done.status, done.error_message, done.attempt) == (Status.CANCELLED, "cancelled by request", 1)
    assert await statuses(database, id_) == {"one": "ROLLED_BACK", "asks": "CANCELLED", "last": "SKIPPED"}
    await service.in_line()


async def test_what_is_cancelled_before_its_next_try_is_rolled_back_at_once(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    away = make("AWAY", failing(NetworkError("away")))
    id_ = await execution(database, await workflow(database, make("ONE", rollback=undo("ONE")), away))
    flow_run = await carry(prefect, id_)
    assert (await run(prefect, flow_run)).name == "AwaitingRetry"
    service = Service(database, prefect)
    await service.look()

    await cancel(database, id_)
    await service.look()

    assert (await service.state(flow_run)).name == "Scheduled"  # now, not when the try is due
    assert (await run(prefect, flow_run)).is_cancelled()
    assert ran == ["ONE", "AWAY", "AWAY", "ONE undone"]
    assert (await stored(database, id_)).status == Status.CANCELLED
    await service.in_line()


async def lost(database: Database, *, code: str = "") -> None:
    """All runs have crashed, and the mirror has seen it."""
    async with database.transaction() as session:
        ended = update(FlowRun).where(FlowRun.ended_at.is_(None))
        await session.execute(ended.values(state="CRASHED", state_name="Crashed", ended_at=utc_now(), lost_code=code))
    async with database.transaction() as session:
        await settle.settle_ended(session, get_settings())


async def test_a_rollback_whose_process_dies_goes_on_where_it_was_and_no_step_is_tried_again(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    dies = [True]

    async def dying(step: StepContext, config: Any) -> Result:
        ran.append("ONE undone")
        if dies.pop():
            dies.append(False)
            await lost(database)
        return {}

    of = await workflow(
        database, make("ONE", rollback=dying), make("TWO", rollback=undo("TWO")), make("WRONG", WRONG), make("NEVER")
    )
    id_ = await execution(database, of)
    await run(prefect, await carry(prefect, id_))

    between = await stored(database, id_)
    assert (between.status, between.ending, between.error_message) == (Status.RETRYING, "FAILED", "WRONG: no")
    assert (await every(database, DeadLetter)) == []

    assert (await run(prefect, await carry(prefect, id_))).is_failed()
    assert ran == ["ONE", "TWO", "WRONG", "TWO undone", "ONE undone", "ONE undone"]
    done = await stored(database, id_)
    assert (done.status, done.ending, done.error_code) == (Status.FAILED, "", "VALIDATION_ERROR")
    assert (done.error_message, done.failed_step, done.attempt) == ("WRONG: no", "wrong", 1)
    assert await statuses(database, id_) == {
        "one": "ROLLED_BACK", "two": "ROLLED_BACK", "wrong": "FAILED", "never": "SKIPPED",
    }  # fmt: skip
    assert len(await every(database, DeadLetter)) == 1


async def test_a_run_that_was_given_up_as_lost_undoes_nothing(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    async def given_up(step: StepContext) -> Result:
        await lost(database)
        raise ValidationError("no")

    of = await workflow(database, make("ONE", rollback=undo("ONE")), make("WRONG", given_up))
    id_ = await execution(database, of)

    await run(prefect, await carry(prefect, id_))

    assert "ONE undone" not in ran
    assert (await stored(database, id_)).status == Status.RETRYING


async def test_an_execution_that_is_lost_too_often_is_rolled_back_by_another_run(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    async def dies(step: StepContext) -> Result:
        await lost(database)
        raise ValidationError("nobody hears this")

    of = await workflow(database, make("ONE", rollback=undo("ONE")), make("DIES", dies), make("NEVER"))
    id_ = await execution(database, of)
    for _ in range(4):  # it is tried again three times
        await run(prefect, await carry(prefect, id_))

    between = await stored(database, id_)
    assert (between.status, between.ending) == (Status.RETRYING, "FAILED")
    assert (await run(prefect, await carry(prefect, id_))).is_failed()

    assert ran == ["ONE", *["DIES"] * 4, "ONE undone"]
    done = await stored(database, id_)
    assert (done.status, done.error_code, done.failed_step, done.attempt) == (
        Status.FAILED, "WORKER_LOST", "dies", 4,
    )  # fmt: skip
    assert await statuses(database, id_) == {"one": "ROLLED_BACK", "dies": "FAILED", "never": "SKIPPED"}


async def test_a_rollback_that_kills_its_process_each_time_is_given_up(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    async def dies(step: StepContext, config: Any) -> Result:
        ran.append("ONE undone")
        await lost(database)
        return {}

    id_ = await execution(database, await workflow(database, make("ONE", rollback=dies), make("WRONG", WRONG)))
    for _ in range(4):
        await run(prefect, await carry(prefect, id_))

    assert ran.count("ONE undone") == 4
    done = await stored(database, id_)
    assert (done.status, done.error_message, done.ending) == (Status.FAILED, "WRONG: no", "")
    assert len(await every(database, DeadLetter)) == 1
