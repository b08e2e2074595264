"""What an execution has to do, and what it may do next. No I/O here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from automation.engine.options import NO_OPTIONS, StepOptions
from automation.errors import CancelledError, StepError, UnknownError, ValidationError
from automation.models import Json
from automation.requests import NOWHERE, Origin
from automation.retries import Rule
from automation.steps import LogLine, ProjectInfo, Result, StepItem, one_line


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step of a workflow as the engine needs it; `after` names the steps that must be done before, and a
    `templated` one has `{{ … }}` in its config."""

    id: UUID | None
    identifier: str
    step_type: str
    order: int
    config: Json
    is_required: bool
    after: frozenset[str]
    conditions: Json = field(default_factory=dict)
    options: StepOptions = NO_OPTIONS
    templated: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a workflow, sorted so that each stands after those that it waits for."""

    steps: tuple[PlannedStep, ...]


@dataclass(slots=True)
class Item:
    """An execution in the hands of a flow run.

    A step is over when it is in `done` (its result, also of an earlier attempt), `degraded` (it failed and was not
    required) or `skipped` (the reason). What is in `waiting` may be over some day; `failed` never will.
    """

    execution_id: UUID
    dispatch_no: int
    workflow_id: UUID
    workflow_name: str
    kind: str
    project: ProjectInfo
    trigger_type: str
    event_type: str
    trigger_data: Json
    occurred_at: datetime
    attempt: int
    lost_count: int
    plan: Plan
    origin: Origin = NOWHERE
    retry: dict[str, Rule] = field(default_factory=dict)
    retries: int = 0
    failed_before: str = ""
    ran_seconds: float = 0.0
    parent_id: UUID | None = None
    depth: int = 0
    generation: int = 0
    done: dict[str, Result] = field(default_factory=dict)
    degraded: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    error: StepError | None = None
    failed_step: PlannedStep | None = None
    failed: set[str] = field(default_factory=set)
    unwaited: list[tuple[PlannedStep, StepError]] = field(default_factory=list)
    """Steps that had waited, and what came of it: a time-out, or a refusal."""
    leaves: bool = False
    """Its next step may have to wait: it leaves its batch run, for a single one that can."""
    ending: str = ""
    """How it is to end (FAILED, CANCELLED) by an earlier decision, with `error`: what it did is left to be undone."""

    @property
    def owes(self) -> bool:
        """Whether an effect of it is owed to a neighbour that could not be reached."""
        return any(result.get("owed") is True for result in self.done.values())

    @property
    def over(self) -> set[str]:
        return self.done.keys() | self.degraded.keys() | self.skipped.keys()

    def ready(self) -> list[PlannedStep]:
        """The steps that may run now: not over, and everything before them is. None after a failure."""
        if self.error or self.leaves:
            return []
        over = self.over
        taken = over | self.waiting
        return [step for step in self.plan.steps if step.identifier not in taken and step.after <= over]

    def take(self, step: PlannedStep, work: StepItem) -> None:
        """Note how a step ended, and log it with its duration."""
        if work.error is None and work.result is None and work.waiting is None:
            work.error = UnknownError(f"{step.step_type}: Prefect ended the task without an outcome.")
        error, lines = work.error, work.context.lines
        if error is None and work.waiting is not None:
            self.waiting.add(step.identifier)
            level, text = "INFO", f"{step.step_type} waits: {work.waiting.message or work.waiting.kind}"
        elif error is None:
            self.done[step.identifier] = work.result or {}
            level, text = "INFO", f"{step.step_type} completed"
        elif step.is_required or isinstance(error, CancelledError):
            self.fail(step, error)
            level, text = "ERROR", str(error)
        else:
            self.degraded[step.identifier] = str(error)
            level, text = "WARNING", f"{error} (not required: the workflow goes on)"
        duration = round(work.duration_ms, 3)
        if error is None and lines:  # the step has said itself what it did
            lines[-1] = replace(lines[-1], duration_ms=duration)
        else:
            lines.append(LogLine(level, one_line(text), datetime.now(UTC), step.identifier, duration))

    def fail(self, step: PlannedStep, error: StepError) -> None:
        """A required step failed; of several the one counts that allows the fewest retries."""
        self.failed.add(step.identifier)
        if self.error is None or error.policy.max_retries < self.error.policy.max_retries:
            self.error, self.failed_step = error, step

    def left(self) -> list[PlannedStep]:
        """The steps that were not run; after a failure they never will be."""
        over = self.over | self.failed | self.waiting
        return [step for step in self.plan.steps if step.identifier not in over]


def make_plan(steps: Sequence[PlannedStep]) -> Plan:
    """Sort steps so that each stands after those it waits for.

    Raises:
        ValidationError: a step waits for one that does not exist, or steps wait for each other.
    """
    known = {step.identifier for step in steps}
    for step in steps:
        if missing := step.after - known:
            raise ValidationError(
                f"Step {step.identifier!r} depends on {', '.join(sorted(missing))}, which the workflow lacks."
            )
    done: list[PlannedStep] = []
    while len(done) < len(steps):
        over = {step.identifier for step in done}
        ready = [step for step in steps if step.identifier not in over and step.after <= over]
        if not ready:
            circle = ", ".join(sorted(known - over))
            raise ValidationError(f"Steps {circle} wait for each other; remove one of their depends_on.")
        done += sorted(ready, key=lambda step: (step.order, step.identifier))
    return Plan(tuple(done))


def predecessors(identifier: str, order: int, depends_on: Sequence[str], orders: Mapping[str, int]) -> frozenset[str]:
    """What a step waits for: its `depends_on` if it has any, else every step of a lower order."""
    if depends_on:
        return frozenset(depends_on)
    return frozenset(other for other, its_order in orders.items() if its_order < order and other != identifier)
