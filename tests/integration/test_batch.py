"""Batch runs, on a real Prefect server and a real database."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun as PrefectRun
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow_async
from prefect.states import Pending
from sqlalchemy import select, update

from automation import catalog, engine
from automation.database import Database
from automation.dispatcher.batches import assign_batches
from automation.engine import entry as engine_run
from automation.errors import NetworkError, ValidationError
from automation.intake import accept, parse_event
from automation.models import (
    Execution,
    ExecutionAttempt,
    ExecutionLog,
    FlowRun,
    Status,
    StepExecution,
    Workflow,
    WorkflowStep,
    utc_now,
)
from automation.settings import Settings
from automation.steps import Result, StepConfig, StepContext, step
from flows.auto_save import auto_save
from tests.integration.flows import create
from tests.integration.rows import every, execution, planned, stored, workflow
from tests.integration.statements import statements

pytestmark = pytest.mark.usefixtures("deployed")

SETTINGS = Settings(batch_linger=0.3, step_soft_time_limit=0.5)
Body = Callable[[StepContext], Awaitable[Result]]


class NoConfig(StepConfig):
    """The step of these tests needs none."""


class Script:
    """What the test step does, by the key of the execution; it notes whom it ran for."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.bodies: dict[str, Body] = {}

    async def __call__(self, step: StepContext, config: NoConfig) -> Result:
        name = step.trigger_data["name"]
        self.ran.append(name)
        step.log(f"at work on {name}")
        return await self.bodies[name](step) if name in self.bodies else {"name": name}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()

    async def function(step: StepContext, config: NoConfig) -> Result:
        return await script(step, config)

    made = step("SCRIPTED", retries=0, retry_delay_seconds=[0.01])(function)
    monkeypatch.setitem(catalog.step_types(), "SCRIPTED", made)
    monkeypatch.setattr(engine_run, "get_settings", lambda: SETTINGS)
    return script


async def batch_of(database: Database, *names: str, project: str = "p1") -> dict[str, UUID]:
    """Executions that wait for a batch run, in a workflow of one scripted step."""
    of = await workflow(database, planned(catalog.step_type("SCRIPTED"), 1), project_id=project, kind="auto-save")
    return {name: await execution(database, of, key=name, batch=True, trigger_data={"name": name}) for name in names}


async def begin(prefect: PrefectClient) -> PrefectRun:
    flow_run = await create(prefect, "auto-save", batch="auto-save")
    await prefect.set_flow_run_state(flow_run.id, Pending(), force=True)
    return await prefect.read_flow_run(flow_run.id)


async def drain(prefect: PrefectClient, flow_run: PrefectRun | None = None) -> PrefectRun:
    """Run a batch run to its end."""
    flow_run = flow_run or await begin(prefect)
    await run_flow_async(auto_save, flow_run=flow_run, parameters=flow_run.parameters, return_type="state")
    return await prefect.read_flow_run(flow_run.id)


async def test_every_item_keeps_its_own_steps_logs_timings_and_result(
    database: Database, prefect: PrefectClient, script: Script
) -> None:
    ids = await batch_of(database, "a", "b", "c")
    await drain(prefect)

    for name, id_ in ids.items():
        one = await stored(database, id_)
        assert (one.status, one.result["steps"]) == (Status.COMPLETED, {"scripted": {"name": name}})
        assert one.started_at
        assert one.completed_at
    assert {(one.execution_id, one.status) for one in await every(database, StepExecution)} == {
        (id_, Status.COMPLETED) for id_ in ids.values()
    }
    lines = [one for one in await every(database, ExecutionLog) if one.prefect_log_id is None]
    assert sorted(one.message for one in lines) == ["at work on a", "at work on b", "at work on c"]
    assert all(one.duration_ms is not None for one in lines)


