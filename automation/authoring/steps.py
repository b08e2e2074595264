"""Writing single steps, in one transaction of the caller's. A workflow is checked as a whole whatever changes of it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from automation.authoring.checks import check_not_itself, check_steps, check_storable
from automation.authoring.shapes import MAX_STEPS, StepBody, StepPatch, filled_steps, parse
from automation.authoring.triggers import lock, tell
from automation.authoring.write import keep_version
from automation.errors import NotFoundError, RefusedError
from automation.models import Workflow, WorkflowStep, utc_now
from automation.redaction import restored
from automation.settings import Settings


def parse_step(raw: object) -> StepBody:
    """A whole step. Whether it suits its workflow is known when that is locked.

    Raises:
        RefusedError: its shape is wrong.
    """
    body = parse(StepBody, raw)
    assert isinstance(raw, dict)  # `parse` lets nothing else pass
    check_storable(raw)
    return body


def parse_step_patch(raw: object) -> Mapping[str, Any]:
    """What is to change of a step.

    Raises:
        RefusedError: its shape is wrong.
    """
    body = parse(StepPatch, raw)
    assert isinstance(raw, dict)
    check_storable(raw)
    return {name: getattr(body, name) for name in body.model_fields_set}


async def lock_owner(session: AsyncSession, step_id: UUID) -> Workflow:
    """The workflow of a step, for this transaction alone to change.

    Raises:
        NotFoundError: there is no such step.
        ConflictError: its workflow is archived.
    """
    workflow_id = await session.scalar(select(WorkflowStep.workflow_id).where(WorkflowStep.id == step_id))
    workflow = await lock(session, workflow_id) if workflow_id else None
    if workflow is None or all(one.id != step_id for one in workflow.steps):  # deleted while we waited
        raise NotFoundError(f"Step {step_id} does not exist.")
    return workflow


def find(workflow: Workflow, step_id: UUID) -> WorkflowStep:
    """A step of a locked workflow."""
    return next(one for one in workflow.steps if one.id == step_id)


async def add_step(session: AsyncSession, workflow_id: UUID, body: StepBody, settings: Settings) -> WorkflowStep:
    """One more step for a workflow; without `order` it comes last.

    Raises:
        NotFoundError: there is no such workflow.
        ConflictError: it is archived.
        RefusedError: the whole would break a rule then; `field` begins at the step.
    """
    workflow = await lock(session, workflow_id)
    restored(body.config, None, "config")
    if len(workflow.steps) >= MAX_STEPS:
        raise RefusedError(f"A workflow has at most {MAX_STEPS} steps, and this one has them.")
    if "order" not in body.model_fields_set:
        body = body.model_copy(update={"order": max((one.order for one in workflow.steps), default=0) + 1})
    new = WorkflowStep(id=uuid4(), workflow_id=workflow_id)
    bodies = filled_steps([*map(body_of, workflow.steps), body])
    await _write(session, workflow, [*workflow.steps, new], bodies, new, settings)
    return new


async def replace_step(session: AsyncSession, step_id: UUID, body: StepBody, settings: Settings) -> WorkflowStep:
    """Put a step in place of another, under its id: what is left out is as in a new one, but its order stays.

    Raises:
        NotFoundError: there is no such step.
        ConflictError: its workflow is archived.
        RefusedError: the whole would break a rule then; `field` begins at the step.
    """
    workflow = await lock_owner(session, step_id)
    step = find(workflow, step_id)
    if "order" not in body.model_fields_set:
        body = body.model_copy(update={"order": step.order})
    return await _replace(session, workflow, step, body, settings)


async def change_step(
    session: AsyncSession, step_id: UUID, changes: Mapping[str, Any], settings: Settings
) -> WorkflowStep:
    """Change what is given of a step.

    Raises:
        NotFoundError, ConflictError, RefusedError: as `replace_step`.
    """
    workflow = await lock_owner(session, step_id)
    step = find(workflow, step_id)
    return await _replace(session, workflow, step, body_of(step).model_copy(update=dict(changes)), settings)


async def delete_step(session: AsyncSession, step_id: UUID, settings: Settings) -> None:
    """Delete a step; what it did stays in the executions that it did it in.

    Raises:
        NotFoundError, ConflictError: as `replace_step`.
        RefusedError: another step depends on it.
    """
    workflow = await lock_owner(session, step_id)
    left = [one for one in workflow.steps if one.id != step_id]
    await _write(session, workflow, left, [body_of(one) for one in left], None, settings)


def body_of(step: WorkflowStep) -> StepBody:
    """A step as it is, in the shape in which it is sent."""
    return StepBody.model_construct(**{name: getattr(step, name) for name in StepBody.model_fields})


async def _replace(
    session: AsyncSession, workflow: Workflow, step: WorkflowStep, body: StepBody, settings: Settings
) -> WorkflowStep:
    kept = {"config": restored(body.config, step.config, "config"), "identifier": body.identifier or step.identifier}
    body = body.model_copy(update=kept)
    bodies = [body if one is step else body_of(one) for one in workflow.steps]
    await _write(session, workflow, workflow.steps, bodies, step, settings)
    return step


async def _write(
    session: AsyncSession,
    workflow: Workflow,
    rows: Sequence[WorkflowStep],
    bodies: Sequence[StepBody],
    changed: WorkflowStep | None,
    settings: Settings,
) -> None:
    """Give a locked workflow these steps, each as its body says."""
    try:
        await asyncio.to_thread(check_steps, bodies, settings)
        check_not_itself(bodies, workflow.id)
    except RefusedError as error:
        raise _placed(error, next((index for index, one in enumerate(rows) if one is changed), None)) from None
    await keep_version(session, workflow.id)  # it may be that nothing has run it yet
    for row, body in zip(rows, bodies, strict=True):
        for name in StepBody.model_fields:
            if getattr(row, name) != (value := getattr(body, name)):
                setattr(row, name, value)
    workflow.steps = sorted(rows, key=lambda step: (step.order, step.identifier))
    workflow.updated_at = utc_now()
    await session.flush()
    await keep_version(session, workflow.id)
    await tell(session, workflow.id)


def _placed(error: RefusedError, index: int | None) -> RefusedError:
    """The same error, its place told from the step that was sent."""
    place, _, field = error.field.partition(".")[2].partition(".")
    # a name that is there twice is the new one's fault, wherever the other stands
    if index is None or (place != str(index) and field != "identifier"):
        return error
    return RefusedError(str(error).removeprefix(f"steps.{place}."), field)
