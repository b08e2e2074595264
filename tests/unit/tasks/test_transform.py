"""TRANSFORM: values for later steps."""

from uuid import UUID

import pytest

from automation.database import Database
from automation.errors import ValidationError
from automation.models import Json, utc_now
from automation.settings import Settings
from automation.steps import ProjectInfo, StepContext, StepItem
from tasks.data import transform

ID = UUID(int=1)


def item(config: Json) -> StepItem:
    context = StepContext(
        execution_id=ID,
        workflow_id=ID,
        workflow_name="W",
        identifier="transform",
        project=ProjectInfo("shop"),
        trigger_type="API_CALL",
        event_type="",
        trigger_data={},
        occurred_at=utc_now(),
        results={},
        attempt=1,
        settings=Settings(),
        database=Database("postgresql://localhost/unused"),
    )
    return StepItem(context, config, soft_limit=5)


async def test_its_output_is_its_result_whatever_json_it_is() -> None:
    output = {"text": "x", "number": 1.5, "list": [1, {"a": None}], "yes": True}
    one = item({"output": output})

    await one.run(transform)

    assert (one.error, one.result) == (None, output)
    assert one.context.rows == []


async def test_without_an_output_its_result_is_empty() -> None:
    one = item({})

    await one.run(transform)

    assert one.result == {}


@pytest.mark.parametrize("config", [{"output": [1]}, {"output": None}, {"result": {}}])
async def test_an_output_that_is_no_object_is_refused(config: Json) -> None:
    one = item(config)

    await one.run(transform)

    assert isinstance(one.error, ValidationError)
    assert "TRANSFORM: config is wrong" in str(one.error)
