"""What workflows can be made of: the step types and the trigger types, with the JSON Schema of each one's config."""

import inspect
from functools import lru_cache
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from automation import conditions
from automation.api.auth import Reader
from automation.api.bodies import schema_of
from automation.api.pagination import Listing
from automation.api.problems import keyed
from automation.catalog import ALIASES, step_types
from automation.steps import StepType
from automation.triggers.types import BY_PATTERN, CONFIGS, STUDIO, TriggerConfig

router = APIRouter(tags=["types"])

_SCHEMA = Field(alias="schema", description="JSON Schema of `config`, its parts written out.")
_CONDITIONS = Field(description="JSON Schema of `conditions`.")


class StepTypeOut(BaseModel):
    """A step type. Its config also takes `timeout_seconds` and `retry`, and templates in place of values."""

    name: str
    aliases: list[str] = Field(description="Other names that workflows may use for it.")
    description: str
    config_schema: dict[str, Any] = _SCHEMA
    conditions_schema: dict[str, Any] = _CONDITIONS
    waits: bool = Field(description="It may have to wait: for a time, an event, a person or another workflow.")
    has_rollback: bool = Field(description="What it did is undone when a later step fails for good.")


class TriggerTypeOut(BaseModel):
    """A trigger type. `event_types` are those that it hears; `takes_event_type` says that `event_type` is a pattern."""

    name: str
    description: str
    config_schema: dict[str, Any] = _SCHEMA
    conditions_schema: dict[str, Any] = _CONDITIONS
    event_types: list[str]
    takes_event_type: bool


@router.get("/step-types/", responses=keyed())
async def get_step_types(caller: Reader) -> Listing[StepTypeOut]:
    """All step types that are installed, by name."""
    return Listing(results=_step_types(), next=None, previous=None)


@router.get("/trigger-types/", responses=keyed())
async def get_trigger_types(caller: Reader) -> Listing[TriggerTypeOut]:
    """All trigger types: those of Studio's events first."""
    return Listing(results=_trigger_types(), next=None, previous=None)


@lru_cache
def _step_types() -> list[StepTypeOut]:
    return [_step_type(one) for _, one in sorted(step_types().items())]


def _step_type(one: StepType) -> StepTypeOut:
    names = {name for pair in ALIASES.items() if one.name in pair for name in pair}
    return StepTypeOut(
        name=one.name,
        aliases=sorted(names - {one.name}),
        description=_first_line(one.function),
        schema=schema_of(one.config_model),
        conditions_schema=conditions.SCHEMA,
        waits=one.waits,
        has_rollback=one.rollback is not None,
    )


@lru_cache
def _trigger_types() -> list[TriggerTypeOut]:
    return [_trigger_type(name, model) for name, model in CONFIGS.items()]


def _trigger_type(name: str, model: type[TriggerConfig]) -> TriggerTypeOut:
    heard = list(STUDIO.get(name, ()))
    said = f"Runs on {' or '.join(heard)}." if heard else _first_line(model)
    if name == "EVENT":
        said = "Runs on every event whose type suits `event_type`."
    return TriggerTypeOut(
        name=name,
        description=said,
        schema=schema_of(model),
        conditions_schema=conditions.SCHEMA,
        event_types=heard,
        takes_event_type=name in BY_PATTERN,
    )


def _first_line(documented: object) -> str:
    """The first sentence or paragraph of a docstring, in one line."""
    paragraph = inspect.cleandoc(documented.__doc__ or "").split("\n\n")[0]
    return " ".join(paragraph.split())
