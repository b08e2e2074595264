"""500 executions with known failures and durations: the platform's five metrics have to say exactly that."""

import asyncio
from datetime import timedelta

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun as PrefectRun
from prefect.flow_engine import run_flow_async
from prefect.states import Pending
from sqlalchemy import update

from automation import control
from automation.database import Database
from automation.engine.work import process_database
from automation.errors import NetworkError, ValidationError
from automation.models import Execution, Status, StepExecution, utc_now
from automation.monitoring.fold import fold_all
from automation.monitoring.insights import (
    StepInsight,
    WorkflowInsight,
    error_insights,
    resource_insights,
    step_insights,
    workflow_insights,
)
from automation.monitoring.resources import Sampler
from automation.monitoring.windows import Window
from automation.settings import get_settings
from automation.steps import Result, StepContext
from flows.auto_save import auto_save
from tests.integration import rows
from tests.integration.flows import create
from tests.integration.making import MakeStep
from tests.integration.monitoring.ending import end_it, ended
from tests.integration.statements import statements

BUCKET = 1.29
"""How far a percentile may be off: to the next bound. What is below the first one may be anywhere there."""


def about(found: float | None, expected: float) -> bool:
    return found is not None and (expected / BUCKET <= found <= expected * BUCKET or max(found, expected) <= 1)


def lately() -> Window:
    return Window(utc_now() - timedelta(hours=1), utc_now() + timedelta(minutes=1))


async def figures(database: Database) -> tuple[list[WorkflowInsight], list[StepInsight]]:
    await fold_all(database)
    async with database.transaction() as session:
        return await workflow_insights(session, lately()), await step_insights(session, lately())


async def test_known_durations_and_failures_are_what_the_five_metrics_say(database: Database) -> None:
    saves = await rows.workflow(database, kind="auto-save")
    publishes = await rows.workflow(database, kind="publish", project_id="p2")
    durations = [0.010 * (1 + number) for number in range(400)]  # 10 ms to 4 s, evenly
    for number, seconds in enumerate(durations):
        failed = number % 10 == 3
        error = {"error_code": "NETWORK_ERROR", "error_message": f"no answer after {number} ms"} if failed else {}
        await ended(
            database, saves, Status.FAILED if failed else Status.COMPLETED, seconds=seconds,
            steps={"VALIDATE_PAGE": (Status.COMPLETED, 2.0), "SAVE_TO_RUNTIME": (
                Status.FAILED if failed else Status.COMPLETED, seconds * 500)},
            **error,
        )  # fmt: skip
    for number in range(100):
        status = Status.CANCELLED if number < 20 else Status.FAILED if number < 30 else Status.COMPLETED
        await ended(database, publishes, status, seconds=20, error_code="DATABASE_ERROR" * (status == Status.FAILED))

    (save, publish), (saving, validating) = await figures(database)

    # success rate by type of workflow
    assert (save.kind, save.count, save.completed, save.failed, save.cancelled) == ("auto-save", 400, 360, 40, 0)
    assert save.success_rate == 0.9
    assert (publish.completed, publish.failed, publish.cancelled) == (70, 10, 20)
    assert publish.success_rate == 70 / 80
    # execution time
    assert save.mean_ms == pytest.approx(2005)
    assert about(save.p50_ms, 2000)
    assert about(save.p95_ms, 3800)
    assert about(save.p99_ms, 3960)
    assert publish.mean_ms == pytest.approx(20_000)
    assert about(publish.to_done_p95_ms, 20_500)
    # performance of steps
    assert (validating.step_type, validating.count, validating.failed) == ("VALIDATE_PAGE", 400, 0)
    assert validating.mean_ms == pytest.approx(2.0)
    assert (saving.step_type, saving.count, saving.failed) == ("SAVE_TO_RUNTIME", 400, 40)
    assert saving.mean_ms == pytest.approx(1002.5)
    # frequent errors
    async with database.transaction() as session:
        first, second = await error_insights(session, lately())
    assert (first.error_code, first.count, first.message) == ("NETWORK_ERROR", 40, "no answer after <number> ms")
    assert (second.error_code, second.count) == ("DATABASE_ERROR", 10)
    # use of resources
    sampler = Sampler(database, "service", get_settings().home)
    for _ in range(2):
        await sampler.look()
    async with database.transaction() as session:
        series = {one.role: one.points for one in await resource_insights(session, lately())}
    assert series.keys() == {"service", "host", "database"}
    assert series["service"][-1].cpu is not None
    assert (series["service"][-1].memory_bytes or 0) > 10_000_000
    assert (series["database"][-1].connections or 0) >= 1


