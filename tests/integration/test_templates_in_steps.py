"""Workflows that people define, run from their event to their end: what templates in their steps become."""

from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient

from automation.authoring.drafts import parse_workflow
from automation.authoring.write import create_workflow
from automation.database import Database
from automation.intake import accept, parse_event
from automation.models import Execution, Status
from automation.settings import Settings
from tests.integration.flows import create, run
from tests.integration.rows import every, stored

pytestmark = pytest.mark.usefixtures("deployed")

SETTINGS = Settings()
EVENT = {"type": "page.updated", "data": {"project_id": "p1", "page": {"id": "home", "sizes": [1, 2]}}}


async def custom(database: Database, *outputs: dict[str, Any]) -> UUID:
    """A workflow of TRANSFORM steps that runs on page events."""
    steps = [{"step_type": "TRANSFORM", "config": {"output": output}} for output in outputs]
    body = {"name": "W", "project_id": "p1", "trigger_type": "ON_PAGE_UPDATE", "steps": steps}
    async with database.transaction() as session:
        return (await create_workflow(session, parse_workflow(body, SETTINGS), SETTINGS)).workflow.id


async def happens(database: Database, prefect: PrefectClient, workflow_id: UUID) -> Execution:
    """The page event comes, and what it starts of this workflow is run."""
    [answer] = await accept(database, [parse_event(EVENT)], source="api", settings=SETTINGS)
    [started] = [one for one in answer.executions if one.workflow_id == workflow_id]
    flow_run = await create(prefect, "custom-workflow", executions=[str(started.id)])
    await run(prefect, flow_run, "custom-workflow")
    return await stored(database, started.id)


async def test_a_step_gets_values_of_the_trigger_and_of_the_steps_before(
    database: Database, prefect: PrefectClient
) -> None:
    workflow_id = await custom(
        database,
        {"type": "{{ trigger.type }}", "page": "{{ trigger.data.page.id }}", "sizes": "{{ trigger.data.page.sizes }}"},
        {"again": "{{ steps.transform.result.page }} of {{ project.id }}"},
    )

    done = await happens(database, prefect, workflow_id)

    assert (done.status, done.error_message) == (Status.COMPLETED, "")
    assert done.result["steps"] == {
        "transform": {"type": "ON_PAGE_UPDATE", "page": "home", "sizes": [1, 2]},
        "transform-2": {"again": "home of p1"},
    }
    [kept] = [one for one in await every(database, Execution) if one.workflow_id == workflow_id]
    assert kept.trigger_data == EVENT["data"]


async def test_a_name_that_is_not_there_fails_the_step_for_good_and_is_told(
    database: Database, prefect: PrefectClient
) -> None:
    done = await happens(database, prefect, await custom(database, {"x": "{{ trigger.data.page.title }}"}))

    assert (done.status, done.error_code) == (Status.FAILED, "VALIDATION_ERROR")
    assert "title" in done.error_message
