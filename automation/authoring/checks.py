"""What must hold before a workflow or a trigger is stored. No SQL; only a watched folder is looked up on the disk.

Every refusal names the place in the request, as `steps.2.config.quality` or `triggers.0.config.cron`.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson
from pydantic import ValidationError as PydanticError

from automation import conditions, templates
from automation.authoring.shapes import StepBody, TriggerBody, WorkflowBody, WorkflowPart
from automation.catalog import WorkflowDefinition, step_type
from automation.engine.each import repeatable
from automation.engine.options import TIMEOUT, split
from automation.engine.plan import PlannedStep, make_plan, predecessors
from automation.errors import RefusedError, ValidationError
from automation.intake.events import storable
from automation.models import Json
from automation.retries import parse_rules
from automation.runtime.names import plain_name
from automation.settings import Settings
from automation.steps import StepType
from automation.triggers.signatures import check_secret
from automation.triggers.types import CONFIGS, FileChangeConfig, WebhookConfig, check_event_type, parse_config
from automation.watch import check_root

MAX_CONFIG = 64 * 1024
"""Bytes of JSON that one `config` may have."""


def check_workflow(
    body: WorkflowPart, steps: Sequence[StepBody], triggers: Sequence[TriggerBody], settings: Settings
) -> None:
    """Refuse what no workflow may have, its triggers apart.

    Raises:
        RefusedError: with the place of what is wrong.
    """
    if body.trigger_type is not None:
        check_trigger_type(body.trigger_type)
    if body.project_id is not None:
        plain_name(body.project_id, "project_id")
    check_size(body.config, "config")
    parse_rules(body.config.get("retry", {}), "config.retry")
    check_steps(steps, settings)
    ids = [trigger.id for trigger in triggers if trigger.id]
    if len(ids) > len(set(ids)):
        raise RefusedError("triggers: the same id stands there twice", "triggers")


def check_storable(raw: Json) -> None:
    """Refuse what PostgreSQL cannot store, wherever it stands in a body."""
    for key, value in raw.items():
        if isinstance(value, str | list | dict):
            storable(value, key)


def check_size(config: Json, field: str) -> None:
    """Refuse a config that is too large."""
    if (size := len(orjson.dumps(config))) > MAX_CONFIG:
        raise RefusedError(f"{field}: has {size} bytes of JSON; at most {MAX_CONFIG} are kept", field)


# --- the workflow's own config --------------------------------------------------------------------------------


def check_workflow_config(config: Json, definition: WorkflowDefinition | None, *, scheduled: bool) -> None:
    """Check the keys of a workflow's config that mean something to the engine; all others are its owner's.

    Args:
        definition: that of its kind.
        scheduled: it has SCHEDULED triggers, so it has a deployment of its own in any case.
    """
    modes = definition.run_modes if definition else ("single",)
    if "run_mode" in config and config["run_mode"] not in modes:
        raise RefusedError(f"config.run_mode: {config['run_mode']!r} is not {' or '.join(modes)}", "config.run_mode")
    own = config.get("own_deployment", False)
    if not isinstance(own, bool):
        raise RefusedError("config.own_deployment: expected true or false", "config.own_deployment")
    limit = config.get("concurrency_limit")
    if limit is None:
        return
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= 10_000:
        raise RefusedError("config.concurrency_limit: expected a whole number from 1 on", "config.concurrency_limit")
    if not own and not scheduled:
        raise RefusedError(
            "config.concurrency_limit: is that of a deployment of its own; set own_deployment to true",
            "config.concurrency_limit",
        )


# --- steps ----------------------------------------------------------------------------------------------------


def check_steps(steps: Sequence[StepBody], settings: Settings) -> None:
    """Refuse steps that could not run: each for itself, and all of them together."""
    seen: set[str] = set()
    for index, step in enumerate(steps):
        if step.identifier in seen:
            field = f"steps.{index}.identifier"
            raise RefusedError(f"{field}: {step.identifier!r} is that of another step too", field)
        seen.add(step.identifier)
    for index, step in enumerate(steps):
        check_step(step, f"steps.{index}", settings)
        for place, name in enumerate(step.depends_on):
            if name not in seen or name == step.identifier:
                field = f"steps.{index}.depends_on.{place}"
                wrong = "the step itself" if name == step.identifier else "no step of this workflow"
                raise RefusedError(f"{field}: {name!r} is {wrong}", field)
    orders = {step.identifier: step.order for step in steps}
    try:
        make_plan([_planned(step, orders) for step in steps])
    except ValidationError as error:
        raise RefusedError(f"steps: {error}", "steps") from None


def check_step(step: StepBody, prefix: str, settings: Settings) -> None:
    """Refuse a step whose type is unknown, or whose config or conditions are wrong."""
    kind = _known_type(step.step_type, prefix)
    check_size(step.config, f"{prefix}.config")
    templates.check(step.config, f"{prefix}.config")
    conditions.check(step.conditions, field=f"{prefix}.conditions", changed=False)
    options, config = split(step.config, f"{prefix}.config")
    limit = settings.step_soft_time_limit
    if options.timeout_seconds is not None and options.timeout_seconds > limit:
        field = f"{prefix}.config.{TIMEOUT}"
        raise RefusedError(f"{field}: at most {limit:g} (AUTOMATION_STEP_SOFT_TIME_LIMIT)", field)
    _check_config(kind, config, f"{prefix}.config")
    if kind.name == "FOR_EACH":
        _check_repeated(config["step"], f"{prefix}.config.step")


def _check_repeated(inner: Json, prefix: str) -> None:
    """Refuse what FOR_EACH cannot do for each item."""
    kind = _known_type(inner["step_type"], prefix)
    try:
        repeatable(kind)
    except ValidationError as error:
        raise RefusedError(f"{prefix}.step_type: {error}", f"{prefix}.step_type") from None
    _check_config(kind, inner.get("config", {}), f"{prefix}.config")


def check_not_itself(steps: Sequence[StepBody], workflow_id: UUID) -> None:
    """Refuse a RUN_WORKFLOW step of the workflow that it names; longer circles are seen when they run."""
    for index, step in enumerate(steps):
        if step.step_type == "RUN_WORKFLOW" and str(step.config["workflow_id"]).lower() == str(workflow_id):
            field = f"steps.{index}.config.workflow_id"
            raise RefusedError(f"{field}: is this workflow itself, which would never end", field)


def _known_type(name: str, prefix: str) -> StepType:
    try:
        return step_type(name)
    except ValidationError as error:
        raise RefusedError(f"{prefix}.step_type: {error}", f"{prefix}.step_type") from None


def _check_config(kind: StepType, config: Json, prefix: str) -> None:
    """Refuse what a step type's own model refuses, whatever the templates in it become."""
    model = kind.config_model
    try:
        model.model_validate(config)
    except RefusedError as error:
        field = f"{prefix}.{error.field}".rstrip(".")
        raise RefusedError(f"{prefix}: {error}", field) from None
    except PydanticError as error:
        if faults := [fault for fault in error.errors() if _is_certain(fault, kind)]:
            field = ".".join((prefix, *map(str, faults[0]["loc"])))
            keys = ", ".join(one.alias or name for name, one in model.model_fields.items())
            known = f"; {kind.name} knows {keys or 'no keys'}"
            hint = known if faults[0]["type"] == "extra_forbidden" else ""
            said = faults[0]["msg"].removeprefix("Value error, ")
            raise RefusedError(f"{field}: {said}{hint}", field) from None


