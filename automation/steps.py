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
import inspect
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_type_hints
from uuid import UUID

import orjson
from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from prefect.logging import get_run_logger
from pydantic import BaseModel, ConfigDict
from pydantic import ValidationError as PydanticError

from automation import tracing
from automation.database import Database
from automation.errors import CancelledError, StepError, StepTimeoutError, ValidationError, as_step_error
from automation.logs.lines import Doing, doing
from automation.models import Base, Json, Owed, utc_now
from automation.redaction import redact_error, redact_text
from automation.requests import NOWHERE, Origin, origin
from automation.settings import Settings

LANES = 16
"""Items of a batch whose step is under way at once, so that their waits for the disk overlap."""

Result = dict[str, Any]
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]")


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


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step's answer when it has to wait: it holds no worker meanwhile, and completes when the wait is resolved.

    Attributes:
        until: when a time has come, or when waiting for anything else is over; None waits for ever.
        on_timeout: whether the step then fails, or completes with `{"timed_out": true}`.
        event_type, conditions: which event of the project is waited for.
        workflow_id, input: the workflow whose execution is started, and waited for.
    """

    kind: Literal["time", "event", "approval", "execution"]
    until: datetime | None = None
    on_timeout: Literal["fail", "continue"] = "fail"
    message: str = ""
    event_type: str = ""
    conditions: Json = field(default_factory=dict)
    workflow_id: UUID | None = None
    input: Json = field(default_factory=dict)


class StepContext:
    """What a step may know and do.

    Attributes:
        trigger_type, event_type, trigger_data: what started the execution (`trigger_data` is the event's `data`).
        occurred_at: when that happened by the sender's clock, UTC.
        results: the results of the steps that are completed, by identifier.
        database: our tables, for steps that read them; rows to *write* go through `add`.
        depth: how many executions are above this one.
        is_required: whether the workflow fails with this step. If not, an effect may be owed (`owe`).
        origin: the request that the execution goes back to, and its place in a trace.
    """

    __slots__ = (
        "attempt",
        "database",
        "depth",
        "event_type",
        "execution_id",
        "fraction",
        "generation",
        "identifier",
        "is_required",
        "lines",
        "occurred_at",
        "order",
        "origin",
        "progress_message",
        "project",
        "results",
        "rows",
        "settings",
        "trigger_data",
        "trigger_type",
        "workflow_id",
        "workflow_name",
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
        is_required: bool = True,
        depth: int = 0,
        generation: int = 0,
        order: int = 0,
        origin: Origin = NOWHERE,
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
        self.is_required = is_required
        self.depth = depth
        self.generation = generation
        self.order = order
        self.origin = origin
        self.rows: list[Base] = []
        self.lines: list[LogLine] = []
        self.fraction: float | None = None
        self.progress_message = ""

    @property
    def idempotency_key(self) -> str:
        """The same for every try of this step in this execution: an effect made under it happens once.

        Only when somebody has a completed step run anew (`from_step`, `from_start`), it is another.
        """
        again = f":{self.generation}" if self.generation else ""
        return f"{self.execution_id}:{self.identifier}{again}"

    def for_item(self, identifier: str) -> "StepContext":
        """The same for one of several items of this step, with a record of its own."""
        taken = {name: getattr(self, name) for name in _GIVEN}
        return StepContext(**taken | {"identifier": identifier, "origin": origin()})

    def at_work(self, step_type: str) -> Context:
        """The context for a task that works for this step: what it logs and calls names the execution."""
        context = copy_context()
        context.run(self.origin.take_up)
        context.run(doing.set, Doing(self.execution_id, self.workflow_id, self.project.id or None, step_type))
        return context

    def add(self, row: Base) -> None:
        """Write `row` in the transaction that records this step's outcome: both are there, or neither."""
        self.rows.append(row)

    def owe(self, neighbour: str, request: Json, reason: str, key: str = "") -> None:
        """Leave an effect to the outbox, which has it at `neighbour` when that can be reached again.

        It is owed if this step's outcome is recorded, and says so by `"owed": true` in its result.

        Args:
            request: what is to be had there, for `automation.outbox.deliver`.
            reason: why it was not to be had now.
            key: the effect's idempotency key, the one under which it was tried; by default the step's.
        """
        reason = one_line(reason)
        self.log(f"Owed to {neighbour} until it can be reached: {reason}", "WARNING")
        self.add(
            Owed(
                idempotency_key=key or self.idempotency_key,
                neighbour=neighbour,
                execution_id=self.execution_id,
                project_id=self.project.id or None,
                step=self.identifier,
                request=request,
                last_error=reason,
            )
        )

    def log(self, message: str, level: str = "INFO", **details: Any) -> None:
        """Add a line to the execution's log (levels DEBUG, INFO, WARNING, ERROR, CRITICAL)."""
        if level not in _LEVELS:
            raise ValueError(f"{level!r} is no log level; use {', '.join(_LEVELS)}.")
        self.lines.append(
            LogLine(level, one_line(message), utc_now(), self.identifier, details=require_storable(details))
        )

    async def progress(self, fraction: float, message: str = "") -> None:
        """Say how far the step has come: 0 to 1, and in words. Shown within a second or so, while it runs."""
        self.fraction = min(1.0, max(0.0, fraction))
        self.progress_message = one_line(message)[:500]
        await asyncio.sleep(0)


_GIVEN = tuple(name for name in inspect.signature(StepContext).parameters)

StepFunction = Callable[[StepContext, Any], Awaitable[Result | Waiting]]
RollbackFunction = Callable[[StepContext, Any], Awaitable[Result]]


@dataclass(slots=True)
class StepItem:
    """One execution's part in a step: its input, and afterwards exactly one of `result`, `waiting` and `error`.

    `config` may be made when the step runs, of what is known then; what that raises is the step's error.
    """

    context: StepContext
    config: Json | Callable[[], Json]
    soft_limit: float
    started_at: datetime | None = None
    duration_ms: float = 0.0
    result: Result | None = None
    waiting: Waiting | None = None
    error: StepError | None = None
    task_run_id: UUID | None = None
    _work: asyncio.Task[Result | Waiting] | None = None
    _cancelled: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it is to be run (again): no outcome yet, or one that may have been a blip."""
        if self.result is not None or self.waiting is not None:
            return False
        return self.error is None or (self.error.retry_at_once and self.error.retry_after is None)

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
        at_work = context.at_work(step_type.name)
        span = at_work.run(tracing.begin_step, step_type.name, context, self.task_run_id)
        began = time.perf_counter()
        try:
            if self._cancelled:
                raise CancelledError(f"{step_type.name}: {self._cancelled}")
            config = step_type.parse(self.config() if callable(self.config) else self.config)
            async with asyncio.timeout(self.soft_limit) as limit:
                self._work = asyncio.create_task(_called(step_type.function, context, config), context=at_work)
                answer = await self._work
            if isinstance(answer, dict):
                self.result = require_storable(answer)
            elif not isinstance(answer, Waiting):
                raise ValidationError(f"{step_type.name}: it answered {type(answer).__name__} rather than a dict.")
            elif step_type.waits:
                self.waiting = answer
            else:
                raise ValidationError(f"{step_type.name}: it answered Waiting and was not made with waits=True.")
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            self.error = CancelledError(f"{step_type.name}: {self._cancelled}")
        except TimeoutError as error:
            self.error = redact_error(as_step_error(error))
            if limit.expired():
                self.error = StepTimeoutError(
                    f"{step_type.name}: took longer than its limit of {self.soft_limit:g} s and was stopped."
                )
        except Exception as error:
            self.error = redact_error(as_step_error(error))
        finally:
            tracing.end(span, self.error)
        self.duration_ms += (time.perf_counter() - began) * 1000


async def _called(function: StepFunction, context: StepContext, config: StepConfig) -> Result | Waiting:
    return await function(context, config)


def _holds_nul(value: Any) -> bool:
    """Whether a text in it has a NUL, rather than the six characters by which JSON spells one."""
    if isinstance(value, dict):
        return any(_holds_nul(key) or _holds_nul(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return any(map(_holds_nul, value))
    return "\0" in (value if isinstance(value, str) else str(value))


def require_storable(result: Json) -> Json:
    """`result`, if PostgreSQL can store it: one that it cannot would take the whole batch's record with it.

    Raises:
        ValidationError: it cannot.
    """
    try:
        if b"\\u0000" not in orjson.dumps(result, default=str) or not _holds_nul(result):
            return result
        fault = "it holds a NUL"
    except TypeError as error:
        fault = str(error)
    raise ValidationError(f"What the step tells of itself cannot be stored: {fault}")


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
    rollback: RollbackFunction | None = None
    waits: bool = False
    """Whether it may have to wait: then it runs in a single run, which Prefect can suspend."""
    unrendered: frozenset[str] = frozenset()
    """Keys of its config whose templates are its own to render."""

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
    rollback: RollbackFunction | None = None,
    waits: bool = False,
    unrendered: Sequence[str] = (),
) -> Callable[[StepFunction], StepType]:
    """Make a step type of an async function `(step: StepContext, config: SomeConfig) -> dict`.

    Args:
        name: the `step_type` by which workflows name it.
        retries, retry_delay_seconds, retry_jitter_factor: Prefect's repetition in place, for blips only.
        tags: Prefect's task tags that carry a concurrency limit (deployments/pool.py). Each costs two calls
            to Prefect's server whenever the step runs, limit or not: give none for decoration.
        rollback: undoes the step's effect when a later step fails for good; `step.results[step.identifier]` is
            what the step had answered. It may be run twice, and does no harm then.
        waits: it may answer `Waiting`.
        unrendered: keys of its config whose templates are its own to render.
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
        step_type = StepType(name, function, config_model, task, rollback, waits, frozenset(unrendered))
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
    if not last_try and any(item.is_open for item in batch.items):
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
        logger.log(_LEVELS[line.level], "%s", redact_text(line.message))
    for item in batch.items:
        if item.error:
            logger.error("%s: %s", item.context.execution_id, one_line(str(item.error)))


_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
