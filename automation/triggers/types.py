"""The trigger types, each with its typed config, and which events each hears.

A config is checked when it is saved; unknown keys are refused by name.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic import ValidationError as PydanticError

from automation.errors import RefusedError
from automation.models import Json
from automation.triggers.globs import check_glob
from automation.triggers.input_schema import check_schema
from automation.triggers.keys import check_key
from automation.triggers.slots import check_cron

DAY = 86_400
YEAR = 366 * DAY

Delay = Annotated[float, Field(gt=0, le=YEAR, allow_inf_nan=False)]
Path = Annotated[str, Field(min_length=1, max_length=1000)]
_TYPE = r"[A-Za-z0-9][A-Za-z0-9_.:-]"
EventPattern = Annotated[str, Field(pattern=rf"^({_TYPE}{{0,99}}|{_TYPE}{{0,97}}\.\*|\*)$")]
"""An event type, or `prefix.*`, or `*`."""


class Throttle(BaseModel):
    """At most `limit` firings in any `per_seconds`; what is more is dropped, or waits for its turn."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    limit: int = Field(ge=1, le=1000)
    per_seconds: float = Field(gt=0, le=30 * DAY, allow_inf_nan=False)
    excess: Literal["drop", "queue"] = "drop"


class TriggerConfig(BaseModel):
    """What every trigger may have beside its own."""

    # strict: what is stored is what was sent, so that "5" must not pass for 5
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    key: Path | None = None
    """What `debounce_seconds`, `throttle` and `concurrency` count by: a field path of the event
    (`data.page.id`), `project`, `page` or `user`, or a `{{ … }}` template. Without one there is one count."""
    debounce_seconds: Delay | None = None
    """Fire when no further event of the key came for so long, with the last one."""
    max_wait_seconds: Delay | None = None
    """…but never later than this after the first."""
    throttle: Throttle | None = None
    dedupe_key: Path | None = None
    """Fire once for each value, as long as events are kept: a field path or a template, like `key`."""
    concurrency: Literal["queue", "drop", "replace"] | None = None
    """While an execution of the key is open, a further one waits (as without this, when there is a `key`), is
    dropped, or takes its place."""

    @model_validator(mode="after")
    def _fits(self) -> "TriggerConfig":
        if self.max_wait_seconds is not None and self.debounce_seconds is None:
            raise ValueError("max_wait_seconds needs debounce_seconds")
        if self.max_wait_seconds and self.debounce_seconds and self.max_wait_seconds < self.debounce_seconds:
            raise ValueError("max_wait_seconds is shorter than debounce_seconds")
        for name in ("key", "dedupe_key"):
            if (spec := getattr(self, name)) is not None:
                check_key(spec, name)
        return self


class ScheduledConfig(TriggerConfig):
    """Runs at the times of a cron expression."""

    cron: str = Field(min_length=1, max_length=200)
    timezone: str = Field("UTC", max_length=100)
    catch_up: Literal["skip", "latest", "all"] = "skip"
    """Of slots that were missed: skip those that are later than their grace, run the latest, or run each."""
    grace_seconds: float = Field(300, ge=0, le=YEAR, allow_inf_nan=False)

    @model_validator(mode="after")
    def _has_slots(self) -> "ScheduledConfig":
        check_cron(self.cron, self.timezone, "cron")
        return self


class DelayedConfig(TriggerConfig):
    """Runs so long after its event, unless `cancel_on` comes with the same key before."""

    delay_seconds: Delay
    cancel_on: EventPattern | None = None


class TimeoutConfig(TriggerConfig):
    """Runs when no matching event came for so long; the first event starts the clock, each further restarts it."""

    after_seconds: Delay
    key: Path | None = "project"

    @model_validator(mode="after")
    def _waits_once(self) -> "TimeoutConfig":
        if self.debounce_seconds is not None:
            raise ValueError("a silence is a debounce already; leave debounce_seconds out")
        return self


class WebhookConfig(TriggerConfig):
    """Runs on a signed request to `webhooks/{trigger_id}/`."""

    scheme: Literal["standard", "github", "stripe"] = "standard"


class ApiCallConfig(TriggerConfig):
    """Runs on `workflows/{id}/execute/`, with an input that suits the schema."""

    input_schema: Json | None = None

    @model_validator(mode="after")
    def _answers(self) -> "ApiCallConfig":
        if self.debounce_seconds is not None:
            raise ValueError("an API call is answered with its execution, so it cannot be debounced")
        if self.input_schema is not None:
            check_schema(self.input_schema, "input_schema")
        return self