async def test_a_failing_item_harms_nobody_and_is_retried_in_a_run_of_its_own(
    database: Database, prefect: PrefectClient, script: Script
) -> None:
    async def network(step: StepContext) -> Result:
        raise NetworkError("no route")

    async def invalid(step: StepContext) -> Result:
        raise ValidationError("page 'bad' is no page")

    ids = await batch_of(database, "good", "bad", "later")
    script.bodies |= {"later": network, "bad": invalid}
    flow_run = await drain(prefect)

    good, bad, later = [await stored(database, ids[name]) for name in ("good", "bad", "later")]
    assert good.status == Status.COMPLETED
    assert (bad.status, bad.error_code) == (Status.FAILED, "VALIDATION_ERROR")
    assert (later.status, later.batch, later.flow_run_id) == (Status.RETRYING, False, None)
    assert later.due_at > utc_now() + timedelta(seconds=25)
    assert flow_run.state is not None
    assert flow_run.state.is_completed()


async def test_the_run_says_what_it_did_by_its_name_and_a_table(
    database: Database, prefect: PrefectClient, script: Script
) -> None:
    ids = await batch_of(database, "a", "b")
    flow_run = await drain(prefect)

    assert flow_run.name == "auto-save × 2"
    assert "batch" in flow_run.tags
    [artifact] = await prefect.read_artifacts(
        artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))
    )
    assert all(str(id_) in str(artifact.data) for id_ in ids.values())


async def test_the_bookkeeping_of_a_batch_is_a_handful_of_statements_however_large_it_is(
    database: Database, prefect: PrefectClient, script: Script
) -> None:
    counts = []
    for size in (5, 50):
        await batch_of(database, *(f"{size}-{number}" for number in range(size)))
        with statements(engine.process_database()) as seen:
            await drain(prefect)
        counts.append(len([one for one, _ in seen if "lease_until" not in one and "SELECT pg_" not in one]))

    assert len(script.ran) == 55
    assert counts[1] <= counts[0] + 2
    assert counts[1] < 40


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"text": "a\0b"}, "it holds a NUL"),
        ({"text": "\ud800"}, "surrogates not allowed"),
        ({"number": 2**70}, "64-bit"),
        ({1: "one"}, "str"),
    ],
    ids=["NUL", "surrogate", "number", "key"],
)
async def test_an_item_whose_result_cannot_be_stored_fails_alone(
    database: Database, prefect: PrefectClient, script: Script, answer: dict[Any, Any], said: str
) -> None:
    async def odd(step: StepContext) -> Result:
        return answer

    ids = await batch_of(database, "good", "odd")
    script.bodies["odd"] = odd
    await drain(prefect)

    good, bad = [await stored(database, ids[name]) for name in ("good", "odd")]
    assert (good.status, bad.status, bad.error_code) == (Status.COMPLETED, Status.FAILED, "VALIDATION_ERROR")
    assert said in bad.error_message


async def test_an_item_with_a_step_type_that_nobody_knows_fails_alone(
    database: Database, prefect: PrefectClient, script: Script
) -> None:
    ids = await batch_of(database, "good")
    gone = WorkflowStep(identifier="gone", step_type="GONE", order=1, config={})
    of = await workflow(database, gone, kind="auto-save")
    odd = await execution(database, of, batch=True)
    await drain(prefect)

    assert (await stored(database, ids["good"])).status == Status.COMPLETED
    bad = await stored(database, odd)
    assert bad.status == Status.FAILED
    assert "'GONE' is not known" in bad.error_message


