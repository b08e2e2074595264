"""From a request to its executions: under which request and in which trace they run, and who is told."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient

from automation.clock import Clock
from automation.database import Database
from automation.intake import accept, parse_events
from automation.models import Event, Execution, ExecutionLog, Trigger
from automation.requests import NOWHERE, Origin, request_id, traceparent
from automation.settings import Settings, get_settings
from automation.steps import Result, StepContext, Waiting
from tests.integration.flows import carry, run
from tests.integration.making import MakeStep
from tests.integration.rows import every, execution, workflow, write

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"
LATER = f"00-{'c' * 32}-{'d' * 16}-01"


@pytest.fixture(autouse=True)
async def _under_nothing() -> AsyncIterator[None]:
    NOWHERE.take_up()
    yield
    NOWHERE.take_up()


def event(id_: str, page: str = "home") -> dict[str, Any]:
    data = {"project_id": "shop", "page": {"id": page, "name": page, "route": "/", "config": {"components": []}}}
    return {"id": id_, "type": "page.updated", "data": data}


async def sent(database: Database, request: str, trace: str, *events: dict[str, Any]) -> None:
    """Events as a request brings them."""

    async def take_in() -> None:
        Origin(request, trace).take_up()
        await accept(database, parse_events(list(events)), source="api", settings=get_settings())

    await asyncio.create_task(take_in())


async def test_an_event_and_what_it_starts_keep_the_request_and_the_trace(database: Database) -> None:
    await sent(database, "req-1", TRACE, event("e1"))

    [stored_event] = await every(database, Event)
    [started] = await every(database, Execution)
    for one in (stored_event, started):
        assert (one.request_id, one.traceparent) == ("req-1", TRACE)


async def test_an_execution_that_takes_a_newer_event_in_belongs_to_the_newer_request(database: Database) -> None:
    await sent(database, "req-1", TRACE, event("e1"))
    await sent(database, "req-2", LATER, event("e2"))

    [started] = await every(database, Execution)
    assert (started.event_id, started.request_id, started.traceparent) == ("e2", "req-2", LATER)


async def test_what_fires_later_belongs_to_the_request_of_its_event(database: Database) -> None:
    workflow_id = await workflow(database, project_id="shop", kind="custom")
    delayed = Trigger(
        id=uuid4(), workflow_id=workflow_id, project_id="shop", trigger_type="DELAYED", event_type="page.updated",
        config={"delay_seconds": 0.001},
    )  # fmt: skip
    await write(database, delayed)
    await sent(database, "req-1", TRACE, event("e1"))

    async with asyncio.timeout(10):
        while not (found := [one for one in await every(database, Execution) if one.workflow_id == workflow_id]):
            await Clock(database, Settings()).round()
    assert (found[0].request_id, found[0].traceparent) == ("req-1", TRACE)


async def test_a_step_works_under_the_request_and_trace_of_its_execution(
    deployed: None, database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    seen: list[tuple[str, str]] = []

    async def look(step: StepContext) -> Result:
        seen.append((request_id.get(), traceparent.get()))
        logging.getLogger("somebody").warning("in between")
        step.log("Looked around.", files=3)
        return {}

    workflow_id = await workflow(database, make("LOOK", look))
    id_ = await execution(database, workflow_id, request_id="req-1", traceparent=TRACE)
    await run(prefect, await carry(prefect, id_))

    assert seen == [("req-1", TRACE)]
    assert (request_id.get(), traceparent.get()) == ("", "")


async def test_an_executions_lines_are_said_in_the_platforms_form(
    deployed: None, database: Database, prefect: PrefectClient, make: MakeStep, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "automation.execution")

    async def look(step: StepContext) -> Result:
        step.log("Looked around.", files=3)
        return {}

    workflow_id = await workflow(database, make("LOOK", look))
    id_ = await execution(database, workflow_id, request_id="req-1", traceparent=TRACE)
    await run(prefect, await carry(prefect, id_))

    [said] = [one.__dict__ for one in caplog.records if one.name == "automation.execution"]
    assert (said["execution_id"], said["workflow_id"], said["project_id"]) == (id_, workflow_id, "p1")
    assert (said["step"], said["message"], said["levelname"]) == ("LOOK", "Looked around.", "INFO")
    assert said["metadata"] == {"request_id": "req-1", "trace_id": "a" * 32, "files": 3}
    [line] = [one for one in await every(database, ExecutionLog) if one.execution_id == id_]
    assert said["duration_ms"] == line.duration_ms


async def test_what_a_step_starts_belongs_to_the_same_request(
    deployed: None, database: Database, prefect: PrefectClient, make: MakeStep
) -> None:
    child = await workflow(database, kind="publish")

    async def start(step: StepContext) -> Waiting:
        return Waiting("execution", workflow_id=child)

    workflow_id = await workflow(database, make("START", start, waits=True))
    id_ = await execution(database, workflow_id, request_id="req-1", traceparent=TRACE)
    await run(prefect, await carry(prefect, id_))

    [started] = [one for one in await every(database, Execution) if one.workflow_id == child]
    assert (started.parent_id, started.request_id, started.traceparent) == (id_, "req-1", TRACE)
