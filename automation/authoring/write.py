"""Writing workflows and triggers, in one transaction of the caller's.

What runs is told at once: an edit reaches the next execution that begins, schedules and watched folders follow.
Each version is kept (`workflow_versions`), also of what never ran.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from automation.authoring.calling_off import call_off
from automation.authoring.checks import check_not_itself, check_trigger, check_workflow_config
from automation.authoring.drafts import WorkflowDraft
from automation.authoring.shapes import NewTriggerBody, StepBody, TriggerBody
from automation.authoring.triggers import (
    CUSTOM,
    Written,
    body_of,
    is_system,
    lock,
    refuse_secret,
    set_triggers,
    start_slots,
    switch_off,
    tell,
)
from automation.catalog import definitions
from automation.engine.definitions import snapshots
from automation.errors import ConflictError, NotFoundError, RefusedError
from automation.intake.projects import ensure_project
from automation.models import Execution, Trigger, Workflow, WorkflowStep, utc_now
from automation.models.project_queries import refuse_deleted
from automation.settings import Settings


async def keep_version(session: AsyncSession, workflow_id: UUID) -> None:
    """Keep the version that a workflow has now, if it is not kept yet.

    Raises:
        NotFoundError: there is no such workflow.
    """
    if not await snapshots(session, {workflow_id}):
        raise NotFoundError(f"Workflow {workflow_id} does not exist.")


@dataclass(frozen=True, slots=True)
class WrittenTrigger:
    """A trigger as it stands now, whether its workflow runs, and the secret that was just made for it."""

    trigger: Trigger
    workflow_is_active: bool
    secret: str | None


async def create_workflow(
    session: AsyncSession, draft: WorkflowDraft, settings: Settings, workflow_id: UUID | None = None
) -> Written:
    """A new workflow; a project that nobody has told us of is made with it.

    Args:
        workflow_id: its id; by default a new one.

    Raises:
        RefusedError: its kind is not one that people make, or its config is wrong.
        ConflictError: its project is being deleted.
    """
    if draft.identity.get("kind") not in (None, CUSTOM):
        raise RefusedError(f"kind: what is made here is of kind {CUSTOM}; leave it out", "kind")
    _check_config(CUSTOM, draft.columns["config"], draft.triggers or ())
    project_id = draft.identity.get("project_id")
    if project_id is not None:
        await ensure_project(session, project_id, settings)
        await refuse_deleted(session, project_id)
    steps = [_step(one, None) for one in draft.steps or ()]
    id_ = workflow_id or uuid4()
    workflow = Workflow(id=id_, project_id=project_id, kind=CUSTOM, steps=steps, triggers=[], **draft.columns)
    session.add(workflow)
    written = await set_triggers(session, workflow, draft.triggers or ())
    await keep_version(session, workflow.id)
    await session.refresh(workflow, ["version"])
    await tell(session, workflow.id)
    return written


async def change_workflow(session: AsyncSession, workflow_id: UUID, draft: WorkflowDraft) -> Written:
    """Write what a draft says over a workflow. Steps that keep their identifier keep their row, and their history.

    Raises:
        NotFoundError: there is no such workflow.
        ConflictError: it is archived, or a system workflow would become something else.
        RefusedError: its config does not suit its kind and triggers.
    """
    workflow = await lock(session, workflow_id)
    await keep_version(session, workflow_id)  # it may be that nothing has run it yet
    _check_identity(workflow, draft)
    # a system workflow keeps its triggers unless it is told of others: they are more than its type says
    triggers = draft.triggers if draft.names_triggers or not is_system(workflow) else None
    if "config" in draft.columns or triggers is not None:
        config = draft.columns.get("config", workflow.config)
        _check_config(workflow.kind, config, workflow.triggers if triggers is None else triggers)
    was_active = workflow.is_active
    if was_active and not draft.columns.get("is_active", True):
        await switch_off(session, workflow)
    for name, value in draft.columns.items():
        if name not in _identity(workflow):
            setattr(workflow, name, value)
    workflow.updated_at = utc_now()
    if draft.steps is not None:
        check_not_itself(draft.steps, workflow_id)
        known = {step.identifier: step for step in workflow.steps}
        steps = [_step(one, known.get(one.identifier)) for one in draft.steps]
        workflow.steps = sorted(steps, key=lambda step: (step.order, step.identifier))
    written = Written(workflow) if triggers is None else await set_triggers(session, workflow, triggers)
    if workflow.is_active and not was_active:
        start_slots(workflow, utc_now())
    await session.flush()
    await keep_version(session, workflow_id)
    await session.refresh(workflow, ["version"])  # the database's own; it may have risen more than once
    await tell(session, workflow_id)
    return written


async def delete_workflow(session: AsyncSession, workflow_id: UUID, settings: Settings) -> None:
    """Delete a workflow; one that has executions is archived, so that its history stays readable.

    What waits of it is called off; what runs is left to end.

    Raises:
        NotFoundError: there is no such workflow.
        ConflictError: it is a system workflow, or archived already.
    """
    workflow = await lock(session, workflow_id)
    if is_system(workflow):
        raise ConflictError(f"{workflow.name} is a workflow of the system ({workflow.kind}); set is_active to false.")
    if await _may_vanish(session, workflow_id):
        await session.execute(
            delete(Workflow).where(Workflow.id == workflow_id).execution_options(synchronize_session=False)
        )
    else:
        await archive(session, workflow, settings)
    await tell(session, workflow_id)


async def add_trigger(session: AsyncSession, body: NewTriggerBody) -> WrittenTrigger:
    """One more trigger for a workflow.

    Raises:
        NotFoundError: there is no such workflow.
        ConflictError: it is archived, or its schedule is not ours.
        RefusedError: it has too many already.
    """
    workflow = await lock(session, body.workflow_id)
    written = await _set(session, workflow, [*map(body_of, workflow.triggers), body])
    return _written(written, workflow.triggers[-1])


async def replace_trigger(session: AsyncSession, trigger_id: UUID, body: TriggerBody) -> WrittenTrigger:
    """Put a trigger in place of another, under its id. A WEBHOOK of another scheme gets a new secret.

    Raises:
        NotFoundError: there is no such trigger.
        ConflictError: its workflow is archived, or cannot do without it as it is.
        RefusedError: it brings a secret.
    """
    return await _replace(session, await lock_owner(session, trigger_id), trigger_id, body)


async def change_trigger(
    session: AsyncSession, trigger_id: UUID, changes: Mapping[str, Any], settings: Settings
) -> WrittenTrigger:
    """Change what is given of a trigger.

    Raises:
        NotFoundError, ConflictError: as `replace_trigger`.
        RefusedError: the whole would break a rule then.
    """
    workflow = await lock_owner(session, trigger_id)
    body = body_of(_find(workflow, trigger_id)).model_copy(update=dict(changes))
    if changes.keys() - {"is_active"}:  # what cannot be right any more can still be switched off
        await asyncio.to_thread(check_trigger, body, settings)
    return await _replace(session, workflow, trigger_id, body)


async def delete_trigger(session: AsyncSession, trigger_id: UUID) -> None:
    """Delete a trigger, and with it what waits for it.

    Raises:
        NotFoundError, ConflictError: as `replace_trigger`.
    """
    workflow = await lock_owner(session, trigger_id)
    await _set(session, workflow, [body_of(one) for one in workflow.triggers if one.id != trigger_id])


async def _replace(session: AsyncSession, workflow: Workflow, trigger_id: UUID, body: TriggerBody) -> WrittenTrigger:
    if body.secret is not None:
        refuse_secret("secret")
    new = body.model_copy(update={"id": trigger_id})
    wanted = [new if one.id == trigger_id else body_of(one) for one in workflow.triggers]
    return _written(await _set(session, workflow, wanted), _find(workflow, trigger_id))


async def lock_owner(session: AsyncSession, trigger_id: UUID) -> Workflow:
    workflow_id = await session.scalar(select(Trigger.workflow_id).where(Trigger.id == trigger_id))
    workflow = await lock(session, workflow_id) if workflow_id else None
    if workflow is None or all(one.id != trigger_id for one in workflow.triggers):  # deleted while we waited
        raise NotFoundError(f"Trigger {trigger_id} does not exist.")
    return workflow


def _find(workflow: Workflow, trigger_id: UUID) -> Trigger:
    return next(one for one in workflow.triggers if one.id == trigger_id)


def _written(written: Written, trigger: Trigger) -> WrittenTrigger:
    return WrittenTrigger(trigger, written.workflow.is_active, written.secrets.get(trigger.id))


async def _set(session: AsyncSession, workflow: Workflow, wanted: Sequence[TriggerBody]) -> Written:
    written = await set_triggers(session, workflow, wanted)
    await tell(session, workflow.id)
    return written


def _step(body: StepBody, row: WorkflowStep | None) -> WorkflowStep:
    row = row or WorkflowStep(id=uuid4())
    for name in StepBody.model_fields:
        setattr(row, name, getattr(body, name))
    return row


def _check_config(kind: str, config: dict[str, Any], triggers: Sequence[Trigger | TriggerBody]) -> None:
    scheduled = any(one.trigger_type == "SCHEDULED" for one in triggers)
    check_workflow_config(config, definitions().get(kind), scheduled=scheduled)


def _identity(workflow: Workflow) -> tuple[str, ...]:
    """A workflow stays in its project and of its kind; a system workflow keeps its name and type as well."""
    return ("project_id", "kind", "name", "trigger_type") if is_system(workflow) else ("project_id", "kind")


def _check_identity(workflow: Workflow, draft: WorkflowDraft) -> None:
    for name in _identity(workflow):
        is_now, wanted = getattr(workflow, name), draft.identity.get(name)
        if wanted not in (None, is_now):
            raise ConflictError(f"{name}: that of workflow {workflow.id} is {is_now!r} and cannot be changed.")


async def _may_vanish(session: AsyncSession, workflow_id: UUID) -> bool:
    """Whether a workflow has no executions, and can get none any more: its row is locked against foreign keys then."""
    has_executions = select(exists().where(Execution.workflow_id == workflow_id))
    if await session.scalar(has_executions):
        return False
    await session.execute(select(Workflow.id).where(Workflow.id == workflow_id).with_for_update())
    return not await session.scalar(has_executions)  # one may have come before the lock


async def archive(session: AsyncSession, workflow: Workflow, settings: Settings) -> None:
    """Keep a locked workflow for its history alone: what waits of it is called off, what runs is left to end."""
    await switch_off(session, workflow)
    await call_off(session, Execution.workflow_id == workflow.id, "its workflow was deleted", settings)
    workflow.archived_at = utc_now()
    workflow.is_active = False
    for trigger in workflow.triggers:
        trigger.is_active = False
    await session.flush()