async def test_an_item_that_comes_to_a_step_that_may_wait_goes_on_in_a_run_of_its_own(
    database: Database, prefect: PrefectClient, script: Script
) -> None:
    asks = WorkflowStep(identifier="asks", step_type="APPROVAL", order=2, config={})
    of = await workflow(database, planned(catalog.step_type("SCRIPTED"), 1), asks, kind="auto-save")
    id_ = await execution(database, of, key="page", batch=True, trigger_data={"name": "page"})

    assert (await drain(prefect)).state_name == "Completed"

    left = await stored(database, id_)
    assert (left.status, left.batch, left.flow_run_id, left.coalesces) == (Status.RETRYING, False, None, False)
    assert left.due_at <= utc_now()
    [attempt] = await every(database, ExecutionAttempt)
    assert (attempt.status, attempt.failed_step) == ("LEFT_BATCH", "")

    single = await create(prefect, "auto-save", executions=[str(id_)])
    await prefect.set_flow_run_state(single.id, Pending(), force=True)
    with suppress(Pause):
        await drain(prefect, await prefect.read_flow_run(single.id))
    assert (await stored(database, id_)).status == Status.WAITING
    assert script.ran == ["page"]  # its first step was done in the batch


async def test_what_comes_while_the_run_lingers_costs_no_other_run(
    database: Database, prefect: PrefectClient, script: Script
) -> None:
    await batch_of(database, "first")
    running = asyncio.create_task(drain(prefect))
    while "first" not in script.ran:
        await asyncio.sleep(0.01)
    ids = await batch_of(database, "second")
    async with database.transaction() as session:
        await session.execute(select(Execution.id).where(Execution.id.in_(ids.values())))
        await engine_run.claims.wake(session, "auto-save")
    flow_run = await running

    assert (await stored(database, ids["second"])).status == Status.COMPLETED
    assert flow_run.name == "auto-save × 2"


async def test_a_slow_item_is_stopped_at_its_soft_limit_and_the_others_go_on(
    database: Database, prefect: PrefectClient, script: Script
) -> None:
    async def slow(step: StepContext) -> Result:
        await asyncio.sleep(60)
        return {}

    ids = await batch_of(database, "slow", "a", "b")
    script.bodies["slow"] = slow
    await drain(prefect)

    assert (await stored(database, ids["slow"])).error_code == "TIMEOUT_ERROR"
    assert [(await stored(database, ids[name])).status for name in ("a", "b")] == [Status.COMPLETED] * 2


async def test_a_run_that_was_handed_back_goes_on_with_what_it_had_taken(
    database: Database, prefect: PrefectClient, script: Script
) -> None:
    ids = await batch_of(database, "a")
    flow_run = await begin(prefect)

    async def killed(step: StepContext) -> Result:
        task.cancel()  # as a process that ends in the middle: nothing is recorded
        await asyncio.sleep(60)
        return {}

    script.bodies["a"] = killed
    task = asyncio.create_task(drain(prefect, flow_run))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await stored(database, ids["a"])).status == Status.RUNNING
    del script.bodies["a"]
    await prefect.set_flow_run_state(flow_run.id, Pending(), force=True)
    await drain(prefect, await prefect.read_flow_run(flow_run.id))

    one = await stored(database, ids["a"])
    assert (one.status, one.attempt, script.ran) == (Status.COMPLETED, 1, ["a", "a"])


async def test_cancelling_the_run_cancels_what_it_has_not_finished(
    database: Database, prefect: PrefectClient, script: Script
) -> None:
    flow_run = await begin(prefect)

    async def told(step: StepContext) -> Result:
        engine.cancel(flow_run.id, "cancelled in Prefect")
        await asyncio.sleep(60)
        return {}

    ids = await batch_of(database, "a")
    script.bodies["a"] = told
    ended = await drain(prefect, flow_run)

    assert (await stored(database, ids["a"])).status == Status.CANCELLED
    assert ended.state is not None
    assert ended.state.is_cancelled()


async def test_a_run_that_is_to_finish_takes_nothing_more_and_the_rest_keeps_waiting(
    database: Database, prefect: PrefectClient, script: Script
) -> None:
    flow_run = await begin(prefect)
    later: dict[str, UUID] = {}

    async def finishing(step: StepContext) -> Result:
        later.update(await batch_of(database, "later", project="p2"))
        engine.finish(flow_run.id)
        return {}

    ids = await batch_of(database, "now")
    script.bodies["now"] = finishing
    ended = await drain(prefect, flow_run)

    assert (await stored(database, ids["now"])).status == Status.COMPLETED
    assert (await stored(database, later["later"])).status == Status.PENDING
    assert ended.state is not None
    assert ended.state.is_completed()