def _as_tuple(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


class FileChangeConfig(TriggerConfig):
    """Runs when files below a folder change; a burst of changes is one run."""

    root: Path
    glob: Path = "**/*"
    on: Annotated[tuple[Literal["created", "modified", "deleted"], ...], BeforeValidator(_as_tuple)] = Field(
        ("created", "modified", "deleted"), min_length=1, max_length=3
    )
    settle_seconds: float = Field(1, ge=0.05, le=3600, allow_inf_nan=False)

    @model_validator(mode="after")
    def _has_a_glob(self) -> "FileChangeConfig":
        check_glob(self.glob, "glob")
        return self


# Studio's triggers, and the types of the events that each is for.
STUDIO: dict[str, tuple[str, ...]] = {
    "ON_PROJECT_CREATE": ("project.created",),
    "ON_PROJECT_UPDATE": ("project.updated",),
    "ON_PAGE_CREATE": ("page.created",),
    "ON_PAGE_UPDATE": ("page.updated",),
    "ON_PAGE_CHANGE": ("page.created", "page.updated"),
    "ON_COMPONENT_ADD": ("component.added",),
    "ON_PUBLISH": ("project.published",),
}
BY_PATTERN = ("EVENT", "DELAYED", "TIMEOUT")
"""Types whose `event_type` is a pattern: any event type, `prefix.*`, or `*`."""

CONFIGS: dict[str, type[TriggerConfig]] = {
    **dict.fromkeys(STUDIO, TriggerConfig),
    "EVENT": TriggerConfig,
    "SCHEDULED": ScheduledConfig,
    "DELAYED": DelayedConfig,
    "TIMEOUT": TimeoutConfig,
    "WEBHOOK": WebhookConfig,
    "API_CALL": ApiCallConfig,
    "FILE_CHANGE": FileChangeConfig,
}


def parse_config(trigger_type: str, config: Mapping[str, Any]) -> TriggerConfig:
    """A trigger's config as its type's model.

    Raises:
        RefusedError: an unknown type or key, or a wrong value; `field` is `trigger_type`, or begins with `config`.
    """
    model = CONFIGS.get(trigger_type)
    if model is None:
        raise RefusedError(f"trigger_type: {trigger_type!r} is not one of {', '.join(CONFIGS)}", "trigger_type")
    try:
        return model.model_validate(config)
    except RefusedError as error:
        raise RefusedError(f"config.{error}", f"config.{error.field}") from None
    except PydanticError as error:
        first = error.errors()[0]
        field = ".".join(("config", *map(str, first["loc"])))
        if first["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields)
            raise RefusedError(f"{field}: not known to {trigger_type}; known are {known}", field) from None
        raise RefusedError(f"{field}: {first['msg'].removeprefix('Value error, ')}", field) from None


def check_event_type(trigger_type: str, event_type: str) -> None:
    """Whether a trigger of that type can ever hear events of that type.

    Raises:
        RefusedError: it cannot, or it has to name one and does not; `field` is `event_type`.
    """
    if trigger_type in STUDIO:
        if event_type not in ("", *STUDIO[trigger_type]):
            known = " or ".join(STUDIO[trigger_type])
            raise RefusedError(f"event_type: {trigger_type} hears {known}, not {event_type!r}", "event_type")
        return
    if trigger_type not in BY_PATTERN:
        if event_type:
            raise RefusedError(f"event_type: {trigger_type} hears no events; leave it empty", "event_type")
        return
    if not event_type:
        if trigger_type != "TIMEOUT":  # a silence may be one of everything
            raise RefusedError(f"event_type: {trigger_type} needs one, such as order.paid or order.*", "event_type")
        return
    try:
        _PatternModel(event_type=event_type)
    except PydanticError:
        raise RefusedError(
            f"event_type: {event_type!r} is neither an event type nor `prefix.*`", "event_type"
        ) from None


def hears(trigger_type: str, event_type: str, of: str) -> bool:
    """Whether a trigger of that type and `event_type` hears events of type `of`."""
    return (trigger_type, event_type) in heard_as(of)


class _PatternModel(BaseModel):
    event_type: EventPattern


@lru_cache(maxsize=4096)
def heard_as(event_type: str) -> tuple[tuple[str, str], ...]:
    """Every (trigger_type, event_type) under which a trigger that this event concerns can stand in the table."""
    names = patterns(event_type)
    studio = [(type_, name) for type_, events in STUDIO.items() if event_type in events for name in ("", event_type)]
    return (
        *studio,
        *((type_, name) for type_ in BY_PATTERN for name in names),
        ("TIMEOUT", ""),
    )


@lru_cache(maxsize=4096)
def patterns(event_type: str) -> tuple[str, ...]:
    """`a.b.c` → `a.b.c`, `a.b.*`, `a.*`, `*`."""
    parts = event_type.split(".")
    prefixes = (".".join(parts[:count]) + ".*" for count in range(len(parts) - 1, 0, -1))
    return (event_type, *prefixes, "*")
