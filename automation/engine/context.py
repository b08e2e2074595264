"""What the templates in a step's config see: the trigger, the project, the steps before, the execution. Pure."""

from collections.abc import Mapping
from typing import Any

from automation import conditions
from automation.catalog import step_type
from automation.engine.plan import Item, PlannedStep
from automation.errors import ValidationError
from automation.models import Json
from automation.steps import ProjectInfo, Result, StepContext
from automation.templates import render


def rendered(item: Item, step: PlannedStep) -> Json:
    """The config of a step, its templates replaced by what they stand for in this execution.

    Raises:
        ValidationError: a template names what is not there, or cannot be evaluated; the text says which.
    """
    own = step_type(step.step_type).unrendered
    try:
        config: Json = render({key: value for key, value in step.config.items() if key not in own}, context_of(item))
    except ValidationError as error:
        raise ValidationError(f"{step.step_type}: config is wrong: {error}") from None
    return config | {key: step.config[key] for key in own if key in step.config}


def context_of(item: Item) -> dict[str, Any]:
    """The names that a step of this execution can use."""
    return _names(
        item.trigger_type,
        item.event_type,
        item.trigger_data,
        item.project,
        item.done,
        execution={"id": str(item.execution_id), "attempt": item.attempt},
        workflow={"id": str(item.workflow_id), "name": item.workflow_name},
    )


def of_step(step: StepContext) -> dict[str, Any]:
    """The same names, for a step that renders part of its config itself."""
    return _names(
        step.trigger_type,
        step.event_type,
        step.trigger_data,
        step.project,
        step.results,
        execution={"id": str(step.execution_id), "attempt": step.attempt},
        workflow={"id": str(step.workflow_id), "name": step.workflow_name},
    )


def _names(
    trigger_type: str, event_type: str, data: Json, project: ProjectInfo, done: Mapping[str, Result], **more: Json
) -> dict[str, Any]:
    """Of an API_CALL, `trigger.data` has the keys of its input beside `project_id` and `input`. A step is found
    under its identifier and, since a name in a template has no dashes, also with underscores in place of them.
    """
    given = data.get("input")
    if trigger_type == "API_CALL" and isinstance(given, dict):
        data = {**given, **data}
    steps = {name: {"result": result} for name, result in done.items()}
    return {
        "trigger": {"type": trigger_type, "event_type": event_type, "data": data, "input": given},
        "project": {
            "id": project.id,
            "name": project.name,
            "owner_id": project.owner_id,
            "owner_email": project.owner_email,
        },
        "steps": {name.replace("-", "_"): step for name, step in steps.items()} | steps,
        **more,
    }


def is_wanted(item: Item, step: PlannedStep) -> bool:
    """Whether a step's conditions hold now that it is reached; one that is not wanted is skipped, with the reason."""
    verdict = conditions.holds(step.conditions, context_of(item))
    if not verdict.holds:
        item.skipped[step.identifier] = f"not wanted: {verdict.reason}"
    return verdict.holds