async def test_an_old_run_ends_although_there_is_more_and_leaves_it_to_the_next(
    database: Database, prefect: PrefectClient, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = SETTINGS.model_copy(update={"batch_size": 2, "batch_max_age": 0.001})
    monkeypatch.setattr(engine_run, "get_settings", lambda: short)
    ids = await batch_of(database, *"abcdefgh")
    await drain(prefect)
    waiting = [(await stored(database, id_)).status for id_ in ids.values()].count(Status.PENDING)
    [run] = await every(database, FlowRun)

    assert waiting >= 4
    assert not run.accepts


async def test_a_flood_of_one_project_does_not_delay_the_first_save_of_another(
    database: Database, prefect: PrefectClient, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_run, "get_settings", lambda: SETTINGS.model_copy(update={"batch_size": 10}))
    await batch_of(database, *(f"flood-{number}" for number in range(30)), project="flood")
    await batch_of(database, "other", project="other")
    await drain(prefect)

    assert script.ran.index("other") < 10
    assert len(script.ran) == 31


async def test_an_edit_of_the_workflow_reaches_the_next_execution_and_no_other_reads_it(
    database: Database, prefect: PrefectClient, script: Script
) -> None:
    with statements(engine.process_database()) as seen:
        ids = await batch_of(database, "a")
        of = (await stored(database, ids["a"])).workflow_id
        await drain(prefect)
        second = await execution(database, of, key="b", batch=True, trigger_data={"name": "b"})
        await drain(prefect)
    reads = [one for one, _ in seen if "FROM workflow_steps" in one]
    assert len(reads) == 1, "the second execution knows the definition"

    async with database.transaction() as session:
        await session.execute(update(WorkflowStep).where(WorkflowStep.workflow_id == of).values(identifier="renamed"))
    third = await execution(database, of, key="c", batch=True, trigger_data={"name": "c"})
    await drain(prefect)

    results = [list((await stored(database, id_)).result["steps"]) for id_ in (second, third)]
    assert results == [["scripted"], ["renamed"]]


async def test_work_that_waits_has_one_batch_run_and_another_only_while_that_one_cannot_keep_up(
    database: Database, script: Script
) -> None:
    await batch_of(database, "a", "b")

    async def look() -> int:
        async with database.transaction() as session:
            return len(await assign_batches(session, SETTINGS))

    assert [await look(), await look()] == [1, 0]

    async with database.transaction() as session:  # it has begun, and something is late all the same
        await session.execute(update(FlowRun).values(claimed_at=utc_now()))
        await session.execute(update(Execution).values(due_at=utc_now() - timedelta(seconds=5)))
    assert [await look(), await look()] == [1, 0]

    async with database.transaction() as session:  # both have: that is as many as there may be
        await session.execute(update(FlowRun).values(claimed_at=utc_now()))
    assert await look() == 0

    async with database.transaction() as session:  # a run that takes nothing more does not count
        await session.execute(update(FlowRun).values(accepts=False))
    assert await look() == 1


@pytest.mark.parametrize(("config", "batch"), [({}, True), ({"run_mode": "single"}, False)])
async def test_a_workflow_can_have_one_run_per_edit(database: Database, config: dict[str, str], batch: bool) -> None:
    async def edit() -> None:
        page = {"id": "home", "name": "Home", "config": {}}
        raw = {"type": "page.updated", "data": {"project_id": "p1", "page": page}}
        await accept(database, [parse_event(raw)], source="api", settings=SETTINGS)

    await edit()
    async with database.transaction() as session:
        await session.execute(update(Workflow).where(Workflow.kind == "auto-save").values(config=config))
        await session.execute(update(Execution).values(status=Status.COMPLETED))
    await edit()

    newest = max(await every(database, Execution), key=lambda one: one.created_at)
    assert newest.batch is batch
