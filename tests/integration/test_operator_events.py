"""The events that operators hang automations on: what failed, what was lost, and a queue that is too old."""

import logging
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.flow_engine import run_flow_async
from prefect.states import Crashed, Pending, Running
from sqlalchemy import update

from automation import catalog
from automation.database import Database
from automation.dispatcher import Dispatcher
from automation.dispatcher.age import QueueAge, oldest
from automation.engine import entry
from automation.errors import NetworkError, ValidationError
from automation.intake import accept, announce, parse_event
from automation.intake.telling import Teller
from automation.mirror import Mirror, reaper
from automation.models import FlowRun, Status, utc_now
from automation.settings import Settings
from automation.steps import Result, StepConfig, StepContext, step
from flows.auto_save import auto_save
from tests.integration.flows import carry, create, run
from tests.integration.prefect_events import events_of, roles, told
from tests.integration.rows import execution, flow_run, stored, workflow, write

pytestmark = pytest.mark.usefixtures("deployed")

FAILED, LOST, OLD, RECOVERED = (
    f"automation.{name}" for name in ("execution.failed", "run.lost", "queue.old", "queue.recovered")
)
MINUTES = timedelta(minutes=3)


class NoConfig(StepConfig):
    """The step of these tests needs none."""


async def failing_workflow(
    database: Database, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str = "publish"
) -> UUID:
    async def function(step: StepContext, config: NoConfig) -> Result:
        raise error

    made = step("FAILING", retries=0, retry_delay_seconds=[0.01])(function)
    monkeypatch.setitem(catalog.step_types(), "FAILING", made)
    return await workflow(database, made, kind=kind)


# --- what failed --------------------------------------------------------------------------------------------


