"""Steps as real Prefect tasks: what is repeated in place, and for whom."""

from collections import Counter
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow

from automation import engine
from automation.database import Database
from automation.errors import NetworkError, ValidationError
from automation.models import utc_now
from automation.settings import Settings
from automation.steps import ProjectInfo, Result, StepBatch, StepConfig, StepContext, StepItem, StepType, step

pytestmark = pytest.mark.usefixtures("deployed")


class Config(StepConfig):
    """Which items fail, and how."""

    fails: int = 0
    wrong: bool = False


tries: Counter[str] = Counter()


async def _body(step: StepContext, config: Config) -> Result:
    tries[step.identifier] += 1
    step.log(f"try {tries[step.identifier]}")
    if config.wrong:
        raise ValidationError("wrong for ever")
    if tries[step.identifier] <= config.fails:
        raise NetworkError("a blip")
    return {"tries": tries[step.identifier]}


BLIPPING = step("BLIPPING", retries=2, retry_delay_seconds=[0.01, 0.01])(_body)


def item(database: Database, name: str, **config: Any) -> StepItem:
    context = StepContext(
        execution_id=uuid4(),
        workflow_id=uuid4(),
        workflow_name="w",
        identifier=name,
        project=ProjectInfo("p1"),
        trigger_type="API_CALL",
        event_type="",
        trigger_data={},
        occurred_at=utc_now(),
        results={},
        attempt=1,
        settings=Settings(),
        database=database,
    )
    return StepItem(context, config, 5)


@flow(name="steps-in-a-flow", **{**engine.FLOW_OPTIONS, "validate_parameters": False})
async def in_a_flow(batch: Any, step_type: Any) -> None:
    await step_type.task(batch, return_state=True)


async def run(step_type: StepType, *items: StepItem) -> None:
    tries.clear()
    await in_a_flow(StepBatch(items), step_type)


async def test_a_blip_is_repeated_in_place_only_for_items_without_an_outcome(database: Database) -> None:
    fine, blips, wrong = (
        item(database, "fine"),
        item(database, "blips", fails=2),
        item(database, "wrong", wrong=True),
    )

    await run(BLIPPING, fine, blips, wrong)

    assert tries == {"fine": 1, "blips": 3, "wrong": 1}
    assert (fine.result, blips.result, blips.error) == ({"tries": 1}, {"tries": 3}, None)
    assert isinstance(wrong.error, ValidationError)


async def test_what_still_fails_after_the_repetitions_is_the_outcome(database: Database) -> None:
    away, fine = item(database, "away", fails=99), item(database, "fine")

    await run(BLIPPING, away, fine)

    assert tries == {"away": 3, "fine": 1}
    assert isinstance(away.error, NetworkError)
    assert fine.error is None


async def test_every_item_knows_its_task_run(database: Database) -> None:
    items = [item(database, name) for name in ("a", "b")]

    await run(BLIPPING, *items)

    assert items[0].task_run_id is not None
    assert items[0].task_run_id == items[1].task_run_id


async def test_lines_of_earlier_tries_are_shown_once(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    one = item(database, "one", fails=2)

    with caplog.at_level("INFO"):
        await run(BLIPPING, one)

    shown = [record.getMessage() for record in caplog.records if record.name.endswith(".step")]
    assert [text for text in shown if text.startswith("try")] == ["try 1", "try 2", "try 3"]
