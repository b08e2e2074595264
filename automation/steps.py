"""What a step type is: a small async function, its typed config, and the Prefect task around it.

    class SaveConfig(StepConfig):
        backup_previous: bool = True

    @step("SAVE_TO_RUNTIME", tags=("runtime",))
    async def save_to_runtime(step: StepContext, config: SaveConfig) -> dict[str, Any]:
        ...

The engine runs a step of a flow run as one Prefect task run over all its items (executions), item by item.
An item whose step fails leaves the batch, the others go on. A failure that may be a blip is repeated in place
by Prefect (under two seconds, only for items without an outcome); what still fails then is an outcome.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, get_type_hints
from uuid import UUID

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from prefect.logging import get_run_logger
from pydantic import BaseModel, ConfigDict
from pydantic import ValidationError as PydanticError

from automation.database import Database
from automation.errors import CancelledError, StepError, StepTimeoutError, ValidationError, as_step_error
from automation.models import Base, Json, utc_now
from automation.settings import Settings

LANES = 16
"""Items of a batch whose step is under way at once, so that their waits for the disk overlap."""

Result = dict[str, Any]
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")


class StepConfig(BaseModel):
    """Base of all step configs: an unknown key is an error, so that a typing slip is not silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class ProjectInfo:
    """The project that an execution belongs to; empty for workflows of the platform."""

    id: str = ""
    name: str = ""
    owner_id: str = ""
    owner_email: str = ""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of an execution's log, as it will stand in `workflow_execution_logs`."""

    level: str
    message: str
    timestamp: datetime
    step_identifier: str = ""
    duration_ms: float | None = None
    details: Json = field(default_factory=dict)


def one_line(text: str) -> str:
    """`text` with every control character spelled out, so that hostile input cannot forge a log line."""
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


class StepContext:
    """What a step may know and do.

    Attributes:
        trigger_type, event_type, trigger_data: what started the execution (`trigger_data` is the event's `data`).
        occurred_at: when that happened by the sender's clock, UTC.
        results: the results of the steps that are completed, by identifier.
        database: our tables, for steps that read them; rows to *write* go through `add`.
    """

    __slots__ = (
        "attempt", "database", "event_type", "execution_id", "identifier", "lines", "occurred_at", "project",
        "results", "rows", "settings", "trigger_data", "trigger_type", "workflow_id", "workflow_name",
    )  # fmt: skip

    def __init__(
        self,
        *,
        execution_id: UUID,
        workflow_id: UUID,
        workflow_name: str,
        identifier: str,
        project: ProjectInfo,
        trigger_type: str,
        event_type: str,
        trigger_data: Json,
        occurred_at: datetime,
        results: Mapping[str, Result],
        attempt: int,
        settings: Settings,
        database: Database,
    ) -> None:
        self.execution_id = execution_id
        self.workflow_id = workflow_id
        self.workflow_name = workflow_name
        self.identifier = identifier
        self.project = project
        self.trigger_type = trigger_type
        self.event_type = event_type
        self.trigger_data = trigger_data
        self.occurred_at = occurred_at
        self.results = results
        self.attempt = attempt
        self.settings = settings
        self.database = database
        self.rows: list[Base] = []
        self.lines: list[LogLine] = []

    @property
    def idempotency_key(self) -> str:
        """The same for every try of this step in this execution: an effect made under it happens once."""
        return f"{self.execution_id}:{self.identifier}"

    def add(self, row: Base) -> None:
        """Write `row` in the transaction that records this step's outcome: both are there, or neither."""
        self.rows.append(row)

    def log(self, message: str, level: str = "INFO", **details: Any) -> None:
        """Add a line to the execution's log (levels DEBUG, INFO, WARNING, ERROR, CRITICAL)."""
        if level not in _LEVELS:
            raise ValueError(f"{level!r} is no log level; use {', '.join(_LEVELS)}.")
        self.lines.append(LogLine(level, one_line(message), utc_now(), self.identifier, details=details))


StepFunction = Callable[[StepContext, Any], Awaitable[Result]]


