"""The triggers of a workflow, as rows: what they remember begins and ends with what they are told to do.

Every change of a workflow or of one of its triggers begins with the workflow's row (`lock`), so two of them take turns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from automation.authoring.shapes import MAX_TRIGGERS, TriggerBody
from automation.catalog import WorkflowDefinition, definitions
from automation.errors import ConflictError, RefusedError
from automation.intake import timers
from automation.models import Trigger, WebhookSecret, Workflow, utc_now
from automation.models.channels import SCHEDULES_CHANNEL, TRIGGERS_CHANNEL
from automation.models.trigger_queries import add_secret
from automation.models.workflow_queries import lock_workflow
from automation.triggers.signatures import make_secret

CUSTOM = "custom-workflow"
"""The kind of the workflows that people define; all others are the system's."""

_VALUES = ("trigger_type", "event_type", "conditions", "is_active", "config")

Pair = tuple[Trigger | None, TriggerBody]
"""A trigger as it is (None: it is new) and as it is to be."""


@dataclass(slots=True)
class Written:
    """A workflow as it stands now, and the secrets that were made for its webhooks, by trigger: shown once."""

    workflow: Workflow
    secrets: dict[UUID, str] = field(default_factory=dict)


async def lock(session: AsyncSession, workflow_id: UUID) -> Workflow:
    """A workflow with its steps and triggers, for this transaction alone to change.

    Raises:
        NotFoundError: there is no such workflow.
        ConflictError: it is archived.
    """
    workflow = await lock_workflow(session, workflow_id)
    if workflow.archived_at is not None:
        raise ConflictError(f"Workflow {workflow_id} ({workflow.name}) was deleted; only its history is left.")
    return workflow


def body_of(trigger: Trigger) -> TriggerBody:
    """A trigger as it is, in the shape in which it is sent."""
    return TriggerBody.model_construct(id=trigger.id, **{name: getattr(trigger, name) for name in _VALUES})


async def set_triggers(session: AsyncSession, workflow: Workflow, wanted: Sequence[TriggerBody]) -> Written:
    """Give a locked workflow these triggers and no others.

    One with the id of a trigger that is there changes it, as does one without an id that is equal to it in type,
    event type, conditions and config. What waits at a trigger that is switched off, or becomes another, is
    called off.

    Raises:
        RefusedError: an id that is none of the workflow's, or too many triggers.
        ConflictError: it would take from a system workflow what makes it that.
    """
    if len(wanted) > MAX_TRIGGERS:
        raise RefusedError(f"triggers: {len(wanted)} are too many; a workflow has at most {MAX_TRIGGERS}", "triggers")
    pairs = _pairs(workflow, wanted)
    _check_identity(workflow, pairs)
    # what waits is ended before any trigger's row is touched: the intake takes them in this order too
    ended = [old.id for old, new in pairs if old and _ends(old, new)]
    if ended:
        await timers.cancel_all(session, ended, "its trigger was switched off")
    if unsigned := [old.id for old, new in pairs if old and _scheme(old) not in (None, _scheme(new))]:
        await session.execute(delete(WebhookSecret).where(WebhookSecret.trigger_id.in_(unsigned)))
    unsigned_yet = [_scheme(new) not in (None, old and _scheme(old)) for old, new in pairs]
    now = utc_now()
    workflow.triggers = [_put(workflow, old, new, now, place) for place, (old, new) in enumerate(pairs)]
    workflow.updated_at = now
    await session.flush()
    written = Written(workflow)
    for trigger, (_, new), needs_one in zip(workflow.triggers, pairs, unsigned_yet, strict=True):
        if needs_one:
            secret = new.secret or make_secret(_scheme(new))
            await add_secret(session, trigger.id, secret, timedelta(0))
            written.secrets[trigger.id] = secret
    return written


async def switch_off(session: AsyncSession, workflow: Workflow) -> None:
    """Call off what waits at the triggers of a workflow that does not run any more."""
    await timers.cancel_all(session, [one.id for one in workflow.triggers], "its workflow was switched off")


def start_slots(workflow: Workflow, now: datetime) -> None:
    """Schedules of a workflow that runs again begin now: nothing was missed while it was switched off."""
    for trigger in workflow.triggers:
        if trigger.trigger_type == "SCHEDULED":
            trigger.last_slot = now


