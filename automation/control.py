"""What operators may ask of the engine, through the API or the CLI: run a workflow, retry, cancel."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic import ValidationError as PydanticError
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.callback.tell import executions_ended
from automation.engine import children, ending, retrying
from automation.engine.retrying import RETRYABLE
from automation.errors import ConflictError, NotFoundError, RefusedError
from automation.intake import Started, start_workflow, waits
from automation.intake.calls import fire_call
from automation.intake.events import storable
from automation.models import FINAL, Execution, Json, Wait, Workflow, WorkflowStep
from automation.models.execution_queries import (
    Queued,
    Unsuccessful,
    count_queued,
    count_unsuccessful,
    lock_execution,
    lock_queued,
    lock_unsuccessful,
)
from automation.models.recovery_queries import (
    Letters,
    count_redrivable,
    lock_redrivable,
    require_letter,
)
from automation.models.workflow_queries import find_workflow
from automation.runtime.names import plain_name
from automation.settings import Settings
from automation.triggers.input_schema import check_input

REDRIVEN_AT_ONCE = 1000
"""Executions that one call tries again, so that it is one transaction of a bearable length."""
CANCELLED_AT_ONCE = 1000
"""The same for those that one call cancels."""


class PublishInput(BaseModel):
    """What the publish workflow is asked to do with an existing release."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["promote", "rollback"]
    version: str | None = None
    environment: str | None = None

    @field_validator("version", "environment")
    @classmethod
    def _plain(cls, value: str | None, info: ValidationInfo) -> str | None:
        return None if value is None else plain_name(value, f"input.{info.field_name}")


# Workflow kinds whose input has a fixed shape; any other kind takes any JSON object.
INPUTS: dict[str, type[BaseModel]] = {"publish": PublishInput}


async def execute(session: AsyncSession, workflow_id: UUID, settings: Settings, *, input: Json) -> Started:
    """Start a workflow by hand.

    Raises:
        NotFoundError: there is no such workflow.
        ConflictError: the workflow is switched off or archived, or its API_CALL trigger does not fire on this.
        ThrottledError: its API_CALL trigger has fired too often.
        RefusedError: the input does not suit the workflow; `field` begins with `input`.
    """
    workflow = await find_workflow(session, workflow_id)
    _refuse_archived(workflow)
    data = {"project_id": workflow.project_id, "input": checked_input(workflow.kind, input)}
    calls = [one for one in workflow.triggers if one.trigger_type == "API_CALL"]
    if not calls or not workflow.is_active:
        return await start_workflow(session, workflow_id, settings, trigger_type="API_CALL", trigger_data=data)
    trigger = next((one for one in calls if one.is_active), calls[0])
    if (schema := trigger.config.get("input_schema")) is not None:
        await asyncio.to_thread(check_input, schema, input)  # a hostile pair takes a second
    return await fire_call(session, trigger.id, data, settings, execution_id=uuid4())


async def execute_step(session: AsyncSession, step_id: UUID, settings: Settings, *, input: Json) -> Started:
    """Run one step of a workflow alone: in an execution of the workflow that says so.

    Args:
        input: its keys stand in the trigger data too, for steps that read those of an event (`page`).

    Raises:
        NotFoundError: there is no such step.
        ConflictError: its workflow is switched off or archived.
        RefusedError: PostgreSQL cannot store the input.
    """
    storable(input, "input")
    step = await session.get(WorkflowStep, step_id)
    if step is None:
        raise NotFoundError(f"Step {step_id} does not exist.")
    workflow = await session.get_one(Workflow, step.workflow_id)
    _refuse_archived(workflow)
    data = {**input, "project_id": workflow.project_id, "input": input}
    started = await start_workflow(session, workflow.id, settings, trigger_type="API_CALL", trigger_data=data)
    await session.execute(update(Execution).where(Execution.id == started.id).values(only_step=step.identifier))
    return started


def checked_input(kind: str, given: Json) -> Json:
    """`given`, if a workflow of this kind can run with it.

    Raises:
        RefusedError: it cannot; `field` is the dotted path to what is wrong.
    """
    storable(given, "input")
    if kind not in INPUTS:
        return given
    try:
        checked: dict[str, Any] = INPUTS[kind].model_validate(given).model_dump(exclude_none=True)
    except PydanticError as error:
        first = error.errors()[0]
        field = ".".join(("input", *map(str, first["loc"])))
        raise RefusedError(f"{field}: {first['msg']}", field) from None
    return checked


def _refuse_archived(workflow: Workflow) -> None:
    if workflow.archived_at is not None:
        raise ConflictError(f"Workflow {workflow.id} ({workflow.name}) was deleted; only its history is left.")


