"""From a request's body to a draft: parsed, filled in and checked, ready to be written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from automation.authoring import checks
from automation.authoring.shapes import (
    NewTriggerBody,
    StepBody,
    TriggerBody,
    TriggerPatch,
    WorkflowBody,
    WorkflowPart,
    WorkflowPatch,
    filled_steps,
    filled_triggers,
    parse,
)
from automation.models import Json
from automation.settings import Settings

_COLUMNS = ("name", "description", "is_active", "config")
_IDENTITY = ("project_id", "kind", "name", "trigger_type")


@dataclass(frozen=True, slots=True)
class WorkflowDraft:
    """A workflow as somebody wants it.

    Attributes:
        columns: what its row is to hold.
        identity: what the request says of the things that not every workflow may change.
        steps, triggers: as they are to be; None: they stay.
        names_triggers: the request says something of triggers; else `triggers` are those that follow from the rest.
    """

    columns: Mapping[str, Any]
    identity: Mapping[str, Any]
    steps: Sequence[StepBody] | None
    triggers: Sequence[TriggerBody] | None
    names_triggers: bool


def parse_workflow(raw: object, settings: Settings) -> WorkflowDraft:
    """A whole workflow, to be created or put in place of another.

    Raises:
        RefusedError: it breaks a rule; `field` is the dotted path to what is wrong.
    """
    body = parse(WorkflowBody, raw)
    steps, triggers = filled_steps(body.steps), filled_triggers(body)
    _check(body, raw, steps, triggers, settings)
    type_ = body.trigger_type or (triggers[0].trigger_type if triggers else "API_CALL")
    columns = {name: getattr(body, name) for name in _COLUMNS} | {"trigger_type": type_}
    named = body.triggers is not None or body.schedule is not None
    return WorkflowDraft(columns, _identity(body), steps, triggers, named)


def parse_workflow_patch(raw: object, settings: Settings) -> WorkflowDraft:
    """What is to change of a workflow.

    Raises:
        RefusedError: as `parse_workflow`.
    """
    body = parse(WorkflowPatch, raw)
    given = body.model_fields_set
    steps = filled_steps(body.steps) if "steps" in given else None
    triggers = body.triggers if "triggers" in given else None
    _check(body, raw, steps or (), triggers or (), settings)
    columns = {name: getattr(body, name) for name in (*_COLUMNS, "trigger_type") if name in given}
    if columns.get("trigger_type", "") is None:
        del columns["trigger_type"]
    return WorkflowDraft(columns, _identity(body), steps, triggers, triggers is not None)


def parse_new_trigger(raw: object, settings: Settings) -> NewTriggerBody:
    """A trigger for the workflow that it names.

    Raises:
        RefusedError: it breaks a rule.
    """
    body = parse(NewTriggerBody, raw)
    _check_storable(raw)
    checks.check_trigger(body, settings)
    return body


def parse_trigger(raw: object, settings: Settings) -> TriggerBody:
    """A whole trigger, to be put in place of another.

    Raises:
        RefusedError: it breaks a rule.
    """
    body = parse(TriggerBody, raw)
    _check_storable(raw)
    checks.check_trigger(body, settings)
    return body


def parse_trigger_patch(raw: object) -> Mapping[str, Any]:
    """What is to change of a trigger. Whether the whole is right then, `check_trigger` says.

    Raises:
        RefusedError: its shape is wrong.
    """
    body = parse(TriggerPatch, raw)
    _check_storable(raw)
    return {name: getattr(body, name) for name in body.model_fields_set}


def _check(
    body: WorkflowPart, raw: object, steps: Sequence[StepBody], triggers: Sequence[TriggerBody], settings: Settings
) -> None:
    _check_storable(raw)
    checks.check_workflow(body, steps, triggers, settings)
    checks.check_triggers(body, triggers, settings)


def _check_storable(raw: object) -> None:
    assert isinstance(raw, dict)  # `parse` lets nothing else pass
    checks.check_storable(raw)


def _identity(body: WorkflowPart) -> Json:
    return {name: getattr(body, name) for name in _IDENTITY if name in body.model_fields_set}