async def test_a_project_s_own_figures_are_those_of_its_executions(database: Database) -> None:
    mine = await rows.workflow(database, kind="auto-save", project_id="p1")
    other = await rows.workflow(database, kind="auto-save", project_id="p2")
    for number in range(10):
        await ended(database, mine, seconds=0.1, steps={"SAVE_TO_RUNTIME": (Status.COMPLETED, 50.0)})
        await ended(database, other, seconds=5)
        if number < 5:
            await ended(
                database, mine, Status.FAILED, seconds=0.3, error_code="NETWORK_ERROR", error_message=f"{number}"
            )

    async with database.transaction() as session:
        [found] = await workflow_insights(session, lately(), project_id="p1")
        [step] = await step_insights(session, lately(), project_id="p1")
        [error] = await error_insights(session, lately(), project_id="p1")
        assert await workflow_insights(session, lately(), project_id="nobody") == []
    assert (found.completed, found.failed, found.success_rate) == (10, 5, 10 / 15)
    assert found.mean_ms == pytest.approx((10 * 100 + 5 * 300) / 15)
    assert about(found.p50_ms, 100)
    assert (step.count, step.mean_ms) == (10, 50.0)
    assert (error.count, error.message) == (5, "<number>")


async def test_a_project_s_figures_and_those_of_all_agree_on_what_was_tried_again(database: Database) -> None:
    workflow_id = await rows.workflow(database, kind="publish", project_id="p1")
    id_ = await ended(
        database, workflow_id, Status.FAILED, seconds=2, error_code="NETWORK_ERROR", error_message="no answer",
        steps={"CHECK": (Status.COMPLETED, 10.0), "DEPLOY": (Status.FAILED, 20.0)},
    )  # fmt: skip
    async with database.transaction() as session:
        await control.retry(session, id_, asked_by="olga")
    # its second try, on a machine whose clock is behind
    async with database.transaction() as session:
        step = update(StepExecution).where(StepExecution.execution_id == id_, StepExecution.step_type == "DEPLOY")
        await session.execute(step.values(status=Status.COMPLETED, attempt=2, duration_ms=30.0))
        await session.execute(update(Execution).where(Execution.id == id_).values(status=Status.RUNNING, attempt=2))
    await end_it(database, id_, Status.COMPLETED, utc_now() - timedelta(minutes=2))

    (of_all,), steps = await figures(database)
    async with database.transaction() as session:
        [own] = await workflow_insights(session, lately(), project_id="p1")
        assert await step_insights(session, lately(), project_id="p1") == steps
        [error] = await error_insights(session, lately())
        [own_error] = await error_insights(session, lately(), project_id="p1")
    assert [(one.step_type, one.count, one.failed) for one in steps] == [("CHECK", 1, 0), ("DEPLOY", 2, 1)]
    assert (error.count, own_error.count, own_error.message) == (1, 1, "no answer")
    # all had two endings, of which the project shows the last
    assert (of_all.completed, of_all.failed, of_all.mean_ms) == (1, 1, 1000)
    assert (own.completed, own.failed, own.mean_ms) == (1, 0, 0)


FAILING, FLAKY, SLOW = range(60), range(60, 80), range(80, 100)


async def begin(prefect: PrefectClient) -> PrefectRun:
    flow_run = await create(prefect, "auto-save", batch="auto-save")
    await prefect.set_flow_run_state(flow_run.id, Pending(), force=True)
    return await prefect.read_flow_run(flow_run.id)


@pytest.mark.usefixtures("deployed")
async def test_the_real_engine_s_500_are_counted_and_cost_it_no_statement(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    async def body(step: StepContext) -> Result:
        number = step.trigger_data["number"]
        if number in FAILING:
            raise ValidationError(f"page 'p{number}': 17 components too many")
        if number in FLAKY:
            raise NetworkError(f"no answer from 10.0.0.{number}")
        if number in SLOW:
            await asyncio.sleep(0.2)
        return {}

    of = await rows.workflow(database, make("SCRIPTED", body, retries=0), kind="auto-save")
    async with database.transaction() as session:
        session.add_all(
            Execution(
                workflow_id=of, project_id="p1", kind="auto-save", trigger_type="API_CALL", key=f"{number}",
                batch=True, trigger_data={"number": number},
            )
            for number in range(500)
        )  # fmt: skip
    flow_run = await begin(prefect)
    with statements(process_database()) as said:
        await run_flow_async(auto_save, flow_run=flow_run, parameters=flow_run.parameters, return_type="state")
    assert said
    assert not [one for one, _ in said if "endings" in one or "timings" in one]

    [found], [step] = await figures(database)
    assert (found.completed, found.failed, found.cancelled) == (420, 60, 0)
    assert found.success_rate == 420 / 480
    took = sorted(one.duration_ms for one in await rows.every(database, StepExecution))
    assert (step.count, step.failed) == (500, 80)
    assert step.mean_ms == pytest.approx(sum(took) / 500)
    assert about(step.p95_ms, took[474])
    assert about(step.p99_ms, took[494])
    ran = [one for one in await rows.every(database, Execution) if one.status in (Status.COMPLETED, Status.FAILED)]
    assert found.mean_ms == pytest.approx(
        sum((one.completed_at - one.started_at) / timedelta(milliseconds=1) for one in ran) / 480, rel=1e-6
    )
    async with database.transaction() as session:
        errors = {(one.error_code, one.message): one.count for one in await error_insights(session, lately())}
    assert errors == {
        ("VALIDATION_ERROR", "page <text>: <number> components too many"): 60,
        ("NETWORK_ERROR", "no answer from <host>"): 20,
    }