async def test_a_single_run_that_fails_for_good_is_told_of_with_its_workflow(
    database: Database, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = await failing_workflow(database, monkeypatch, ValidationError("page 'home' is\nno page"))
    id_ = await execution(database, of)
    flow_run = await carry(prefect, id_)

    await run(prefect, flow_run)

    [event] = await told(prefect, FAILED, f"automation.execution.{id_}")
    assert event["resource"]["prefect.resource.name"] == "W publish"
    assert event["resource"]["automation.error_code"] == "VALIDATION_ERROR"
    involved = roles(event)
    assert involved["workflow"] == f"automation.workflow.{of}"
    assert involved["project"] == "studio.project.p1"
    assert involved["flow-run"] == f"prefect.flow-run.{flow_run.id}"
    assert event["payload"] == {
        "execution_id": str(id_),
        "project_id": "p1",
        "workflow_id": str(of),
        "error_code": "VALIDATION_ERROR",
        "error_message": "page 'home' is\\nno page",
    }


async def test_what_is_tried_again_has_not_failed(
    database: Database, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    retried = await execution(database, await failing_workflow(database, monkeypatch, NetworkError("no route")))
    await run(prefect, await carry(prefect, retried))
    assert (await stored(database, retried)).status == Status.RETRYING

    failed = await execution(database, await failing_workflow(database, monkeypatch, ValidationError("wrong")))
    await run(prefect, await carry(prefect, failed))

    await told(prefect, FAILED, f"automation.execution.{failed}")  # one that was told before it would be here by now
    assert await events_of(prefect, FAILED, f"automation.execution.{retried}") == []


async def test_an_item_of_a_batch_run_that_fails_is_told_of_and_the_others_are_not(
    database: Database, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry, "get_settings", lambda: Settings(batch_linger=0.1))
    wrong = await failing_workflow(database, monkeypatch, ValidationError("wrong"), kind="auto-save")
    bad = await execution(database, wrong, key="bad", batch=True)
    good = await execution(database, await workflow(database, kind="auto-save"), key="good", batch=True)
    flow_run = await create(prefect, "auto-save", batch="auto-save")
    await prefect.set_flow_run_state(flow_run.id, Pending(), force=True)
    held = await prefect.read_flow_run(flow_run.id)

    await run_flow_async(auto_save, flow_run=held, parameters=held.parameters, return_type="state")

    assert (await stored(database, good)).status == Status.COMPLETED
    [event] = await told(prefect, FAILED, f"automation.execution.{bad}")
    assert roles(event)["workflow"] == f"automation.workflow.{wrong}"
    assert await events_of(prefect, FAILED, f"automation.execution.{good}") == []


async def test_an_execution_that_took_its_process_with_it_too_often_is_told_of(
    database: Database, prefect: PrefectClient
) -> None:
    of = await workflow(database)
    crashed = FlowRun(id=uuid4(), prefect_id=uuid4(), kind="publish", state="CRASHED", ended_at=utc_now())
    await write(database, crashed)
    id_ = await execution(database, of, status=Status.RUNNING, attempt=4, lost_count=3, flow_run_id=crashed.id)

    await Mirror(database, prefect, Settings()).round()

    [event] = await told(prefect, FAILED, f"automation.execution.{id_}")
    assert event["payload"]["error_code"] == "WORKER_LOST"
    assert roles(event)["workflow"] == f"automation.workflow.{of}"


# --- what was lost ------------------------------------------------------------------------------------------


async def test_a_run_whose_lease_ran_out_is_told_of_with_what_it_carried(
    database: Database, prefect: PrefectClient
) -> None:
    of = await workflow(database)
    id_ = await execution(database, of)
    await Dispatcher(database, prefect, Settings()).round()
    row_id = (await stored(database, id_)).flow_run_id
    [found] = await prefect.read_flow_runs(flow_run_filter=tagged(f"execution:{id_}"))
    await prefect.set_flow_run_state(found.id, Running(), force=True)
    async with database.transaction() as session:
        expired = {"claimed_at": utc_now() - MINUTES, "lease_until": utc_now() - MINUTES}
        await session.execute(update(FlowRun).where(FlowRun.id == row_id).values(**expired))

    assert await reaper.reap(database, prefect, Settings(lease_seconds=0.001)) == 1

    [event] = await told(prefect, LOST, f"prefect.flow-run.{found.id}")
    assert event["payload"] == {"flow_run_id": str(found.id), "name": "W publish", "state": "Crashed"}
    assert roles(event) == {
        "project": "studio.project.p1",
        "workflow": f"automation.workflow.{of}",
        "execution": f"automation.execution.{id_}",
        "deployment": f"prefect.deployment.{found.deployment_id}",
    }


def tagged(tag: str) -> FlowRunFilter:
    return FlowRunFilter(tags=FlowRunFilterTags(all_=[tag]))


async def test_a_run_that_crashed_by_itself_was_not_lost(database: Database, prefect: PrefectClient) -> None:
    made = await create(prefect, "publish")
    await prefect.set_flow_run_state(made.id, Crashed(), force=True)
    await flow_run(database, prefect_id=made.id, lease_until=utc_now() - MINUTES)

    assert await reaper.reap(database, prefect, Settings()) == 0

    assert await events_of(prefect, LOST, f"prefect.flow-run.{made.id}") == []


# --- the queue's age ----------------------------------------------------------------------------------------


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def waits_too_long(database: Database) -> UUID | None:
    """The execution that is told of, if any is."""
    async with database.transaction() as session:
        found = await oldest(session, timedelta(minutes=1))
    return found.id if found else None


async def test_what_is_due_and_has_no_run_is_old_after_a_while(database: Database) -> None:
    of = await workflow(database)
    await execution(database, of, due_at=utc_now())
    await execution(database, of, due_at=utc_now() + MINUTES)
    assert await waits_too_long(database) is None

    older = await execution(database, of, due_at=utc_now() - 2 * MINUTES)
    await execution(database, of, due_at=utc_now() - MINUTES)
    assert await waits_too_long(database) == older


async def test_what_a_batch_run_should_take_counts_too(database: Database) -> None:
    id_ = await execution(
        database, await workflow(database, kind="auto-save"), batch=True, key="home", due_at=utc_now() - MINUTES
    )
    assert await waits_too_long(database) == id_


async def test_a_retry_that_nobody_begins_counts_from_its_own_time(database: Database) -> None:
    of = await workflow(database)
    long_ago = {"status": Status.RETRYING, "created_at": utc_now() - 10 * MINUTES}
    await execution(database, of, **long_ago, due_at=utc_now())
    assert await waits_too_long(database) is None

    id_ = await execution(database, of, **long_ago, due_at=utc_now() - MINUTES)
    assert await waits_too_long(database) == id_


async def test_what_waits_for_another_of_its_key_is_not_old_while_that_one_is_at_work(database: Database) -> None:
    of = await workflow(database)
    at_work = await flow_run(database)
    await execution(database, of, key="home", status=Status.RUNNING, flow_run_id=at_work)
    await execution(database, of, key="home", due_at=utc_now() - MINUTES)

    assert await waits_too_long(database) is None


async def test_of_a_key_that_nobody_begins_the_first_is_old(database: Database) -> None:
    of = await workflow(database)
    for minutes in (3, 2):
        at = utc_now() - timedelta(minutes=minutes)
        await execution(database, of, key="home", coalesces=False, created_at=at, due_at=at, event_type=str(minutes))

    found = await waits_too_long(database)
    assert found
    assert (await stored(database, found)).event_type == "3"


async def test_a_publish_that_waits_for_saves_at_work_is_not_old(database: Database) -> None:
    saves, generates = await workflow(database, kind="auto-save"), await workflow(database, kind="generate")
    at_work = await flow_run(database, kind="auto-save", mode="batch")
    long_ago = {"created_at": utc_now() - MINUTES, "due_at": utc_now() - MINUTES}
    await execution(database, saves, **long_ago, status=Status.RUNNING, flow_run_id=at_work)
    await execution(database, generates, **long_ago)

    assert await waits_too_long(database) is None


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ({"state": "SCHEDULED"}, True),
        ({"state": "SCHEDULED", "state_name": "Late"}, True),
        ({"state": "NEW", "prefect_id": None}, True),
        ({"state": "SCHEDULED", "state_name": "AwaitingRetry"}, False),
        ({"state": "RUNNING", "claimed_at": utc_now()}, False),
        ({"state": "CRASHED", "ended_at": utc_now()}, False),
    ],
    ids=["scheduled", "late", "not sent", "put down", "at work", "ended"],
)
async def test_a_run_that_no_worker_takes_leaves_its_execution_waiting(
    database: Database, values: dict[str, Any], counts: bool
) -> None:
    held = await flow_run(database, **{"claimed_at": None} | values)
    id_ = await execution(database, await workflow(database), flow_run_id=held, due_at=utc_now() - MINUTES)

    assert await waits_too_long(database) == (id_ if counts else None)


