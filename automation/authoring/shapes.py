"""What people may send for a workflow, its steps and its triggers, and how what they left out is filled in.

Pure. A body is parsed into one of the models below; unknown keys are refused by name. Keys that only answers have
(`id`, `created_at`, …) are ignored, so that an answer can be changed and sent back.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic import ValidationError as PydanticError

from automation.catalog import slug
from automation.errors import RefusedError
from automation.models import Json
from automation.triggers.types import CONFIGS

MAX_STEPS = 100
MAX_TRIGGERS = 50

Name = Annotated[str, Field(min_length=1, max_length=200)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]
Id = Annotated[UUID, Field(strict=False)]


def _read_only(schema: Json, model: type["Body"]) -> None:
    schema["properties"] |= {key: {"readOnly": True} for key in sorted(model.answered)}


class Body(BaseModel):
    """A part of a request. `answered` are the keys that its answer has and that a request cannot set."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra=_read_only)

    answered: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _without_answered(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        return {key: value for key, value in raw.items() if key not in cls.answered}


class StepBody(Body):
    """A step of a workflow. Without `order` it is the position, without `identifier` its type's name."""

    answered = frozenset({"id", "workflow_id"})

    identifier: Identifier = ""
    step_type: str = Field(min_length=1, max_length=50)
    order: int = Field(0, ge=0, le=1_000_000)
    depends_on: list[str] = Field(default_factory=list, max_length=MAX_STEPS)
    config: Json = Field(default_factory=dict)
    conditions: Json = Field(default_factory=dict)
    is_required: bool = True


class StepPatch(StepBody):
    """What is to change of a step; what is left out stays."""

    step_type: str = Field("", min_length=1, max_length=50)


class TriggerBody(Body):
    """A trigger of a workflow. One that is there already keeps its place by its `id`."""

    answered = frozenset(
        {"workflow_id", "project_id", "created_at", "updated_at", "last_triggered", "last_slot", "next_slot", "url"}
    )

    id: Id | None = None
    trigger_type: str = Field(json_schema_extra={"enum": list(CONFIGS)})
    event_type: str = Field("", max_length=100)
    conditions: Json = Field(default_factory=dict)
    is_active: bool = True
    config: Json = Field(default_factory=dict)
    secret: str | None = Field(None, min_length=1, max_length=500)
    """Of a WEBHOOK trigger that is new: what its sender signs with; one is made when it is left out."""


class NewTriggerBody(TriggerBody):
    """A trigger for a workflow that is there."""

    answered = TriggerBody.answered - {"workflow_id"} | {"id"}

    workflow_id: Id


class TriggerPatch(TriggerBody):
    """What is to change of a trigger; what is left out stays."""

    answered = TriggerBody.answered | {"id"}

    trigger_type: str = Field("", json_schema_extra={"enum": list(CONFIGS)})


class WorkflowPart(Body):
    """What both a whole workflow and a change of one may have."""

    answered = frozenset({"id", "version", "created_at", "updated_at", "archived_at"})

    description: str = Field("", max_length=10_000)
    project_id: str | None = None
    kind: str | None = None
    """Follows from who made the workflow: it may be sent back, not changed."""
    trigger_type: str | None = Field(None, json_schema_extra={"enum": [*CONFIGS, None]})
    is_active: bool = True
    config: Json = Field(default_factory=dict)
    steps: list[StepBody] = Field(default_factory=list, max_length=MAX_STEPS)
    triggers: list[TriggerBody] | None = Field(None, max_length=MAX_TRIGGERS)


class WorkflowBody(WorkflowPart):
    """A whole workflow. A `schedule` (cron, in `timezone`) becomes a SCHEDULED trigger."""

    name: Name
    schedule: str | None = None
    timezone: str | None = None


class WorkflowPatch(WorkflowPart):
    """What is to change of a workflow; what is left out stays. Lists of steps and triggers are given whole."""

    name: Name = ""


B = TypeVar("B", bound=Body)


def parse(model: type[B], raw: object) -> B:
    """A body as its model.

    Raises:
        RefusedError: a key is unknown or missing, or a value has the wrong type; `field` is its dotted path.
    """
    if not isinstance(raw, dict):
        raise RefusedError(f"body: expected an object, got {type(raw).__name__}")
    try:
        return model.model_validate(raw)
    except PydanticError as error:
        faults = error.errors()
    if unknown := [_path(fault) for fault in faults if fault["type"] == "extra_forbidden"]:
        raise RefusedError(f"{', '.join(unknown)}: not known here{_known(model, unknown[0])}", unknown[0])
    field = _path(faults[0])
    raise RefusedError(f"{field}: {faults[0]['msg']}", field)


def _path(fault: Mapping[str, Any]) -> str:
    return ".".join(map(str, fault["loc"]))


def _known(model: type[Body], field: str) -> str:
    parts: dict[str, type[Body]] = {"steps": StepBody, "triggers": TriggerBody}
    owner = parts.get(field.split(".")[0], model)
    return f"; known are {', '.join(owner.model_fields)}"


def filled_steps(steps: Sequence[StepBody]) -> list[StepBody]:
    """The steps, each with an order and with an identifier that no other has."""
    taken = {step.identifier for step in steps}
    filled = []
    for position, step in enumerate(steps, start=1):
        identifier = step.identifier or _free(slug(step.step_type), taken)
        taken.add(identifier)
        order = step.order if "order" in step.model_fields_set else position
        filled.append(step.model_copy(update={"identifier": identifier, "order": order}))
    return filled


def _free(name: str, taken: set[str]) -> str:
    """`name`, or the first of `name-2`, `name-3`, … that is not taken."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


def filled_triggers(body: WorkflowBody) -> list[TriggerBody]:
    """The triggers: those given, the one of a `schedule`, and when none are given one of the workflow's type.

    Raises:
        RefusedError: a timezone without a schedule.
    """
    if body.timezone is not None and body.schedule is None:
        raise RefusedError("timezone: goes with a schedule; a SCHEDULED trigger has its own in its config", "timezone")
    triggers = list(body.triggers or ())
    if body.schedule is not None:
        config = {"cron": body.schedule} | ({"timezone": body.timezone} if body.timezone is not None else {})
        triggers.append(TriggerBody(trigger_type="SCHEDULED", config=config))
    if body.triggers is None:
        type_ = body.trigger_type or ("SCHEDULED" if triggers else "API_CALL")
        if not triggers or type_ != "SCHEDULED":
            triggers.append(TriggerBody(trigger_type=type_))
    return triggers