async def tell(session: AsyncSession, workflow_id: UUID) -> None:
    """Have those who keep schedules and watch files look at a workflow again, once this is committed."""
    for channel in (SCHEDULES_CHANNEL, TRIGGERS_CHANNEL):
        await session.execute(select(func.pg_notify(channel, str(workflow_id))))


def refuse_secret(field: str) -> None:
    """A secret is given when its trigger is made; later it is rotated, so that its sender has time to change.

    Raises:
        RefusedError: always.
    """
    raise RefusedError(f"{field}: can be given when a trigger is made; rotate it at triggers/<id>/secret/", field)


def is_system(workflow: Workflow) -> bool:
    """Whether a workflow is one of ours, which people may adapt but not turn into something else."""
    return workflow.kind != CUSTOM


def _pairs(workflow: Workflow, wanted: Sequence[TriggerBody]) -> list[Pair]:
    there = {trigger.id: trigger for trigger in workflow.triggers}
    named = {new.id for new in wanted}
    free = [trigger for trigger in workflow.triggers if trigger.id not in named]
    pairs: list[Pair] = []
    for index, new in enumerate(wanted):
        old = there.get(new.id) if new.id else next((one for one in free if _same(one, new)), None)
        if new.id and old is None:
            field = f"triggers.{index}.id"
            raise RefusedError(f"{field}: {new.id} is no trigger of this workflow; leave it out for a new one", field)
        if old in free:
            free.remove(old)
        if old and new.secret is not None:
            refuse_secret(f"triggers.{index}.secret")
        pairs.append((old, new))
    return pairs


def _same(old: Trigger, new: TriggerBody) -> bool:
    names = ("trigger_type", "event_type", "conditions", "config")
    return new.secret is None and all(getattr(old, name) == getattr(new, name) for name in names)


def _put(workflow: Workflow, old: Trigger | None, new: TriggerBody, now: datetime, place: int) -> Trigger:
    begins = new.trigger_type == "SCHEDULED" and (old is None or _slots(old) != _slots(new) or _is_resumed(old, new))
    # each a microsecond later than the one before it: they are listed in the order in which they were given
    trigger = old or Trigger(
        id=uuid4(),
        workflow_id=workflow.id,
        project_id=workflow.project_id,
        created_at=now + timedelta(microseconds=place),
    )
    for name in _VALUES:
        setattr(trigger, name, getattr(new, name))
    if begins:
        trigger.last_slot = now
    return trigger


def _slots(trigger: Trigger | TriggerBody) -> tuple[Any, ...]:
    """What decides when a schedule is due."""
    return trigger.trigger_type, trigger.config.get("cron"), trigger.config.get("timezone", "UTC")


def _is_resumed(old: Trigger, new: TriggerBody) -> bool:
    return new.is_active and not old.is_active


def _ends(old: Trigger, new: TriggerBody) -> bool:
    return old.trigger_type != new.trigger_type or (old.is_active and not new.is_active)


def _scheme(trigger: Trigger | TriggerBody) -> Any:
    """How a WEBHOOK's sender signs; None of any other."""
    return trigger.config.get("scheme", "standard") if trigger.trigger_type == "WEBHOOK" else None


def _check_identity(workflow: Workflow, pairs: Sequence[Pair]) -> None:
    """A system workflow keeps the triggers that it is made with, and the platform's schedules are not ours."""
    definition = definitions().get(workflow.kind)
    if definition is None or not is_system(workflow):
        return
    before = {(one.trigger_type, one.event_type) for one in workflow.triggers}
    after = {(new.trigger_type, new.event_type) for _, new in pairs}
    if lost := sorted((before & _own(definition)) - after):
        type_, event_type = lost[0]
        name = f"{type_} ({event_type})" if event_type else type_
        raise ConflictError(f"{name} belongs to workflows of kind {workflow.kind}; switch it off by is_active instead.")
    if definition.scope != "platform":
        return
    before_slots = {one.id: _values(one) for one in workflow.triggers if one.trigger_type == "SCHEDULED"}
    after_slots = {old and old.id: _values(new) for old, new in pairs if new.trigger_type == "SCHEDULED"}
    if before_slots != after_slots:
        raise ConflictError(f"The schedule of {workflow.kind} stands in prefect.yaml; change it there and deploy.")


def _values(trigger: Trigger | TriggerBody) -> tuple[Any, ...]:
    return tuple(getattr(trigger, name) for name in _VALUES)


def _own(definition: WorkflowDefinition) -> set[tuple[str, str]]:
    return {(definition.trigger_type, ""), *(("EVENT", one) for one in definition.also_on)}