@dataclass(slots=True)
class StepItem:
    """One execution's part in a step: its input, and afterwards exactly one of `result` and `error`.

    `config` may be made when the step runs, of what is known then; what that raises is the step's error.
    """

    context: StepContext
    config: Json | Callable[[], Json]
    soft_limit: float
    started_at: datetime | None = None
    duration_ms: float = 0.0
    result: Result | None = None
    error: StepError | None = None
    task_run_id: UUID | None = None
    _work: asyncio.Task[Result] | None = None
    _cancelled: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it is to be run (again): no outcome yet, or one that may have been a blip."""
        return self.result is None and (self.error is None or self.error.retry_at_once)

    def cancel(self, reason: str) -> None:
        """Stop this item's step, and only it: cancelling Prefect's own task would record a crash."""
        if not self._cancelled and self._work:  # once: a step that cleans up is left to it
            self._work.cancel()
        self._cancelled = reason

    async def run(self, step_type: "StepType") -> None:
        """Run the step for this item; every failure ends in `error`, nothing is raised but cancellation."""
        context = self.context
        self.started_at = self.started_at or utc_now()
        self.error = None
        context.rows.clear()
        began = time.perf_counter()
        try:
            if self._cancelled:
                raise CancelledError(f"{step_type.name}: {self._cancelled}")
            config = step_type.parse(self.config() if callable(self.config) else self.config)
            async with asyncio.timeout(self.soft_limit) as limit:
                self._work = asyncio.ensure_future(step_type.function(context, config))
                self.result = await self._work
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            self.error = CancelledError(f"{step_type.name}: {self._cancelled}")
        except TimeoutError as error:
            self.error = as_step_error(error)
            if limit.expired():
                self.error = StepTimeoutError(
                    f"{step_type.name}: took longer than its limit of {self.soft_limit:g} s and was stopped."
                )
        except Exception as error:
            self.error = as_step_error(error)
        self.duration_ms += (time.perf_counter() - began) * 1000


class StepBatch:
    """The items that one task run handles. A plain class, so that Prefect does not look inside."""

    def __init__(self, items: Sequence[StepItem]) -> None:
        self.items = items


class BlipError(Exception):
    """Some item failed in a way that may pass at once; makes Prefect run the task again."""


@dataclass(frozen=True, slots=True)
class StepType:
    """A step type: its name in workflows, the function, its config model and the Prefect task that runs it."""

    name: str
    function: StepFunction
    config_model: type[StepConfig]
    task: Task[[StepBatch], Coroutine[Any, Any, None]]
    rollback: StepFunction | None = None

    def parse(self, config: Json) -> StepConfig:
        """`config` as this type's model.

        Raises:
            ValidationError: a key is unknown or a value is wrong; the text names both.
        """
        try:
            return self.config_model.model_validate(config)
        except PydanticError as error:
            faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise ValidationError(f"{self.name}: config is wrong: {faults}") from None


def step(
    name: str,
    *,
    retries: int = 2,
    retry_delay_seconds: Sequence[float] = (0.2, 1.0),
    retry_jitter_factor: float = 0.5,
    tags: Sequence[str] = (),
    rollback: StepFunction | None = None,
) -> Callable[[StepFunction], StepType]:
    """Make a step type of an async function `(step: StepContext, config: SomeConfig) -> dict`.

    Args:
        name: the `step_type` by which workflows name it.
        retries, retry_delay_seconds, retry_jitter_factor: Prefect's repetition in place, for blips only.
        tags: Prefect's task tags that carry a concurrency limit (deployments/pool.py). Each costs two calls
            to Prefect's server whenever the step runs, limit or not: give none for decoration.
        rollback: undoes the step's effect when a later step fails for good.
    """

    def make(function: StepFunction) -> StepType:
        config_model = get_type_hints(function)["config"]

        async def run(batch: StepBatch) -> None:
            await _run_batch(step_type, batch)

        task = Task(
            fn=run,
            name=name,
            description=function.__doc__,
            retries=retries,
            retry_delay_seconds=list(retry_delay_seconds),
            retry_jitter_factor=retry_jitter_factor,
            retry_condition_fn=_is_blip,
            tags=tags,
            cache_policy=NO_CACHE,
            persist_result=False,
        )
        step_type = StepType(name, function, config_model, task, rollback)
        return step_type

    return make


async def _is_blip(task: Any, task_run: Any, state: Any) -> bool:
    return isinstance(await state.result(raise_on_failure=False), BlipError)


async def _run_batch(step_type: StepType, batch: StepBatch) -> None:
    context = TaskRunContext.get()
    last_try = context is None or context.task_run.run_count > step_type.task.retries
    told = len(batch.items[0].context.lines)
    waiting = iter([item for item in batch.items if item.is_open])

    async def lane() -> None:
        for item in waiting:
            item.task_run_id = context.task_run.id if context else None
            await item.run(step_type)

    # side by side, since most of a step is waiting for a disk or a neighbour; a slow one holds one lane only
    await asyncio.gather(*(lane() for _ in range(min(LANES, len(batch.items)))))
    _tell_prefect(batch, told)
    failed = [item.error for item in batch.items if item.error]
    if not last_try and any(error.retry_at_once for error in failed):
        raise BlipError(f"{step_type.name}: {failed[0]}")
    if failed and len(batch.items) == 1:
        raise failed[0]  # Prefect's task run fails too; in a batch run the artifact tells


def _tell_prefect(batch: StepBatch, told: int) -> None:
    """Show in Prefect's UI what was done: the new lines of a single run, of a batch run what failed.

    They go through the child logger `step`, by which the mirror knows that the engine stores them itself.
    """
    if TaskRunContext.get() is None:
        return
    logger = get_run_logger().getChild("step")  # type: ignore[union-attr]
    for line in batch.items[0].context.lines[told:] if len(batch.items) == 1 else ():
        logger.log(_LEVELS[line.level], "%s", line.message)
    for item in batch.items:
        if item.error:
            logger.error("%s: %s", item.context.execution_id, one_line(str(item.error)))


_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
