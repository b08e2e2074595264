"""Trying again: by which rule, from where, by whom, and on which version of the workflow."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry, Scheduled
from sqlalchemy import update

from automation import control
from automation.database import Database
from automation.errors import NetworkError, RefusedError, ValidationError
from automation.models import (
    DeadLetter,
    Execution,
    ExecutionAttempt,
    Status,
    StepAttempt,
    Workflow,
    WorkflowStep,
    WorkflowVersion,
    utc_now,
)
from automation.retries import parse_rules
from automation.settings import get_settings
from automation.steps import Result, StepContext
from tests.integration.flows import carry, create, run
from tests.integration.making import MakeStep, failing, ran, steps
from tests.integration.rows import every, execution, planned, stored, workflow
from tests.integration.service import Service

pytestmark = pytest.mark.usefixtures("deployed")

AWAY = NetworkError("away")


def backoff(one: Execution) -> float:
    return (one.due_at - utc_now()).total_seconds()


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set AUTOMATION_RETRY_CONFIG."""

    def set_(table: dict[str, Any]) -> None:
        changed = get_settings().model_copy(update={"retry_config": parse_rules(table, "retry")})
        monkeypatch.setattr("automation.engine.entry.get_settings", lambda: changed)

    return set_


async def retry(database: Database, id_: UUID, **how: Any) -> None:
    async with database.transaction() as session:
        await control.retry(session, id_, **how)


@pytest.mark.parametrize(
    ("setting", "of_workflow", "of_step", "seconds"),
    [
        ({}, {}, {}, 30),
        ({"NETWORK_ERROR": {"backoff": 1000}}, {}, {}, 1000),
        ({"NETWORK_ERROR": {"backoff": 1000}}, {"NETWORK_ERROR": {"backoff": 2000}}, {}, 2000),
        ({"NETWORK_ERROR": {"backoff": 1000}}, {"NETWORK_ERROR": {"backoff": 2000}}, {"backoff": 3000}, 3000),
    ],
    ids=["default", "setting", "workflow", "step"],
)
async def test_the_nearest_rule_says_when_it_is_tried_again(
    database: Database, prefect: PrefectClient, make: MakeStep, rules: Any,
    setting: dict[str, Any], of_workflow: dict[str, Any], of_step: dict[str, Any], seconds: float,
) -> None:  # fmt: skip
    rules(setting)
    step = planned(make("AWAY", failing(AWAY)), 1, config={"retry": of_step} if of_step else {})
    of = await workflow(database, step)
    async with database.transaction() as session:
        (await session.get_one(Workflow, of)).config = {"retry": of_workflow}
    id_ = await execution(database, of)

    assert (await run(prefect, await carry(prefect, id_))).name == "AwaitingRetry"
    assert seconds - 15 < backoff(await stored(database, id_)) <= seconds


async def test_waits_grow_by_their_factor(
    database: Database, prefect: PrefectClient, make: MakeStep, rules: Any
) -> None:
    rules({"NETWORK_ERROR": {"backoff": 1000, "factor": 3, "max_retries": 2}})
    id_ = await execution(database, await workflow(database, make("AWAY", failing(AWAY))))
    flow_run = await carry(prefect, id_)

    waits = []
    for _ in range(2):
        await run(prefect, flow_run)
        waits.append(round(backoff(await stored(database, id_)), -3))
    assert waits == [1000, 3000]

    assert (await run(prefect, flow_run)).is_failed()
    [letter] = await every(database, DeadLetter)
    assert (letter.execution_id, letter.failed_step, letter.error_code) == (id_, "away", "NETWORK_ERROR")