def _is_certain(fault: Any, kind: StepType) -> bool:
    """Whether a fault is one whatever the templates in the value become."""
    if fault["type"] in ("extra_forbidden", "missing") or (fault["loc"][:1] and fault["loc"][0] in kind.unrendered):
        return True
    return not templates.has_templates(fault["input"])


def _planned(step: StepBody, orders: dict[str, int]) -> PlannedStep:
    return PlannedStep(
        id=UUID(int=0),  # it has none yet
        identifier=step.identifier,
        step_type=step.step_type,
        order=step.order,
        config=step.config,
        is_required=step.is_required,
        after=predecessors(step.identifier, step.order, step.depends_on, orders),
    )


# --- triggers -------------------------------------------------------------------------------------------------


def check_trigger_type(trigger_type: str) -> None:
    """Refuse a trigger type that is none."""
    if trigger_type not in CONFIGS:
        known = ", ".join(CONFIGS)
        raise RefusedError(f"trigger_type: {trigger_type!r} is not one of {known}", "trigger_type")


def check_triggers(body: WorkflowPart, triggers: Sequence[TriggerBody], settings: Settings) -> None:
    """Check the triggers of a workflow, as `filled_triggers` has made them from `body`."""
    for index, trigger in enumerate(triggers):
        try:
            check_trigger(trigger, settings)
        except RefusedError as error:
            raise _placed(error, body, index, trigger) from None


def check_trigger(trigger: TriggerBody, settings: Settings) -> None:
    """Refuse a trigger that could never fire, or not as it says.

    Raises:
        RefusedError: `field` begins at the trigger.
    """
    config = parse_config(trigger.trigger_type, trigger.config)
    check_event_type(trigger.trigger_type, trigger.event_type)
    check_size(trigger.config, "config")
    conditions.check(trigger.conditions, field="conditions", changed=True)
    if isinstance(config, FileChangeConfig):
        check_root(config.root, settings, "config.root")
    if trigger.secret is None:
        return
    if not isinstance(config, WebhookConfig):
        raise RefusedError(f"secret: {trigger.trigger_type} has none; only WEBHOOK has", "secret")
    check_secret(config.scheme, trigger.secret, "secret")


def _placed(error: RefusedError, body: WorkflowPart, index: int, trigger: TriggerBody) -> RefusedError:
    """The same error at the place where the request has what made this trigger."""
    given = len(body.triggers or ())
    if index < given:
        field = f"triggers.{index}.{error.field}"
        text = str(error)
        named = text.startswith(error.field)
        return RefusedError(f"triggers.{index}.{text}" if named else f"{field}: {text}", field)
    if index == given and isinstance(body, WorkflowBody) and body.schedule is not None:
        field = "timezone" if error.field.endswith("timezone") else "schedule"
        return RefusedError(f"{field}: {error}", field)
    type_ = trigger.trigger_type
    return RefusedError(f"triggers: {type_} needs more than its name ({error}); give it in `triggers`", "triggers")
