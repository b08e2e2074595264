"""How executions are shown: in a list, and one with all that belongs to it, as the platform's description has it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncSession

from automation.engine.estimate import Standing, estimated_completion
from automation.engine.plan import predecessors
from automation.models import FINAL, Execution, Json, Status, StepExecution, utc_now
from automation.models.execution_queries import ExecutionDetail, find_execution, median_seconds
from automation.redaction import RedactedJson, RedactedText
from automation.requests import trace_id

Utc = Annotated[datetime, AfterValidator(lambda at: at.astimezone(UTC))]
"""A time that the database wrote as text, in whatever zone it thinks in."""


class _Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class ExecutionOut(_Shown):
    """An execution in short. `created_at` is when it was accepted, `started_at` when its first step began,
    `completed_at` when it truly stopped."""

    id: UUID
    workflow_id: UUID
    workflow_name: str
    project_id: str | None
    kind: str
    key: str | None
    status: str
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    event_count: int
    attempt: int
    error_message: RedactedText
    error_code: str


class TriggerDataOut(BaseModel):
    """What started an execution."""

    type: str
    event_type: str
    data: RedactedJson


class StepAttemptOut(_Shown):
    """A try of a step before the one that the step shows."""

    attempt: int
    status: str
    started_at: Utc | None
    completed_at: Utc | None
    duration_ms: float | None
    error_message: RedactedText
    error_code: str


class ItemOut(_Shown):
    """What a FOR_EACH did with one of its items."""

    identifier: str = Field(description="`<step>[<number>]`; the first one has the number 0.")
    status: str
    started_at: datetime | None
    completed_at: datetime | None
    duration_ms: float | None
    result: RedactedJson
    error_message: RedactedText
    error_code: str
    attempt: int


class StepExecutionOut(BaseModel):
    """What a step did, or, as long as it is PENDING, that it will."""

    identifier: str
    type: str
    order: int
    status: str
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_ms: float | None = Field(None, description="Of one that is RUNNING: so far.")
    result: RedactedJson = Field(default_factory=dict)
    progress: float | None = Field(None, description="0 to 1, if the step says.")
    progress_message: str = ""
    error_message: RedactedText = ""
    error_code: str = ""
    attempt: int = Field(0, description="The attempt of the execution at which it ran; 0 before.")
    attempts: list[StepAttemptOut] = Field(default_factory=list, description="Its earlier tries, oldest first.")
    items: dict[str, int] = Field(default_factory=dict, description="FOR_EACH: how many items have which status.")


class AttemptOut(_Shown):
    """A try of an execution that was not its last. `asked_by` is empty when the retry policy wanted the next one."""

    attempt: int
    status: str
    failed_step: str
    error_message: RedactedText
    error_code: str
    asked_by: str
    reason: str
    from_step: str = Field(description="From where on completed steps ran anew, too; `*`: from the start.")
    ended_at: Utc


class WaitOut(_Shown):
    """What a step waits for, or has waited for; `is_verified`: whether `resolved_by` is known to be who it says."""

    identifier: str
    kind: str = Field(description="time, event, approval or execution.")
    status: str = Field(description="WAITING, RESOLVED, TIMED_OUT, REJECTED, FAILED or CANCELLED.")
    since: Utc = Field(validation_alias="created_at")
    due_at: Utc | None
    message: str
    resolved_at: Utc | None
    resolved_by: str
    is_verified: bool
    comment: str


class ParentOut(BaseModel):
    """The execution, and its step, that started this one."""

    execution_id: UUID
    step: str


class ChildOut(BaseModel):
    """An execution that a step of this one has started."""

    execution_id: UUID
    step: str
    workflow_id: UUID
    status: str


class FlowRunOut(BaseModel):
    """Prefect's flow run; `id` is empty until Prefect has it."""

    id: UUID | None
    state: str
    process: str = Field(description="`host:pid` of the process that claimed it last; empty before.")


class OwedOut(_Shown):
    """What a step could not have at a neighbour: OWED until it can be reached, REFUSED if it will not have it."""

    neighbour: str
    step: str
    status: str
    last_error: RedactedText
    due_at: datetime


class ExecutionDetailOut(ExecutionOut):
    """An execution with its trigger, result, all steps of its version in their order, and the last flow run that
    carried it.

    `degraded`: a step that is not required failed, or an effect of it was owed; `owed` is what still is.
    """

    trigger: TriggerDataOut
    result: RedactedJson
    steps: list[StepExecutionOut]
    estimated_completion: datetime | None = Field(
        description="From the medians of past runs; null when it has ended, waits, or a step has under 5 past runs."
    )
    workflow_version: int | None = Field(description="The version of its workflow that it runs on; null before.")
    only_step: str = Field(description="The step that was run alone, by its identifier; empty: all of them.")
    request_id: str = Field(description="The request that it goes back to, as in `X-Request-ID` and in our log.")
    trace_id: str = Field(description="The trace that it belongs to; empty without one.")
    cancel_requested_at: datetime | None
    attempts: list[AttemptOut] = Field(description="Its earlier tries, oldest first.")
    waits: list[WaitOut]
    parent: ParentOut | None
    children: list[ChildOut]
    flow_run: FlowRunOut | None
    degraded: bool
    owed: list[OwedOut]


def summary(execution: Execution, workflow_name: str) -> ExecutionOut:
    """An execution in short."""
    return ExecutionOut(**_summary(execution, workflow_name))


