"""Flow runs of ours from begin to end, on a real Prefect server and a real database."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType
from sqlalchemy import select

from automation import catalog, control, engine
from automation.database import Database
from automation.errors import FileSystemError, NetworkError, ValidationError
from automation.models import Activity, Execution, ExecutionLog, FlowRun, Status, Workflow, utc_now
from automation.settings import get_settings
from automation.steps import Result, StepContext
from deployments.platform import apply_platform_workflows
from tests.integration.flows import carry, create, run
from tests.integration.making import MakeStep, failing, ran, steps
from tests.integration.rows import every, execution, planned, stored, workflow

pytestmark = pytest.mark.usefixtures("deployed")


async def test_steps_run_in_order_and_their_results_are_recorded(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    async def reads(step: StepContext) -> Result:
        return {"before": dict(step.results), "project": step.project.name, "data": step.trigger_data}

    of = await workflow(database, make("ONE"), make("TWO", reads))
    id_ = await execution(database, of, trigger_data={"x": 1})

    state = await run(prefect, await carry(prefect, id_))

    assert state.type == StateType.COMPLETED
    done = await stored(database, id_)
    assert (done.status, done.attempt, done.error_message) == (Status.COMPLETED, 1, "")
    assert done.completed_at is not None
    found = await steps(database, id_)
    assert found["two"].result == {"before": {"one": {"word": "hello"}}, "project": "Project p1", "data": {"x": 1}}
    assert {one.status for one in found.values()} == {Status.COMPLETED}
    assert all(one.task_run_id and one.duration_ms is not None for one in found.values())
    assert ran == ["ONE", "TWO"]


async def test_steps_of_equal_order_run_side_by_side(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    together = asyncio.Barrier(2)

    async def meets(step: StepContext) -> Result:
        async with asyncio.timeout(10), together:
            return {}

    left, right, last = make("LEFT", meets), make("RIGHT", meets), make("LAST")
    of = await workflow(database, planned(left, 1), planned(right, 1), planned(last, 2))
    id_ = await execution(database, of)

    assert (await run(prefect, await carry(prefect, id_))).is_completed()
    assert ran[-1] == "LAST"


async def test_a_required_step_that_fails_ends_the_execution_and_skips_the_rest(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    wrong = make("WRONG", failing(ValidationError("WRONG: page 'home' has no title")))
    of = await workflow(database, make("ONE"), wrong, make("LATER"))
    id_ = await execution(database, of)

    state = await run(prefect, await carry(prefect, id_))

    assert (state.type, state.message) == (StateType.FAILED, "WRONG: page 'home' has no title")
    done = await stored(database, id_)
    assert (done.status, done.error_code, done.error_message) == (Status.FAILED, "VALIDATION_ERROR", state.message)
    found = await steps(database, id_)
    assert {name: one.status for name, one in found.items()} == {
        "one": Status.COMPLETED, "wrong": Status.FAILED, "later": Status.SKIPPED,
    }  # fmt: skip
    assert "wrong" in found["later"].error_message
    assert ran == ["ONE", "WRONG"]


async def test_two_steps_that_fail_side_by_side_are_both_recorded_as_failed(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    wrong = failing(ValidationError("wrong"))
    of = await workflow(
        database, planned(make("LEFT", wrong), 1), planned(make("RIGHT", wrong), 1), planned(make("LAST"), 2)
    )
    id_ = await execution(database, of)

    await run(prefect, await carry(prefect, id_))

    assert {name: one.status for name, one in (await steps(database, id_)).items()} == {
        "left": Status.FAILED, "right": Status.FAILED, "last": Status.SKIPPED,
    }  # fmt: skip


async def test_a_failed_step_that_is_not_required_is_recorded_and_the_workflow_goes_on(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    weak = make("WEAK", failing(ValidationError("nobody reads this mail")))
    of = await workflow(database, planned(weak, 1, is_required=False), planned(make("LATER"), 2))
    id_ = await execution(database, of)

    assert (await run(prefect, await carry(prefect, id_))).is_completed()

    done = await stored(database, id_)
    assert done.status == Status.COMPLETED
    assert done.result["degraded"] == {"weak": "nobody reads this mail"}
    assert ran == ["WEAK", "LATER"]


async def test_a_retry_waits_without_a_worker_and_starts_at_the_failed_step(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    of = await workflow(database, make("ONE"), make("FLAKY", failing(NetworkError("no route"), times=2)), make("LAST"))
    id_ = await execution(database, of)
    flow_run = await carry(prefect, id_)

    state = await run(prefect, flow_run)

    waiting = await stored(database, id_)
    assert (state.name, state.type) == ("AwaitingRetry", StateType.SCHEDULED)
    assert state.state_details.scheduled_time == waiting.due_at
    assert timedelta(seconds=20) < waiting.due_at - utc_now() <= timedelta(seconds=30)
    assert (waiting.status, waiting.error_code) == (Status.RETRYING, "NETWORK_ERROR")
    assert ran == ["ONE", "FLAKY", "FLAKY"]  # the second is Prefect's repetition in place

    assert (await run(prefect, flow_run)).is_completed()

    done = await stored(database, id_)
    assert (done.status, done.attempt, done.error_message) == (Status.COMPLETED, 2, "")
    assert ran == ["ONE", "FLAKY", "FLAKY", "FLAKY", "LAST"]
    assert set(done.result["steps"]) == {"one", "flaky", "last"}


async def test_when_no_retry_is_left_the_execution_has_failed(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    of = await workflow(database, make("FULL", failing(FileSystemError("disk full"))))
    id_ = await execution(database, of)
    flow_run = await carry(prefect, id_)

    states = [(await run(prefect, flow_run)).name for _ in range(3)]

    assert states == ["AwaitingRetry", "AwaitingRetry", "Failed"]
    assert (await stored(database, id_)).status == Status.FAILED


async def test_rows_of_a_step_are_written_with_its_outcome_or_not_at_all(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    async def leaves(step: StepContext) -> Result:
        step.add(Activity(idempotency_key=step.idempotency_key, project_id="p1", type="t"))
        if step.identifier == "bad":
            raise ValidationError("no")
        return {}

    of = await workflow(database, make("GOOD", leaves), make("BAD", leaves))
    id_ = await execution(database, of)

    await run(prefect, await carry(prefect, id_))

    assert [one.idempotency_key for one in await every(database, Activity)] == [f"{id_}:good"]


async def cancelled_while_running(database: Database, id_: UUID) -> None:
    async with database.transaction() as session:
        await control.cancel(session, id_, get_settings())


async def test_a_cancel_request_stops_the_step_under_way(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    async def asks_and_waits(step: StepContext) -> Result:
        await cancelled_while_running(database, step.execution_id)
        await asyncio.Event().wait()
        return {}

    of = await workflow(database, make("LONG", asks_and_waits), make("LATER"))
    id_ = await execution(database, of)

    state = await run(prefect, await carry(prefect, id_))

    assert state.type == StateType.CANCELLED
    done = await stored(database, id_)
    assert (done.status, done.error_code) == (Status.CANCELLED, "CANCELLED")
    assert {name: one.status for name, one in (await steps(database, id_)).items()} == {
        "long": Status.CANCELLED, "later": Status.SKIPPED,
    }  # fmt: skip
    assert ran == ["LONG"]


async def test_a_run_that_its_worker_stops_begins_no_further_step(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    flow_run_id: list[UUID] = []

    async def stopped(step: StepContext) -> Result:
        assert engine.cancel(flow_run_id[0], "its worker stops")
        return {}

    of = await workflow(database, make("ONE", stopped), make("LATER"))
    id_ = await execution(database, of)
    flow_run = await carry(prefect, id_)
    flow_run_id.append(flow_run.id)

    state = await run(prefect, flow_run)

    assert state.is_cancelled()
    assert ran == ["ONE"]
    assert (await stored(database, id_)).status == Status.CANCELLED
    assert engine.cancel(flow_run.id, "again") is False


async def test_log_lines_are_recorded_once_with_their_step_and_cannot_be_forged(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    async def speaks(step: StepContext) -> Result:
        step.log("saved\n2026-01-01 CRITICAL forged", "WARNING", files=2)
        return {}

    of = await workflow(database, make("SPEAKS", speaks), make("MUTE"))
    id_ = await execution(database, of)

    await run(prefect, await carry(prefect, id_))

    lines = [one for one in await every(database, ExecutionLog) if one.execution_id == id_]
    assert [(one.step_identifier, one.level, one.message) for one in lines] == [
        ("speaks", "WARNING", "saved\\n2026-01-01 CRITICAL forged"),
        ("mute", "INFO", "MUTE completed"),
    ]
    assert lines[0].details == {"files": 2}
    assert all(one.step_id and one.project_id == "p1" for one in lines)


async def test_a_step_type_that_nobody_knows_fails_with_its_name(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    made = make("GONE")
    of = await workflow(database, made)
    catalog.step_types().pop("GONE")
    id_ = await execution(database, of)

    state = await run(prefect, await carry(prefect, id_))

    assert state.is_failed()
    assert "'GONE' is not known" in (await stored(database, id_)).error_message


async def test_steps_that_wait_for_each_other_fail_the_execution_and_say_so(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    one, two = make("ONE"), make("TWO")
    of = await workflow(database, planned(one, 1, depends_on=["two"]), planned(two, 2, depends_on=["one"]))
    id_ = await execution(database, of)

    await run(prefect, await carry(prefect, id_))

    done = await stored(database, id_)
    assert (done.status, ran) == (Status.FAILED, [])
    assert "wait for each other" in done.error_message


async def test_a_run_started_by_a_person_makes_one_execution_also_when_it_comes_again(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    of = await workflow(database, make("ONE", failing(NetworkError("away"), times=2)))
    flow_run = await create(prefect, "publish", workflow_id=str(of), trigger_data={"input": {"n": 1}})

    assert (await run(prefect, flow_run)).name == "AwaitingRetry"
    assert (await run(prefect, flow_run)).is_completed()

    [made] = await every(database, Execution)
    assert (made.workflow_id, made.status, made.attempt) == (of, Status.COMPLETED, 2)
    assert made.trigger_data == {"input": {"n": 1}}
    named = await prefect.read_flow_run(flow_run.id)
    assert named.name == "W publish"
    assert {f"execution:{made.id}", f"workflow:{of}", "project:p1"} <= set(named.tags)


async def test_a_flow_of_the_platform_needs_no_parameters(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    await apply_platform_workflows(database)
    async with database.transaction() as session:
        of = (await session.scalars(select(Workflow).where(Workflow.kind == "cleanup"))).one()

    assert (await run(prefect, await create(prefect, "cleanup"), "cleanup")).is_completed()

    [made] = await every(database, Execution)
    assert (made.workflow_id, made.project_id, made.status) == (of.id, None, Status.COMPLETED)
    assert len(await steps(database, made.id)) == 3


async def test_a_run_of_a_workflow_that_does_not_exist_fails_and_leaves_nothing(
    database: Database, prefect: PrefectClient
) -> None:
    gone = uuid4()

    state = await run(prefect, await create(prefect, "publish", workflow_id=str(gone)))

    assert state.is_failed()
    assert str(gone) in (state.message or "")
    assert await every(database, Execution) == []


async def test_a_second_run_of_the_same_execution_has_nothing_to_do(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    id_ = await execution(database, await workflow(database, make("ONE")))
    first, second = await carry(prefect, id_), await carry(prefect, id_)

    assert [(await run(prefect, one)).name for one in (first, second)] == ["Completed", "Completed"]

    assert ran == ["ONE"]
    assert (await stored(database, id_)).attempt == 1


async def test_a_run_whose_execution_was_cancelled_meanwhile_is_cancelled_too(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    id_ = await execution(database, await workflow(database, make("ONE")))
    flow_run = await carry(prefect, id_)
    row = FlowRun(id=uuid4(), prefect_id=flow_run.id, kind="publish", state="SCHEDULED")
    async with database.transaction() as session:
        session.add(row)
        await session.flush()
        (await session.get_one(Execution, id_)).flow_run_id = row.id
    async with database.transaction() as session:
        await control.cancel(session, id_, get_settings())

    assert (await run(prefect, flow_run)).is_cancelled()
    assert ran == []


async def test_what_a_run_does_after_it_was_given_up_is_not_recorded(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    async def given_up(step: StepContext) -> Result:
        async with database.transaction() as session:
            run_ = (await session.scalars(select(FlowRun))).one()
            run_.state, run_.ended_at = "CRASHED", utc_now()
        await asyncio.Event().wait()
        return {}

    id_ = await execution(database, await workflow(database, make("LONG", given_up)))

    await run(prefect, await carry(prefect, id_))

    assert (await stored(database, id_)).status == Status.RUNNING  # the mirror hands it to the retry policy


async def test_a_workflow_that_runs_longer_than_its_limit_is_stopped(
    database: Database, prefect: PrefectClient, make: MakeStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(step: StepContext) -> Result:
        await asyncio.sleep(60)
        return {}

    short = get_settings().model_copy(update={"workflow_timeout": 0.2})
    monkeypatch.setattr("automation.engine.entry.get_settings", lambda: short)
    id_ = await execution(database, await workflow(database, make("SLOW", slow), make("NEVER")))
    state = await run(prefect, await carry(prefect, id_))

    one = await stored(database, id_)
    assert (one.status, one.error_code) == (Status.FAILED, "WORKFLOW_TIMEOUT")
    assert "longer than its 0.2 s (WORKFLOW_TIMEOUT)" in one.error_message
    assert state.is_failed()  # never tried again: it would be as long
    assert ran == ["SLOW"]


async def test_the_limit_of_a_workflow_counts_all_its_stretches_but_not_the_time_between(
    database: Database, prefect: PrefectClient, make: MakeStep, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def half(step: StepContext) -> Result:
        await asyncio.sleep(0.4)
        raise FileSystemError("disk full")

    short = get_settings().model_copy(update={"workflow_timeout": 0.6})
    monkeypatch.setattr("automation.engine.entry.get_settings", lambda: short)
    id_ = await execution(database, await workflow(database, make("HALF", half, retries=0)))
    flow_run = await carry(prefect, id_)

    assert (await run(prefect, flow_run)).name == "AwaitingRetry"
    first = await stored(database, id_)
    assert 0.4 <= first.ran_seconds < 0.6
    await asyncio.sleep(0.3)  # backoff, which is nobody's running time
    assert (await run(prefect, flow_run)).is_failed()

    second = await stored(database, id_)
    assert (second.error_code, second.attempt) == ("WORKFLOW_TIMEOUT", 2)
    assert ran == ["HALF", "HALF"]  # it began once more, for the rest of its time


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"executions": [], "workflow_id": str(uuid4())}, "not several"),
        ({"executions": [str(uuid4())]}, "No such execution"),
    ],
)
async def test_a_run_that_is_started_wrongly_fails_and_says_why(
    database: Database, prefect: PrefectClient, parameters: dict[str, Any], said: str
) -> None:
    state = await run(prefect, await create(prefect, "publish", **parameters))

    assert state.type == StateType.FAILED
    assert said in (state.message or "")


async def test_a_flow_does_not_run_a_workflow_of_another_kind(database: Database, prefect: PrefectClient) -> None:
    of = await workflow(database, kind="generate")
    state = await run(prefect, await create(prefect, "publish", workflow_id=str(of)))

    assert "start flow 'generate'" in (state.message or "")
    assert await every(database, Execution) == []
