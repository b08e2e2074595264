"""FOR_EACH and RUN_WORKFLOW: work within a step, with records of its own."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from sqlalchemy import update

from automation import control
from automation.database import Database
from automation.errors import NetworkError, ValidationError
from automation.models import Execution, FlowRun, Status, StepAttempt, Wait, Workflow, WorkflowStep, utc_now
from automation.settings import get_settings
from automation.steps import Result, StepContext
from tests.integration.flows import carry, run
from tests.integration.making import MakeStep, failing, ran, steps
from tests.integration.rows import every, execution, planned, stored, workflow
from tests.integration.service import Service

pytestmark = pytest.mark.usefixtures("deployed")


def each(step_type: str, items: Any, **more: Any) -> WorkflowStep:
    inner = {"step_type": step_type, "config": {"word": "{{ item }} {{ index }}"}}
    config = {"items": items, "step": inner, **more}
    return WorkflowStep(identifier="each", step_type="FOR_EACH", order=1, config=config)


async def test_each_item_has_a_record_of_its_own_and_the_results_keep_their_order(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    make("SAY")
    id_ = await execution(database, await workflow(database, each("SAY", ["a", "b", "c"], parallel=2)))

    assert (await run(prefect, await carry(prefect, id_))).is_completed()

    found = await steps(database, id_)
    assert set(found) == {"each", "each[0]", "each[1]", "each[2]"}
    assert found["each"].result == {"count": 3, "results": [{"word": "a 0"}, {"word": "b 1"}, {"word": "c 2"}]}
    assert (found["each[1]"].status, found["each[1]"].result) == (Status.COMPLETED, {"word": "b 1"})
    assert found["each"].progress == 1.0


async def test_no_more_items_are_under_way_at_once_than_is_said(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    now = most = 0

    async def body(step: StepContext) -> Result:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now -= 1
        return {}

    make("BUSY", body)
    id_ = await execution(database, await workflow(database, each("BUSY", list(range(9)), parallel=3)))
    await run(prefect, await carry(prefect, id_))

    assert most == 3


async def test_a_retry_does_only_the_items_that_are_left(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    away = {1, 3}

    async def body(step: StepContext) -> Result:
        number = int(step.identifier[5:-1])
        if number in away:
            away.discard(number)
            raise NetworkError(f"{number} is away", retry_after=1)
        return {"key": step.idempotency_key}

    make("SEND", body, retries=0)
    id_ = await execution(database, await workflow(database, each("SEND", list(range(5)))))
    flow_run = await carry(prefect, id_)

    assert (await run(prefect, flow_run)).name == "AwaitingRetry"
    failed = await stored(database, id_)
    assert failed.error_message == "FOR_EACH: item 1: 1 is away (2 of 5 items failed)"
    await due(database)
    assert (await run(prefect, flow_run)).is_completed()

    assert len(ran) == 7
    tries = await every(database, StepAttempt)
    assert sorted(one.identifier for one in tries) == ["each", "each[1]", "each[3]"]
    keys = [one["key"] for one in (await steps(database, id_))["each"].result["results"]]
    assert keys == [f"{id_}:each[{number}]" for number in range(5)]


async def test_the_try_before_of_an_item_is_in_one_place_only_while_it_is_tried_again(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    meanwhile: list[str] = []

    async def body(step: StepContext) -> Result:
        if step.attempt == 1:
            raise NetworkError("away", retry_after=1)
        meanwhile.append((await steps(database, step.execution_id))[step.identifier].status)
        meanwhile.extend(one.status for one in await every(database, StepAttempt) if "[" in one.identifier)
        return {}

    make("SEND", body, retries=0)
    id_ = await execution(database, await workflow(database, each("SEND", ["a"])))
    flow_run = await carry(prefect, id_)
    await run(prefect, flow_run)
    await due(database)
    assert (await run(prefect, flow_run)).is_completed()

    assert meanwhile == [Status.PENDING, Status.FAILED]


async def due(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(update(Execution).values(due_at=utc_now()))


async def test_items_that_are_stopped_are_done_when_it_is_tried_again(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    async def body(step: StepContext) -> Result:
        if step.identifier == "each[2]" and len(ran) < 4:
            async with database.transaction() as session:
                await control.cancel(session, step.execution_id, get_settings())
            await asyncio.Event().wait()
        return {}

    make("LONG", body)
    id_ = await execution(database, await workflow(database, each("LONG", ["a", "b", "c"], parallel=1)))
    assert (await run(prefect, await carry(prefect, id_))).is_cancelled()
    async with database.transaction() as session:
        await control.retry(session, id_)

    assert (await run(prefect, await carry(prefect, id_))).is_completed()
    assert len(ran) == 4


@pytest.mark.parametrize("step_type", ["FOR_EACH", "APPROVAL", "NOBODYS"])
async def test_what_cannot_be_run_for_each_is_refused(
    database: Database, prefect: PrefectClient, step_type: str
) -> None:
    id_ = await execution(database, await workflow(database, each(step_type, ["a"])))

    assert (await run(prefect, await carry(prefect, id_))).is_failed()
    assert (await stored(database, id_)).error_code == "VALIDATION_ERROR"


# --- RUN_WORKFLOW ---------------------------------------------------------------------------------------------------


def runs_workflow(of: UUID, order: int = 1, **config: Any) -> WorkflowStep:
    return WorkflowStep(
        identifier="child", step_type="RUN_WORKFLOW", order=order, config={"workflow_id": str(of), **config}
    )


async def family(
    database: Database, prefect: PrefectClient, child: UUID, *behind: WorkflowStep, **config: Any
) -> tuple[UUID, Any, Execution]:
    """An execution that has started another and waits for it: its id, its run, the other."""
    id_ = await execution(database, await workflow(database, runs_workflow(child, **config), *behind))
    flow_run = await carry(prefect, id_)
    assert (await run(prefect, flow_run)).name == "Suspended"
    [started] = [one for one in await every(database, Execution) if one.parent_id == id_]
    return id_, flow_run, started


async def test_a_workflow_waits_for_the_one_that_it_runs_and_gets_its_result(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    child = await workflow(database, make("INNER"))
    id_, flow_run, started = await family(
        database, prefect, child, planned(make("AFTER"), 2), input={"n": "{{ trigger.type }}"}
    )
    assert (started.workflow_id, started.parent_step, started.depth) == (child, "child", 1)
    assert started.trigger_data["input"] == {"n": "API_CALL"}
    [wait] = await every(database, Wait)
    assert (wait.kind, wait.child_id) == ("execution", started.id)

    assert (await run(prefect, await carry(prefect, started.id))).is_completed()
    service = Service(database, prefect)
    await service.look()
    assert (await run(prefect, flow_run)).is_completed()

    assert ran == ["INNER", "AFTER"]
    result = (await steps(database, id_))["child"].result
    assert (result["execution_id"], result["status"]) == (str(started.id), "COMPLETED")
    assert result["result"]["steps"]["inner"] == {"word": "hello"}


async def test_a_workflow_fails_with_the_one_that_it_runs_and_a_retry_runs_another(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    child = await workflow(database, make("INNER", failing(ValidationError("no page"), 1)))
    id_, flow_run, started = await family(database, prefect, child)
    await run(prefect, await carry(prefect, started.id))
    service = Service(database, prefect)
    await service.look()

    assert (await run(prefect, flow_run)).is_failed()
    done = await stored(database, id_)
    assert (done.error_code, done.failed_step) == ("CHILD_FAILED", "child")
    assert f"execution {started.id} is FAILED: no page" in done.error_message

    async with database.transaction() as session:
        await control.retry(session, id_)
    second = await carry(prefect, id_)
    assert (await run(prefect, second)).name == "Suspended"
    children = [one.id for one in await every(database, Execution) if one.parent_id == id_]
    assert len(children) == 2
    [other] = [one for one in children if one != started.id]
    assert (await run(prefect, await carry(prefect, other))).is_completed()
    await service.look()
    assert (await run(prefect, second)).is_completed()


async def test_a_workflow_that_would_run_inside_itself_is_refused(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    inner = await workflow(database, make("INNER"))
    outer = await workflow(database, runs_workflow(inner))
    async with database.transaction() as session:
        await session.execute(
            update(WorkflowStep)
            .where(WorkflowStep.workflow_id == inner)
            .values(identifier="child", step_type="RUN_WORKFLOW", config={"workflow_id": str(outer)})
        )
    id_ = await execution(database, outer)
    assert (await run(prefect, await carry(prefect, id_))).name == "Suspended"
    [started] = [one for one in await every(database, Execution) if one.parent_id == id_]

    assert (await run(prefect, await carry(prefect, started.id))).is_failed()
    assert "would run inside itself" in (await stored(database, started.id)).error_message


@pytest.mark.parametrize(("depth", "goes"), [(4, True), (5, False)])
async def test_workflows_run_at_most_five_deep_inside_each_other(
    database: Database, prefect: PrefectClient, make: MakeStep, depth: int, goes: bool
) -> None:
    child = await workflow(database, make("INNER"))
    id_ = await execution(database, await workflow(database, runs_workflow(child)), depth=depth)

    state = await run(prefect, await carry(prefect, id_))

    assert (state.name == "Suspended") is goes
    if not goes:
        assert "at most 5 deep" in (await stored(database, id_)).error_message


@pytest.mark.parametrize("wrong", ["none", "off", "other project", "archived"])
async def test_a_workflow_that_cannot_be_run_fails_the_step(
    database: Database, prefect: PrefectClient, make: MakeStep, wrong: str
) -> None:
    child = await workflow(database, make("INNER"), project_id="p2" if wrong == "other project" else "p1")
    changed = {"off": {"is_active": False}, "archived": {"archived_at": utc_now()}}.get(wrong)
    if changed:
        async with database.transaction() as session:
            await session.execute(update(Workflow).where(Workflow.id == child).values(**changed))
    id_ = await execution(database, await workflow(database, runs_workflow(UUID(int=7) if wrong == "none" else child)))

    assert (await run(prefect, await carry(prefect, id_))).is_failed()
    assert (await stored(database, id_)).error_code == "VALIDATION_ERROR"


async def test_cancelling_a_workflow_cancels_those_that_it_runs(
    database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    child = await workflow(database, make("INNER"))
    id_, flow_run, started = await family(database, prefect, child)
    service = Service(database, prefect)
    await service.look()

    async with database.transaction() as session:
        await control.cancel(session, id_, get_settings())
    await service.look()

    assert [(await stored(database, one)).status for one in (id_, started.id)] == [Status.CANCELLED] * 2
    assert (await service.state(flow_run)).is_cancelled()
    for row in await every(database, FlowRun):  # the child's, if the dispatcher had begun to make it
        its = await prefect.read_flow_run(row.prefect_id)
        if str(started.id) in its.parameters.get("executions", []):
            assert (await run(prefect, its)).is_cancelled()
    assert ran == []
    await service.in_line()