def _summary(execution: Execution, workflow_name: str) -> Json:
    own = {name: getattr(execution, name) for name in ExecutionOut.model_fields if name != "workflow_name"}
    return own | {"workflow_name": workflow_name}


async def shown(session: AsyncSession, execution_id: UUID) -> ExecutionDetailOut:
    """One execution as people see it, and as Studio is told of it.

    Raises:
        NotFoundError: there is no such execution.
    """
    found = await find_execution(session, execution_id)
    return _detail(found, await _estimate(session, found), utc_now())


def _detail(found: ExecutionDetail, estimated: datetime | None, now: datetime) -> ExecutionDetailOut:
    execution, run = found.execution, found.flow_run
    parent = execution.parent_id and ParentOut(execution_id=execution.parent_id, step=execution.parent_step)
    return ExecutionDetailOut(
        **_summary(execution, found.workflow_name),
        trigger=TriggerDataOut(
            type=execution.trigger_type, event_type=execution.event_type, data=execution.trigger_data
        ),
        result=execution.result,
        steps=steps_shown(found, now),
        estimated_completion=estimated,
        workflow_version=execution.workflow_version,
        only_step=execution.only_step,
        request_id=execution.request_id,
        trace_id=trace_id(execution.traceparent),
        cancel_requested_at=execution.cancel_requested_at,
        attempts=[AttemptOut.model_validate(one) for one in found.attempts],
        waits=[WaitOut.model_validate(one) for one in found.waits],
        parent=parent or None,
        children=[ChildOut.model_validate(one) for one in found.children],
        flow_run=FlowRunOut(id=run.prefect_id, state=run.state, process=run.process) if run else None,
        degraded=execution.degraded,
        owed=[OwedOut.model_validate(one) for one in found.owed],
    )


def steps_shown(found: ExecutionDetail, now: datetime) -> list[StepExecutionOut]:
    """What is recorded of its steps, and the steps of its version of which nothing is: they are still to come, or,
    when it has ended, were never reached."""
    planned = {step["identifier"] for step in found.planned}
    # what a retry from the start left of a version that had other steps is no step of this one
    recorded = [one for one in found.steps if one.identifier in planned or one.status != Status.PENDING]
    known = {one.identifier for one in recorded}
    steps = [_recorded(one, found, now) for one in recorded]
    steps += [_to_come(step, found.execution.status) for step in found.planned if step["identifier"] not in known]
    return sorted(steps, key=lambda step: (step.order, step.identifier))


def _recorded(step: StepExecution, found: ExecutionDetail, now: datetime) -> StepExecutionOut:
    attempts = [
        StepAttemptOut.model_validate(one) for one in found.step_attempts if one["identifier"] == step.identifier
    ]
    items = {one["status"]: one["number"] for one in found.items if one["step"] == step.identifier}
    place: Json = {"identifier": step.identifier, "type": step.step_type, "order": step.order, "status": step.status}
    if step.status == Status.PENDING:  # to be run again: what its row says is of the try before
        return StepExecutionOut(**place, attempts=attempts, items=items)
    duration, progress = step.duration_ms, step.progress
    if step.status == Status.RUNNING and step.started_at is not None:
        duration = max(0.0, round((now - step.started_at).total_seconds() * 1000, 3))
    elif step.status == Status.COMPLETED and progress is not None:
        progress = 1.0
    return StepExecutionOut(
        **place,
        started_at=step.started_at,
        completed_at=step.completed_at,
        duration_ms=duration,
        result=step.result,
        progress=progress,
        progress_message=step.progress_message,
        error_message=step.error_message,
        error_code=step.error_code,
        attempt=step.attempt,
        attempts=attempts,
        items=items,
    )


def _to_come(step: Json, of_execution: str) -> StepExecutionOut:
    place: Json = {"identifier": step["identifier"], "type": step["step_type"], "order": step["order"]}
    if of_execution not in FINAL:
        return StepExecutionOut(**place, status=Status.PENDING)
    reason = f"not reached: the execution {of_execution.lower()}"
    return StepExecutionOut(**place, status=Status.SKIPPED, error_message=reason)


async def _estimate(session: AsyncSession, found: ExecutionDetail) -> datetime | None:
    execution = found.execution
    standing = standing_of(found.planned, found.steps)
    left = [step.identifier for step in standing if not step.is_over]
    waits = any(step.status == Status.WAITING for step in standing) or execution.status == Status.WAITING
    if execution.status in FINAL or waits or not standing or execution.cancel_requested_at is not None:
        return None
    medians = await median_seconds(session, [execution.workflow_id], left)
    return estimated_completion(standing, medians[execution.workflow_id], utc_now(), execution.due_at)


def standing_of(planned: Sequence[Json], recorded: Sequence[StepExecution]) -> list[Standing]:
    """Where each planned step stands by what is recorded."""
    rows = {one.identifier: one for one in recorded}
    orders = {step["identifier"]: step["order"] for step in planned}
    standing = []
    for step in planned:
        row = rows.get(step["identifier"])
        standing.append(
            Standing(
                identifier=step["identifier"],
                after=predecessors(step["identifier"], step["order"], step["depends_on"], orders),
                status=row.status if row else Status.PENDING,
                started_at=row.started_at if row else None,
                is_required=step["is_required"],
            )
        )
    return standing
