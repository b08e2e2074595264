"""What the engine itself reads of a step's config: how it is retried, and how long it may take. No I/O here."""

from dataclasses import dataclass, field

from automation.errors import RefusedError
from automation.models import Json
from automation.retries import Rule, parse_rules

RETRY, TIMEOUT = "retry", "timeout_seconds"


@dataclass(frozen=True, slots=True)
class StepOptions:
    """`retry` as rules (automation/retries.py), and `timeout_seconds`, which AUTOMATION_STEP_SOFT_TIME_LIMIT bounds."""

    retry: dict[str, Rule] = field(default_factory=dict)
    timeout_seconds: float | None = None


NO_OPTIONS = StepOptions()


def split(config: Json, field: str = "config") -> tuple[StepOptions, Json]:
    """A step's config as the engine's options, and the rest, which is the step type's own.

    Raises:
        RefusedError: an option is wrong; `field` is the dotted path to it.
    """
    if RETRY not in config and TIMEOUT not in config:
        return NO_OPTIONS, config
    timeout = config.get(TIMEOUT)
    if timeout is not None and (
        isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < 1e9
    ):
        raise RefusedError(f"{field}.{TIMEOUT}: expected seconds above 0, got {timeout!r}", f"{field}.{TIMEOUT}")
    retry = parse_rules(config[RETRY], f"{field}.{RETRY}") if RETRY in config else {}
    return StepOptions(retry, timeout), {name: config[name] for name in config if name not in (RETRY, TIMEOUT)}
