"""How workflows, their steps and their triggers are shown."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from automation.models import Trigger, Workflow, WorkflowVersion, utc_now
from automation.redaction import RedactedJson
from automation.triggers.slots import next_slot

_WEBHOOKS = "/api/automation/webhooks"


class WorkflowOut(BaseModel):
    """A workflow in short."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    description: str
    project_id: str | None
    kind: str
    trigger_type: str
    is_active: bool
    config: RedactedJson
    version: int = Field(description="Rises with every change of its name, config or steps; some numbers are left out.")
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None = Field(description="When it was deleted, if it is kept for its history.")


class StepOut(BaseModel):
    """A step of a workflow."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    identifier: str
    step_type: str
    order: int
    depends_on: list[str]
    config: RedactedJson
    conditions: dict[str, Any]
    is_required: bool


class StepDetailOut(StepOut):
    """A step, and the workflow that it is one of."""

    workflow_id: UUID


class VersionOut(BaseModel):
    """A workflow as it was in one of its versions."""

    version: int
    created_at: datetime = Field(description="When it was stored: with the change, or when something first read it.")
    step_count: int
    definition: RedactedJson = Field(description="`name`, `config` and `steps`, as executions of it find them.")


class TriggerOut(BaseModel):
    """When a workflow runs. What is of one type only is left out of the others."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    workflow_id: UUID
    project_id: str | None
    trigger_type: str
    event_type: str
    conditions: dict[str, Any]
    config: dict[str, Any]
    is_active: bool
    created_at: datetime
    updated_at: datetime
    last_triggered: datetime | None
    last_slot: datetime | None = Field(None, description="SCHEDULED: up to here every slot was run or skipped.")
    next_slot: datetime | None = Field(None, description="SCHEDULED: the next slot; null while it is switched off.")
    url: str = Field("", description="WEBHOOK: the path that its sender posts to.")
    secret: str = Field("", description="WEBHOOK: what its sender signs with; only when it was just made.")


class WorkflowDetailOut(WorkflowOut):
    """A workflow with its steps, in their order, and its triggers."""

    steps: list[StepOut]
    triggers: list[TriggerOut]


def workflow_out(workflow: Workflow, secrets: Mapping[UUID, str] | None = None) -> WorkflowDetailOut:
    """A workflow with its steps and triggers.

    Args:
        secrets: those that were just made, by trigger.
    """
    own = WorkflowOut.model_validate(workflow).model_dump()
    steps = [StepOut.model_validate(one) for one in workflow.steps]
    triggers = [trigger_out(one, workflow.is_active, (secrets or {}).get(one.id)) for one in workflow.triggers]
    return WorkflowDetailOut(**own, steps=steps, triggers=triggers)


def version_out(version: WorkflowVersion) -> VersionOut:
    """A version, with its steps counted."""
    return VersionOut(
        version=version.version,
        created_at=version.created_at,
        step_count=len(version.definition["steps"]),
        definition=version.definition,
    )


def trigger_out(trigger: Trigger, workflow_is_active: bool, secret: str | None = None) -> TriggerOut:
    """A trigger; to be answered without what is not set.

    Args:
        secret: the one that was just made for it.
    """
    shown: dict[str, Any] = {
        name: getattr(trigger, name) for name, field in TriggerOut.model_fields.items() if field.is_required()
    }
    if trigger.trigger_type == "SCHEDULED":
        shown |= {"last_slot": trigger.last_slot, "next_slot": None}
        if workflow_is_active and trigger.is_active:
            shown["next_slot"] = next_slot(trigger.config["cron"], trigger.config.get("timezone", "UTC"), utc_now())
    if trigger.trigger_type == "WEBHOOK":
        shown["url"] = f"{_WEBHOOKS}/{trigger.id}/"
    if secret is not None:
        shown["secret"] = secret
    return TriggerOut(**shown)