async def test_an_old_queue_is_told_of_once_a_minute_and_when_it_is_over(
    database: Database, prefect: PrefectClient, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    age = QueueAge(database, prefect, Settings(), clock)
    of = await workflow(database)
    id_ = await execution(database, of, due_at=utc_now() - MINUTES)
    resource = f"automation.execution.{id_}"

    with caplog.at_level(logging.WARNING, "automation.dispatcher.age"):
        for _ in range(7):  # at 0, 10, … 60 s
            await age.look()
            clock.now += 10

    first, second = await told(prefect, OLD, resource, 2)
    assert len(caplog.records) == 2
    assert first["resource"]["prefect.resource.id"] == "automation.queue"
    assert first["resource"]["automation.kind"] == "publish"
    assert roles(first) == {"execution": resource, "project": "studio.project.p1"}
    payload = first["payload"]
    assert 180 <= payload.pop("age_seconds") <= second["payload"]["age_seconds"]
    assert payload == {"limit_seconds": 60.0, "execution_id": str(id_), "kind": "publish", "project_id": "p1"}

    before = len(await events_of(prefect, RECOVERED, "automation.queue"))
    async with database.transaction() as session:
        await session.delete(await session.get_one(type(await stored(database, id_)), id_))
    for _ in range(2):
        await age.look()
        clock.now += 10

    event = (await told(prefect, RECOVERED, "automation.queue", before + 1))[-1]
    assert event["payload"] == {"old_for_seconds": 70}


async def test_while_prefect_is_away_the_log_says_it_and_prefect_is_told_later(
    database: Database, prefect: PrefectClient, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    id_ = await execution(database, await workflow(database), due_at=utc_now() - MINUTES)
    async with PrefectClient("http://127.0.0.1:9/api") as gone:
        age = QueueAge(database, gone, Settings(), clock)
        await age.look()
    assert str(id_) in caplog.text

    age.prefect = prefect
    clock.now += 10
    await age.look()

    await told(prefect, OLD, f"automation.execution.{id_}")


async def test_the_dispatcher_looks(database: Database, prefect: PrefectClient) -> None:
    held = await flow_run(database, state="SCHEDULED", claimed_at=None)
    id_ = await execution(database, await workflow(database), flow_run_id=held, due_at=utc_now() - MINUTES)

    await Dispatcher(database, prefect, Settings()).round()

    await told(prefect, OLD, f"automation.execution.{id_}")


# --- decisions ----------------------------------------------------------------------------------------------


async def test_an_accepted_event_and_its_decisions_reach_prefect_with_its_announcement(
    database: Database, prefect: PrefectClient
) -> None:
    settings = Settings()
    event = parse_event({"type": "project.published", "data": {"project_id": f"p-{uuid4()}"}})
    answers = await accept(database, [event], source="api", settings=settings)

    await announce(prefect, answers, Teller(10))

    resource = f"automation.event.{event.id}"
    [received] = await told(prefect, "automation.event.received", resource)
    assert received["payload"]["executions"] == [str(one.id) for one in answers[0].executions]
    fired = await told(prefect, "automation.trigger.fired", resource, len(answers[0].executions))
    assert {one["payload"]["execution_id"] for one in fired} == {str(one.id) for one in answers[0].executions}
    await told(prefect, "studio.project.published", resource)


async def test_over_the_limit_the_announcement_is_made_all_the_same(database: Database, prefect: PrefectClient) -> None:
    events = [parse_event({"type": "project.published", "data": {"project_id": f"p-{uuid4()}"}}) for _ in range(20)]
    answers = await accept(database, events, source="api", settings=Settings())

    await announce(prefect, answers, Teller(1))

    for one in events:
        await told(prefect, "studio.project.published", f"automation.event.{one.id}")
        assert await events_of(prefect, "automation.event.received", f"automation.event.{one.id}") == []