async def retry(
    session: AsyncSession,
    execution_id: UUID,
    *,
    asked_by: str = "",
    reason: str = "",
    from_step: str | None = None,
    from_start: bool = False,
    input: Json | None = None,
) -> Execution:
    """Run an execution that failed or was cancelled again, from its first step that is not completed.

    Its retry policy starts anew. If it was a dead letter, it is none until it fails again.

    Args:
        from_step, from_start, input: from where instead, and on which input (automation/engine/retrying.py).

    Raises:
        NotFoundError: there is no such execution.
        ConflictError: it is not FAILED or CANCELLED, or its workflow is archived.
        RefusedError: there is no such step, or the input does not suit the workflow.
    """
    execution = await lock_execution(session, execution_id)
    if execution.status not in RETRYABLE:
        raise ConflictError(
            f"Execution {execution_id} is {execution.status}; only a FAILED or CANCELLED one can be retried."
        )
    _refuse_archived(await session.get_one(Workflow, execution.workflow_id))
    if input is not None:
        if not from_start:
            raise RefusedError("input: only a retry with `from_start` can have another one", "input")
        input = checked_input(execution.kind, input)
    await retrying.retry(
        session,
        execution,
        asked_by=asked_by,
        reason=reason,
        from_step=from_step,
        from_start=from_start,
        input=input,
    )
    return execution


@dataclass(frozen=True, slots=True)
class Redriven:
    """Executions that are tried again, and how many of those that were meant are left."""

    executions: Sequence[UUID]
    left: int


async def retry_many(session: AsyncSession, wanted: Unsuccessful, *, asked_by: str, reason: str = "") -> Redriven:
    """Try executions that ended badly again, the oldest first, at most `REDRIVEN_AT_ONCE`."""
    ids = await lock_unsuccessful(session, wanted, REDRIVEN_AT_ONCE)
    for id_ in ids:
        await retry(session, id_, asked_by=asked_by, reason=reason)
    return Redriven(ids, await count_unsuccessful(session, wanted))


async def redrive(session: AsyncSession, letters: Letters, *, asked_by: str) -> Redriven:
    """Try the executions of open dead letters again, the oldest first, at most `REDRIVEN_AT_ONCE`.

    Those of a workflow that was deleted cannot be tried again, and are not counted.
    """
    ids = await lock_redrivable(session, letters, REDRIVEN_AT_ONCE)
    for id_ in ids:
        await retry(session, id_, asked_by=asked_by, reason="redriven")
    return Redriven(ids, await count_redrivable(session, letters))


async def redrive_one(session: AsyncSession, execution_id: UUID, *, asked_by: str) -> Execution:
    """Try the execution of a dead letter again.

    Raises:
        NotFoundError: it is no dead letter.
        ConflictError: it is tried again already, or its workflow was deleted.
    """
    await require_letter(session, execution_id)
    return await retry(session, execution_id, asked_by=asked_by, reason="redriven")


@dataclass(frozen=True, slots=True)
class Approved:
    """An approval that was answered, and its execution; `is_new`: just now, and not by an earlier, equal answer."""

    execution: Execution
    wait: Wait
    is_new: bool


async def approve(
    session: AsyncSession, execution_id: UUID, answer: waits.Answer, *, identifier: str | None = None
) -> Approved:
    """Answer the approval that an execution waits for. The same answer given again changes nothing.

    Args:
        identifier: the step that is meant, needed when several wait.

    Raises:
        NotFoundError: there is no such execution.
        ConflictError: it waits for no approval, or for several and none is named; or it was answered otherwise.
    """
    execution = await lock_execution(session, execution_id)
    before = await waits.last_approval(session, execution_id, identifier)
    if before and before.status == ("RESOLVED" if answer.approve else "REJECTED") and before.resolved_by:
        return Approved(execution, before, is_new=False)
    wait = await waits.approve(session, execution_id, answer, identifier)
    await session.refresh(execution)
    return Approved(execution, wait, is_new=True)


async def cancel(session: AsyncSession, execution_id: UUID, settings: Settings) -> Execution:
    """End an execution that waits, or ask the engine to stop one that runs; what it did is undone.

    A flow run that was made for a waiting one and has not begun finds nothing to do.

    Raises:
        NotFoundError: there is no such execution.
        ConflictError: it has ended.
    """
    execution = await lock_execution(session, execution_id)
    if execution.status in FINAL:
        raise ConflictError(f"Execution {execution_id} is {execution.status}; nothing is left to cancel.")
    below = [await lock_execution(session, id_) for id_ in await children.descendants(session, [execution_id])]
    for one in (execution, *below):
        if one.status not in FINAL:
            await ending.call_off(session, one, "cancelled by request")
    await session.flush()
    await executions_ended(session, settings, [one.id for one in (execution, *below) if one.status in FINAL])
    return execution


@dataclass(frozen=True, slots=True)
class CancelledMany:
    """Executions that were cancelled, and how many of those that were meant are left."""

    executions: Sequence[Execution]
    left: int


async def cancel_many(session: AsyncSession, wanted: Queued, settings: Settings) -> CancelledMany:
    """Cancel executions that wait, the oldest first, at most `CANCELLED_AT_ONCE`."""
    meant = await lock_queued(session, wanted, CANCELLED_AT_ONCE)
    for one in meant:
        if one.status not in FINAL:  # else it ended with the one whose step had started it
            await cancel(session, one.id, settings)
    return CancelledMany(meant, await count_queued(session, wanted))
