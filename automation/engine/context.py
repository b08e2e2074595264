"""What the templates in a step's config see: the trigger, the project, the steps before, the execution. Pure."""

from typing import Any

from automation.engine.plan import Item, PlannedStep
from automation.errors import ValidationError
from automation.models import Json
from automation.templates import render


def rendered(item: Item, step: PlannedStep) -> Json:
    """The config of a step, its templates replaced by what they stand for in this execution.

    Raises:
        ValidationError: a template names what is not there, or cannot be evaluated; the text says which.
    """
    try:
        config: Json = render(step.config, context_of(item))
    except ValidationError as error:
        raise ValidationError(f"{step.step_type}: config is wrong: {error}") from None
    return config


def context_of(item: Item) -> dict[str, Any]:
    """The names that a step of this execution can use.

    Of an API_CALL, `trigger.data` has the keys of its input beside `project_id` and `input`. A step is found under
    its identifier and, since a name in a template has no dashes, also with underscores in place of them.
    """
    data, given = item.trigger_data, item.trigger_data.get("input")
    if item.trigger_type == "API_CALL" and isinstance(given, dict):
        data = {**given, **data}
    steps = {name: {"result": result} for name, result in item.done.items()}
    return {
        "trigger": {"type": item.trigger_type, "event_type": item.event_type, "data": data, "input": given},
        "project": {
            "id": item.project.id,
            "name": item.project.name,
            "owner_id": item.project.owner_id,
            "owner_email": item.project.owner_email,
        },
        "steps": {name.replace("-", "_"): step for name, step in steps.items()} | steps,
        "execution": {"id": str(item.execution_id), "attempt": item.attempt},
        "workflow": {"id": str(item.workflow_id), "name": item.workflow_name},
    }
