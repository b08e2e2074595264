"""The rules: data, from `alerts.yaml` beside this and from the file of AUTOMATION_ALERTS_FILE over it.

A rule of the same type may stand there twice, under two names and with two thresholds: a disk that is nearly full, and
one that is full.
"""

import re
from collections.abc import Mapping
from datetime import datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from automation.alerting.sightings import NOTICED
from automation.errors import SettingError

DEFAULTS = Path(__file__).with_name("alerts.yaml")

Severity = Literal["INFO", "WARNING", "CRITICAL"]
Channel = Literal["admins", "team"]
ChannelOfWorkflow = Literal["admins", "team", "owner"]

Seconds = Annotated[float, Field(ge=0, le=90 * 86_400, allow_inf_nan=False)]
Lately = Annotated[float, Field(ge=60, le=86_400, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$")]

_TIME_OF_DAY = re.compile(r"[0-2]\d:[0-5]\d(:[0-5]\d)?")


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Rule(_Data):
    """What all rules have; `alerts.yaml` says what each means."""

    type: str
    severity: Severity
    title: Annotated[str, Field(min_length=1, max_length=200)]
    todo: Annotated[str, Field(max_length=500)]
    enabled: bool = True
    for_seconds: Seconds = 0
    resolve_after_seconds: Seconds = 0
    cooldown_seconds: Seconds | None = None
    channels: tuple[ChannelOfWorkflow, ...] | None = None


class _OfThePlatform(Rule):
    channels: tuple[Channel, ...] | None = None


class Sightings(_OfThePlatform):
    """What is noticed on the spot; see `automation.alerting.sightings`."""

    type: Literal["sightings"]


class FailuresInARow(Rule):
    type: Literal["failures_in_a_row"]
    failures: Annotated[int, Field(ge=1, le=1000)]


class DeadLetters(Rule):
    type: Literal["dead_letters"]
    at_least: Annotated[int, Field(ge=1, le=1000)]
    newer_than_seconds: Annotated[float, Field(gt=0, le=30 * 86_400)]


class SlowExecutions(Rule):
    """An index has what took a second or longer, so that less cannot be asked."""

    type: Literal["slow_executions"]
    longer_than_seconds: Annotated[float, Field(ge=1, allow_inf_nan=False)]
    times_usual_p95: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None
    within_seconds: Lately


class HostResource(_OfThePlatform):
    type: Literal["host"]
    resource: Literal["cpu", "memory", "disk"]
    above: Share


class Connections(_OfThePlatform):
    type: Literal["connections"]
    above: Share


class QueueAge(_OfThePlatform):
    type: Literal["queue_age"]
    longer_than_seconds: Seconds | None
    of_kind: dict[str, Seconds] = {}


class NoWorker(_OfThePlatform):
    type: Literal["no_worker"]


class MirrorLag(_OfThePlatform):
    type: Literal["mirror_lag"]
    longer_than_seconds: Seconds


class ScheduleMissed(_OfThePlatform):
    type: Literal["schedule_missed"]
    within_seconds: Lately


class RunWithoutHeartbeat(_OfThePlatform):
    type: Literal["run_without_heartbeat"]


class DatabaseAway(_OfThePlatform):
    type: Literal["database_away"]


AnyRule = Annotated[
    Sightings | FailuresInARow | DeadLetters | SlowExecutions | HostResource | Connections | QueueAge | NoWorker
    | MirrorLag | ScheduleMissed | RunWithoutHeartbeat | DatabaseAway,
    Field(discriminator="type"),
]  # fmt: skip


class QuietHours(_Data):
    """Every day from `from` (inclusive) to `to` (exclusive) in a time zone; over midnight when `to` is the smaller."""

    since: Annotated[time, Field(alias="from")]
    to: time
    timezone: str = "UTC"

    @field_validator("since", "to", mode="before")
    @classmethod
    def _of_the_clock(cls, value: object) -> object:
        """YAML takes 22:00 without quotes for the number 1320, and a time with an offset compares with no other."""
        if not (isinstance(value, str) and _TIME_OF_DAY.fullmatch(value)):
            raise ValueError('expected a time of day in quotes, such as "22:00"')
        return value

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("expected a time zone such as Europe/Paris") from None
        return value

    def include(self, at: datetime) -> bool:
        """Whether a moment (timezone-aware) lies in them."""
        local = at.astimezone(ZoneInfo(self.timezone)).time()
        if self.since <= self.to:
            return self.since <= local < self.to
        return local >= self.since or local < self.to


class Rules(_Data):
    """All rules by name, in the order in which they are looked at, and who is told."""

    channels: dict[Severity, tuple[Channel, ...]]
    quiet_hours: QuietHours | None
    runbook: str
    rules: dict[Name, AnyRule]

    @field_validator("rules")
    @classmethod
    def _can_see_something(cls, rules: dict[str, AnyRule]) -> dict[str, AnyRule]:
        for name, rule in rules.items():
            if rule.type == "sightings" and name not in NOTICED:
                raise ValueError(f"{name} would see nothing: of type sightings are only {' and '.join(NOTICED)}")
        return rules

    def enabled(self) -> Mapping[str, Rule]:
        return {name: rule for name, rule in self.rules.items() if rule.enabled}

    def channels_of(self, rule: Rule) -> tuple[ChannelOfWorkflow, ...]:
        """Who is told of what a rule sees."""
        return self.channels.get(rule.severity, ()) if rule.channels is None else rule.channels

    def are_quiet(self, severity: str, at: datetime) -> bool:
        """Whether nobody is to be told of what is so grave at that time."""
        return self.quiet_hours is not None and severity != "CRITICAL" and self.quiet_hours.include(at)


@lru_cache
def in_force(own: Path | None) -> Rules:
    """The rules of this process, read once; as `load`."""
    return load(own)


def load(own: Path | None = None) -> Rules:
    """The rules in force.

    Args:
        own: the installation's file; None: the defaults alone.

    Raises:
        SettingError: it cannot be read, or something in it is wrong; the text names the place and what is expected.
    """
    merged = _read(DEFAULTS)
    if own is not None:
        _merge(merged, _read(own), own)
    try:
        return Rules.model_validate(merged)
    except ValidationError as error:
        raise SettingError("\n".join(f"AUTOMATION_ALERTS_FILE={own}: {_told(one)}" for one in error.errors())) from None


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"AUTOMATION_ALERTS_FILE={path}: expected a YAML file that can be read ({error})") from None
    except yaml.YAMLError as error:
        raise SettingError(f"AUTOMATION_ALERTS_FILE={path}: no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise SettingError(f"AUTOMATION_ALERTS_FILE={path}: expected `rules:` and the like, got {type(data).__name__}")
    return data


def _merge(defaults: dict[str, Any], own: dict[str, Any], path: Path) -> None:
    """Put the installation's values over the defaults: key by key in `channels` and in each rule."""
    for key, value in own.items():
        if key == "channels" and isinstance(value, dict):
            defaults[key] |= value
        elif key == "rules" and isinstance(value, dict):
            for name, rule in value.items():
                known = defaults["rules"].get(name, {})
                defaults["rules"][name] = known | rule if isinstance(rule, dict) else rule
        elif key == "rules":
            raise SettingError(f"AUTOMATION_ALERTS_FILE={path}: rules: expected rules by name, got {value!r}")
        else:
            defaults[key] = value


def _told(error: Any) -> str:
    """`rules.cpu-saturated.above: Input should be less than 1, got 80`; the type in the path of a union is left out."""
    path = [str(part) for part in error["loc"]]
    if path[0] == "rules" and len(path) > 3:
        del path[2]
    given = error["input"]
    shown = f", got {given!r}" if isinstance(given, str | int | float | bool) else ""
    return f"{'.'.join(path)}: {error['msg'].removeprefix('Value error, ')}{shown}"
