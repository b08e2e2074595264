"""Steps that steer a workflow: waiting, approvals, other workflows, the same step for each of several items."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, model_validator

from automation.engine import children, each
from automation.errors import ValidationError
from automation.models import Json, Workflow, utc_now
from automation.steps import Result, StepConfig, StepContext, Waiting, step
from automation.triggers.types import EventPattern

YEAR = 366 * 86_400
Seconds = Annotated[float, Field(gt=0, le=YEAR, allow_inf_nan=False)]


class WaitConfig(StepConfig):
    """`seconds` from now, or `until` a time."""

    seconds: Seconds | None = None
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _one(self) -> "WaitConfig":
        if (self.seconds is None) == (self.until is None):
            raise ValueError("give `seconds` or `until`")
        return self


class WaitForEventConfig(StepConfig):
    """An event of the project, by its type (or `prefix.*`) and conditions on it."""

    event_type: EventPattern
    conditions: Json = Field(default_factory=dict)
    timeout_after: Seconds | None = None
    on_timeout: Literal["fail", "continue"] = "fail"


class ApprovalConfig(StepConfig):
    """What whoever is asked reads, and for how long the question stands."""

    message: str = Field("", max_length=2000)
    timeout_after: Seconds | None = None
    on_timeout: Literal["fail", "continue"] = "fail"


class SetVariablesConfig(StepConfig):
    """Names and values for the steps behind, which find them in `steps.<identifier>.result`."""

    variables: Json


class RunWorkflowConfig(StepConfig):
    """The workflow whose execution is started, and waited for."""

    workflow_id: UUID
    input: Json = Field(default_factory=dict)
    timeout_after: Seconds | None = None
    on_timeout: Literal["fail", "continue"] = "fail"


class InnerStep(StepConfig):
    """The step that is run for each item; its config may use `{{ item }}` and `{{ index }}`."""

    step_type: str
    config: Json = Field(default_factory=dict)


class ForEachConfig(StepConfig):
    """Up to 1,000 items, `parallel` of them at once."""

    items: list[Any] = Field(max_length=1000)
    step: InnerStep
    parallel: int = Field(8, ge=1, le=16)


@step("WAIT", waits=True)
async def wait(step: StepContext, config: WaitConfig) -> Waiting | Result:
    """Wait for a time; no worker is held meanwhile.

    Returns:
        {"waited_until"}
    """
    until = config.until or utc_now() + timedelta(seconds=config.seconds or 0)
    if until <= utc_now():
        return {"waited_until": utc_now().isoformat()}
    return Waiting("time", until=until, message=f"until {until:%Y-%m-%d %H:%M:%S} UTC")


@step("WAIT_FOR_EVENT", waits=True)
async def wait_for_event(step: StepContext, config: WaitForEventConfig) -> Waiting:
    """Wait for an event of the project that comes from now on.

    Returns:
        {"event": {"id", "type", "data"}}; {"timed_out": true} when it did not come and `on_timeout` is `continue`.

    Raises:
        WaitTimeoutError: it did not come in time.
    """
    return Waiting(
        "event",
        until=_until(config.timeout_after),
        on_timeout=config.on_timeout,
        event_type=config.event_type,
        conditions=config.conditions,
        message=f"for an event {config.event_type}",
    )


@step("APPROVAL", waits=True)
async def approval(step: StepContext, config: ApprovalConfig) -> Waiting:
    """Wait for somebody to say yes or no, through the API or in Prefect's UI.

    Returns:
        {"approved": true, "by", "comment", "verified"}; {"timed_out": true} when nobody answered and `on_timeout` is
        `continue`.

    Raises:
        RejectedError: somebody said no.
        WaitTimeoutError: nobody answered in time.
    """
    message = config.message or "for an approval"
    return Waiting("approval", until=_until(config.timeout_after), on_timeout=config.on_timeout, message=message)


@step("SET_VARIABLES")
async def set_variables(step: StepContext, config: SetVariablesConfig) -> Result:
    """Keep values for the steps behind.

    Returns:
        The variables.
    """
    return config.variables


@step("RUN_WORKFLOW", waits=True)
async def run_workflow(step: StepContext, config: RunWorkflowConfig) -> Waiting:
    """Run another workflow of the project, and wait for its end.

    Returns:
        {"execution_id", "status", "result"}

    Raises:
        ValidationError: there is no such workflow, it is switched off, of another project, one of those that have
            started this one, or too deep.
        ChildFailedError: it failed, or was cancelled.
    """
    async with step.database.transaction() as session:
        workflow = await session.get(Workflow, config.workflow_id)
        above = await children.ancestors(session, step.execution_id)
    if (
        workflow is None
        or workflow.archived_at is not None
        or workflow.project_id not in (None, step.project.id or None)
    ):
        raise ValidationError(f"RUN_WORKFLOW: the project has no workflow {config.workflow_id}.")
    if not workflow.is_active:
        raise ValidationError(f"RUN_WORKFLOW: workflow {workflow.id} ({workflow.name}) is switched off.")
    if workflow.id in above:
        raise ValidationError(f"RUN_WORKFLOW: workflow {workflow.id} ({workflow.name}) would run inside itself.")
    if step.depth >= children.DEEPEST:
        raise ValidationError(f"RUN_WORKFLOW: workflows run at most {children.DEEPEST} deep inside each other.")
    return Waiting(
        "execution",
        until=_until(config.timeout_after),
        on_timeout=config.on_timeout,
        workflow_id=workflow.id,
        input=config.input,
        message=f"for workflow {workflow.name}",
    )


@step("FOR_EACH", unrendered=("step",))
async def for_each(step: StepContext, config: ForEachConfig) -> Result:
    """Run a step for each item, several at once; each has a record of its own, and a retry does only what is left.

    Returns:
        {"count", "results": [...]}

    Raises:
        StepError: what an item failed with, after all others have been tried.
    """
    return await each.run(step, config.items, config.step.step_type, config.step.config, config.parallel)


def _until(seconds: float | None) -> datetime | None:
    return None if seconds is None else utc_now() + timedelta(seconds=seconds)
