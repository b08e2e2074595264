"""Steps: their config, their limits, and that one item's failure is its own."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from prefect.tasks import Task

from automation.database import Database
from automation.errors import NetworkError, StepError, ValidationError
from automation.models import utc_now
from automation.settings import Settings
from automation.steps import (
    ProjectInfo,
    Result,
    StepBatch,
    StepConfig,
    StepContext,
    StepItem,
    StepType,
    one_line,
    step,
)


class SaveConfig(StepConfig):
    """A config with one key."""

    backup: bool = True


def context() -> StepContext:
    return StepContext(
        execution_id=uuid4(),
        workflow_id=uuid4(),
        workflow_name="w",
        identifier="save",
        project=ProjectInfo("p1"),
        trigger_type="API_CALL",
        event_type="",
        trigger_data={},
        occurred_at=utc_now(),
        results={},
        attempt=1,
        settings=Settings(),
        database=Database("postgresql://nobody@127.0.0.1:9/nowhere"),
    )


def item(config: Any = None, soft_limit: float = 5) -> StepItem:
    return StepItem(context(), config or {}, soft_limit)


def save(body: Callable[[StepContext], Awaitable[Result]] | None = None) -> StepType:
    async def function(step: StepContext, config: SaveConfig) -> Result:
        return await body(step) if body else {"backup": config.backup}

    return step("SAVE")(function)


async def run(step_type: StepType, *items: StepItem) -> None:
    """Run the task's function over items outside a run, as Prefect does on the last try."""
    await step_type.task.fn(StepBatch(items))


async def test_the_config_arrives_typed_with_its_defaults() -> None:
    default, told = item(), item({"backup": False})

    await run(save(), default, told)

    assert (default.result, told.result) == ({"backup": True}, {"backup": False})


@pytest.mark.parametrize(
    ("config", "said"),
    [({"bakcup": True}, "SAVE: config is wrong: bakcup"), ({"backup": "perhaps"}, "SAVE: config is wrong: backup")],
)
async def test_a_wrong_config_names_its_key_and_is_not_retried(config: dict[str, Any], said: str) -> None:
    one, other = item(config), item()

    await run(save(), one, other)

    assert isinstance(one.error, ValidationError)
    assert str(one.error).startswith(said)
    assert other.result == {"backup": True}


async def test_one_failing_item_does_not_harm_its_neighbours() -> None:
    items = [item() for _ in range(5)]

    async def body(step: StepContext) -> Result:
        if step is items[2].context:
            raise ZeroDivisionError("oops")
        return {}

    await run(save(body), *items)

    assert [one.error is None for one in items] == [True, True, False, True, True]
    assert str(items[2].error) == "ZeroDivisionError: oops"


async def test_a_step_that_takes_too_long_is_stopped_and_its_neighbours_go_on() -> None:
    slow, quick = item(soft_limit=0.02), item()

    async def body(step: StepContext) -> Result:
        if step is slow.context:
            await asyncio.Event().wait()
        return {}

    await run(save(body), slow, quick)

    assert slow.error is not None
    assert (slow.error.code, quick.error) == ("TIMEOUT_ERROR", None)
    assert "0.02 s" in str(slow.error)


async def test_a_timeout_inside_the_step_is_not_taken_for_its_limit() -> None:
    async def body(step: StepContext) -> Result:
        raise TimeoutError("the mail server is slow")

    one = item()
    with pytest.raises(StepError):
        await run(save(body), one)

    assert "the mail server is slow" in str(one.error)


async def test_cancelling_stops_one_item_and_not_the_batch() -> None:
    first, second = item(), item()

    async def body(step: StepContext) -> Result:
        if step is first.context:
            first.cancel("by request")
            await asyncio.Event().wait()
        return {}

    await run(save(body), first, second)

    assert first.error is not None
    assert (first.error.code, str(first.error)) == ("CANCELLED", "SAVE: by request")
    assert second.result == {}


async def test_an_item_that_is_cancelled_before_its_turn_does_not_begin() -> None:
    first, second, began = item(), item(), []

    async def body(step: StepContext) -> Result:
        began.append(step)
        second.cancel("by request")
        return {}

    await run(save(body), first, second)

    assert began == [first.context]
    assert second.error is not None
    assert second.error.code == "CANCELLED"


async def test_asking_again_to_cancel_leaves_a_step_to_clean_up() -> None:
    one, cleaned = item(), []

    async def body(step: StepContext) -> Result:
        one.cancel("by request")
        try:
            await asyncio.Event().wait()
        finally:
            one.cancel("by request")
            await asyncio.sleep(0)
            cleaned.append(True)
        return {}

    with pytest.raises(StepError):
        await run(save(body), one)

    assert cleaned == [True]


async def test_the_end_of_the_whole_task_is_not_taken_for_an_items_cancel() -> None:
    async def body(step: StepContext) -> Result:
        await asyncio.Event().wait()
        return {}

    task = asyncio.create_task(run(save(body), item(), item()))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_of_a_single_item_the_failure_is_the_tasks_own() -> None:
    async def body(step: StepContext) -> Result:
        raise NetworkError("away")

    with pytest.raises(NetworkError, match="away"):
        await run(save(body), item())


async def test_an_unknown_log_level_fails_the_step_that_used_it() -> None:
    one, other = item(), item()

    async def body(step: StepContext) -> Result:
        step.log("hm", level="LOUD" if step is one.context else "INFO")
        return {}

    await run(save(body), one, other)

    assert "'LOUD' is no log level" in str(one.error)
    assert other.error is None


@pytest.mark.parametrize("answer", [None, [], "done"])
async def test_an_answer_that_is_no_dict_fails_the_step_and_says_so(answer: Any) -> None:
    one, other = item(), item()

    async def body(step: StepContext) -> Result:
        return answer if step is one.context else {}

    await run(save(body), one, other)

    assert isinstance(one.error, ValidationError)
    assert str(one.error) == f"SAVE: it answered {type(answer).__name__} rather than a dict."
    assert other.result == {}


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\x1b[31mb", "a\u2028b", "a\0b", "a\x7fb"])
def test_a_log_line_is_one_line_without_control_characters(text: str) -> None:
    line = one_line(text)

    assert line.isprintable()
    assert line.startswith("a\\")


def test_prefect_repeats_in_place_only_for_a_moment() -> None:
    task = save().task

    assert isinstance(task, Task)
    assert (task.name, task.retries) == ("SAVE", 2)
    assert task.retry_delay_seconds is not None
    assert sum(task.retry_delay_seconds) * (1 + (task.retry_jitter_factor or 0)) < 2
