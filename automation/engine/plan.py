"""What an execution has to do, and what it may do next. No I/O here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

from automation.errors import CancelledError, StepError, UnknownError, ValidationError
from automation.models import Json
from automation.steps import LogLine, ProjectInfo, Result, StepItem, one_line


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step of a workflow as the engine needs it; `after` names the steps that must be done before, and a
    `templated` one has `{{ … }}` in its config."""

    id: UUID
    identifier: str
    step_type: str
    order: int
    config: Json
    is_required: bool
    after: frozenset[str]
    templated: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a workflow, sorted so that each stands after those that it waits for."""

    steps: tuple[PlannedStep, ...]


@dataclass(slots=True)
class Item:
    """An execution in the hands of a flow run. `done` holds results, also those of earlier attempts."""

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
    done: dict[str, Result] = field(default_factory=dict)
    degraded: dict[str, str] = field(default_factory=dict)
    error: StepError | None = None
    failed_step: PlannedStep | None = None
    failed: set[str] = field(default_factory=set)

    def ready(self) -> list[PlannedStep]:
        """The steps that may run now: not done, and everything before them is. None after a failure."""
        if self.error:
            return []
        over = self.done.keys() | self.degraded.keys()
        return [step for step in self.plan.steps if step.identifier not in over and step.after <= over]

    def take(self, step: PlannedStep, work: StepItem) -> None:
        """Note how a step ended, and log it with its duration."""
        if work.error is None and work.result is None:
            work.error = UnknownError(f"{step.step_type}: Prefect ended the task without an outcome.")
        error, lines = work.error, work.context.lines
        if error is None:
            self.done[step.identifier] = work.result or {}
            level, text = "INFO", f"{step.step_type} completed"
        elif step.is_required or isinstance(error, CancelledError):
            self.failed.add(step.identifier)
            if self.error is None or error.policy.max_retries < self.error.policy.max_retries:
                self.error, self.failed_step = error, step  # of several the one that allows the fewest retries
            level, text = "ERROR", str(error)
        else:
            self.degraded[step.identifier] = str(error)
            level, text = "WARNING", f"{error} (not required: the workflow goes on)"
        duration = round(work.duration_ms, 3)
        if error is None and lines:  # the step has said itself what it did
            lines[-1] = replace(lines[-1], duration_ms=duration)
        else:
            lines.append(LogLine(level, one_line(text), datetime.now(UTC), step.identifier, duration))

    def left(self) -> list[PlannedStep]:
        """The steps that were not run; after a failure they never will be."""
        over = self.done.keys() | self.degraded.keys() | self.failed
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
