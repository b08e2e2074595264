"""Undoing what a workflow had done, when it fails for good or is cancelled: its completed steps, in reverse order.

That it ends so is recorded before, and each step as soon as it is undone: should the process die, the next one goes on
there (automation/engine/ending.py). So a rollback may be run twice, and has to do no harm then.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import perf_counter

from automation.catalog import step_type
from automation.engine.context import rendered
from automation.engine.plan import Item, PlannedStep
from automation.errors import StepError, StepTimeoutError, ValidationError, as_step_error
from automation.models import utc_now
from automation.redaction import redact_error
from automation.steps import (
    LogLine,
    Result,
    RollbackFunction,
    StepConfig,
    StepContext,
    StepItem,
    StepType,
    one_line,
    require_storable,
)

Undone = tuple[Item, PlannedStep, StepItem]


async def undo(
    item: Item,
    context_of: Callable[[Item, PlannedStep], StepContext],
    record: Callable[[Undone], Awaitable[None]],
) -> None:
    """Roll back an item; when that fails for a step, the one before it is rolled back all the same.

    Args:
        record: is given each step that has a rollback: undone, or with the error that it met.
    """
    for step, kind in undoable(item):
        work = StepItem(context_of(item, step), step.config, 0.0)
        await _undo(kind, item, step, work)
        await record((item, step, work))


def undoable(item: Item) -> list[tuple[PlannedStep, StepType]]:
    """The completed steps that can be rolled back, the last first."""
    done = [step for step in reversed(item.plan.steps) if step.identifier in item.done]
    return [(step, kind) for step in done if (kind := _known(step)) and kind.rollback]


def _known(step: PlannedStep) -> StepType | None:
    try:
        return step_type(step.step_type)
    except ValidationError:
        return None


async def _rolled_back(function: RollbackFunction, context: StepContext, config: StepConfig) -> Result:
    return await function(context, config)


async def _undo(kind: StepType, item: Item, step: PlannedStep, work: StepItem) -> None:
    context, began = work.context, perf_counter()
    work.started_at = utc_now()
    limit = context.settings.step_soft_time_limit
    try:
        assert kind.rollback is not None
        config = kind.parse(rendered(item, step) if step.templated else step.config)
        async with asyncio.timeout(limit):
            undoing = _rolled_back(kind.rollback, context, config)
            answer = await asyncio.create_task(undoing, context=context.at_work(kind.name))
        work.result = require_storable(answer)
        level, text = "INFO", f"{kind.name} rolled back"
    except Exception as error:
        work.error = _described(kind, error, limit)
        level, text = "CRITICAL", str(work.error)
    work.duration_ms = (perf_counter() - began) * 1000
    context.lines.append(LogLine(level, one_line(text), datetime.now(UTC), step.identifier, round(work.duration_ms, 3)))


def _described(kind: StepType, error: Exception, limit: float) -> StepError:
    cause = as_step_error(error)
    if isinstance(error, TimeoutError):
        cause = StepTimeoutError(f"took longer than {limit:g} s")
    return redact_error(type(cause)(f"{kind.name}: its rollback failed: {cause}"))