async def test_a_neighbour_that_says_when_to_come_back_is_not_asked_before(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    busy = NetworkError("429", retry_after=5000)
    id_ = await execution(database, await workflow(database, make("BUSY", failing(busy))))

    await run(prefect, await carry(prefect, id_))

    assert 4900 < backoff(await stored(database, id_)) <= 5000
    assert ran == ["BUSY"]  # and not at once, either


async def test_another_step_that_fails_begins_a_count_of_its_own(
    database: Database, prefect: PrefectClient, make: MakeStep, rules: Any
) -> None:
    rules({"NETWORK_ERROR": {"max_retries": 1, "backoff": 0}})
    one, two = make("ONE", failing(AWAY, 1), retries=0), make("TWO", failing(AWAY, 1), retries=0)
    id_ = await execution(database, await workflow(database, one, two))
    flow_run = await carry(prefect, id_)

    names = [(await run(prefect, flow_run)).name for _ in range(3)]

    assert names == ["AwaitingRetry", "AwaitingRetry", "Completed"]
    done = await stored(database, id_)
    assert (done.attempt, done.retries, done.failed_step) == (3, 0, "")


async def test_every_attempt_and_every_try_of_a_step_is_kept(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    id_ = await execution(database, await workflow(database, make("ONE"), make("AWAY", failing(AWAY, 2), retries=0)))
    flow_run = await carry(prefect, id_)
    for _ in range(3):
        await run(prefect, flow_run)

    assert [(one.attempt, one.failed_step, one.error_code, one.asked_by) for one in await attempts(database)] == [
        (1, "away", "NETWORK_ERROR", ""), (2, "away", "NETWORK_ERROR", ""),
    ]  # fmt: skip
    tries = await every(database, StepAttempt)
    assert [(one.identifier, one.attempt, one.status) for one in tries] == [
        ("away", 1, "FAILED"), ("away", 2, "FAILED"),
    ]  # fmt: skip
    assert (await steps(database, id_))["away"].attempt == 3


async def attempts(database: Database) -> list[ExecutionAttempt]:
    return sorted(await every(database, ExecutionAttempt), key=lambda one: one.id)


async def test_a_retry_goes_on_at_the_step_that_failed_and_says_who_asked_and_why(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    id_ = await execution(
        database, await workflow(database, make("ONE"), make("TWO", failing(ValidationError("no"), 1)))
    )
    await run(prefect, await carry(prefect, id_))

    await retry(database, id_, asked_by="ada", reason="the page is mended")
    assert (await run(prefect, await carry(prefect, id_))).is_completed()

    assert ran == ["ONE", "TWO", "TWO"]
    [asked] = await attempts(database)
    assert (asked.attempt, asked.asked_by, asked.reason, asked.failed_step) == (1, "ada", "the page is mended", "two")
    done = await stored(database, id_)
    assert (done.attempt, done.status) == (2, Status.COMPLETED)
    [letter] = await every(database, DeadLetter)
    assert letter.redriven_by == "ada"


async def keyed(step: StepContext) -> Result:
    return {"key": step.idempotency_key}


async def test_from_a_step_on_everything_behind_it_runs_anew_and_its_effects_are_new_ones(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    of = await workflow(
        database,
        planned(make("ONE", keyed), 1),
        planned(make("TWO", keyed), 2),
        planned(make("BESIDE", keyed), 2, depends_on=["one"]),
        planned(make("THREE", keyed), 3, depends_on=["two"]),
        planned(make("WRONG", failing(ValidationError("no"), 1)), 4),
    )
    id_ = await execution(database, of)
    await run(prefect, await carry(prefect, id_))
    before = {name: one.result.get("key") for name, one in (await steps(database, id_)).items()}
    ran.clear()

    with pytest.raises(RefusedError, match="it has one, beside, two, three, wrong"):
        await retry(database, id_, from_step="tow")
    await retry(database, id_, from_step="two")
    assert (await run(prefect, await carry(prefect, id_))).is_completed()

    assert ran == ["TWO", "THREE", "WRONG"]
    after = {name: one.result.get("key") for name, one in (await steps(database, id_)).items()}
    assert {name for name in after if after[name] != before[name]} == {"two", "three"}


async def test_from_the_start_everything_runs_on_the_new_input_and_the_new_version(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    async def wrong(step: StepContext) -> Result:
        if step.trigger_data["input"] == {"n": 1}:
            raise ValidationError("1 is too little")
        return {}

    of = await workflow(database, make("ONE"), make("WRONG", wrong), kind="custom-workflow")
    id_ = await execution(database, of, trigger_data={"input": {"n": 1}})

    async def carried() -> State[Any]:
        flow_run = await create(prefect, "custom-workflow", executions=[str(id_)])
        return await run(prefect, flow_run, "custom-workflow")

    await carried()
    before = (await stored(database, id_)).workflow_version or 0
    await rename(database, of, "one", "renamed")
    ran.clear()

    with pytest.raises(RefusedError, match="from_start"):
        await retry(database, id_, input={"n": 2})
    await retry(database, id_, from_start=True, input={"n": 2})
    assert (await carried()).is_completed()

    assert ran == ["ONE", "WRONG"]
    done = await stored(database, id_)
    assert set(done.result["steps"]) == {"renamed", "wrong"}
    assert done.workflow_version == before + 1
    assert [one.from_step for one in await attempts(database)] == ["*"]


async def rename(database: Database, of: UUID, old: str, new: str) -> None:
    async with database.transaction() as session:
        await session.execute(
            update(WorkflowStep)
            .where(WorkflowStep.workflow_id == of, WorkflowStep.identifier == old)
            .values(identifier=new)
        )


async def test_an_execution_ends_on_the_version_that_it_began_on(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    async def edits(step: StepContext) -> Result:
        await rename(database, step.workflow_id, "last", "edited")
        return {}

    away, no = make("AWAY", failing(AWAY, 1), retries=0), make("NO", failing(ValidationError("no"), 1))
    of = await workflow(database, make("ONE", edits), away, no, make("LAST"))
    id_ = await execution(database, of)
    flow_run = await carry(prefect, id_)
    assert (await run(prefect, flow_run)).name == "AwaitingRetry"
    assert (await run(prefect, flow_run)).is_failed()
    await retry(database, id_)
    assert (await run(prefect, await carry(prefect, id_))).is_completed()

    version = (await stored(database, id_)).workflow_version or 0
    assert "last" in await steps(database, id_)
    newer = await execution(database, of)
    await run(prefect, await carry(prefect, newer))
    assert (await stored(database, newer)).workflow_version == version + 1
    assert "edited" in await steps(database, newer)
    assert sorted(one.version for one in await every(database, WorkflowVersion)) == [version, version + 1]


async def test_prefects_retry_button_tries_a_failed_execution_again(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    id_ = await execution(
        database, await workflow(database, make("ONE"), make("TWO", failing(ValidationError("no"), 1)))
    )
    flow_run = await carry(prefect, id_)
    assert (await run(prefect, flow_run)).is_failed()
    service = Service(database, prefect)
    await service.look()

    await prefect.set_flow_run_state(flow_run.id, AwaitingRetry(scheduled_time=utc_now()), force=True)
    await prefect.set_flow_run_state(flow_run.id, Scheduled(name="Late"), force=True)
    assert (await run(prefect, flow_run)).is_completed()

    assert ran == ["ONE", "TWO", "TWO"]
    assert (await stored(database, id_)).status == Status.COMPLETED
    [asked] = await attempts(database)
    assert (asked.asked_by, asked.reason) == ("prefect-ui", "retried in Prefect")
    await service.in_line()


async def test_prefects_retry_button_does_not_do_again_what_is_done(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    id_ = await execution(database, await workflow(database, make("ONE")))
    flow_run = await carry(prefect, id_)
    assert (await run(prefect, flow_run)).is_completed()

    await prefect.set_flow_run_state(flow_run.id, AwaitingRetry(scheduled_time=utc_now()), force=True)
    assert (await run(prefect, flow_run)).is_completed()
    assert ran == ["ONE"]


async def test_a_step_that_is_not_wanted_is_skipped_with_the_reason_and_what_follows_runs(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    unwanted = {"field": "steps.one.result.word", "operator": "==", "value": "bye"}
    wanted = {"field": "trigger.data.colour", "operator": "==", "value": "red"}
    of = await workflow(
        database,
        planned(make("ONE"), 1),
        planned(make("UNWANTED"), 2, conditions=unwanted),
        planned(make("WANTED"), 3, conditions=wanted),
    )
    id_ = await execution(database, of, trigger_data={"input": {"colour": "red"}})

    assert (await run(prefect, await carry(prefect, id_))).is_completed()

    assert ran == ["ONE", "WANTED"]
    skipped = (await steps(database, id_))["unwanted"]
    assert skipped.status == Status.SKIPPED
    assert skipped.error_message.startswith("not wanted: ")
    assert "steps.one.result.word" in skipped.error_message


async def test_depends_on_lets_a_branch_pass_what_it_does_not_wait_for(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    of = await workflow(
        database,
        planned(make("A"), 1),
        planned(make("B", failing(AWAY)), 2),
        planned(make("C"), 3, depends_on=["a"]),
        planned(make("D"), 4, depends_on=["b", "c"]),
    )
    id_ = await execution(database, of)

    await run(prefect, await carry(prefect, id_))

    assert [name for name in ran if name != "B"] == ["A", "C"]


async def test_a_step_has_the_time_that_its_config_gives_it(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    async def hangs(step: StepContext) -> Result:
        await asyncio.Event().wait()
        return {}

    slow = planned(make("SLOW", hangs), 1, config={"timeout_seconds": 0.1})
    id_ = await execution(database, await workflow(database, slow))

    await run(prefect, await carry(prefect, id_))

    one = await stored(database, id_)
    assert (one.status, one.error_code) == (Status.RETRYING, "TIMEOUT_ERROR")
    assert one.error_message == "SLOW: took longer than its limit of 0.1 s and was stopped."
    assert timedelta(seconds=50) < one.due_at - utc_now() <= timedelta(seconds=60)
