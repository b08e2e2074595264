"""Reading a component's `config` without trusting it: a value of a wrong kind counts as not there.

Studio's configs are free-form, so every reader takes the names that a value may have, first one first.
"""

import math
from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


def scalar(value: object) -> str:
    """A string, number or truth value as text; anything else is the empty text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.12g}" if math.isfinite(value) else ""
    if isinstance(value, int):
        return f"{value:d}" if abs(value) < 10**18 else f"{'-' if value < 0 else ''}≥10^18"
    return value if isinstance(value, str) else ""


def text(config: Config, *names: str) -> str:
    """The first value among `names` that is a text or a number, and not blank."""
    return next((found for name in names if (found := scalar(config.get(name)).strip())), "")


def as_number(value: object) -> float | None:
    """A finite number, also when it is spelled as text; else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def whole(config: Config, *names: str, low: int, high: int, default: int) -> int:
    """The first number among `names`, rounded down and kept within `low`..`high`."""
    for name in names:
        if (found := as_number(config.get(name))) is not None:
            return int(min(max(found, low), high))
    return default


def flag(config: Config, *names: str) -> bool:
    """Whether one of `names` is true."""
    return any(config.get(name) is True or config.get(name) == "true" for name in names)


def entries(config: Config, *names: str) -> list[dict[str, Any]]:
    """The first list among `names`, as objects: a plain value becomes `{"label": value}`."""
    for name in names:
        if isinstance(found := config.get(name), list):
            objects = (one if isinstance(one, dict) else {"label": one} for one in found)
            return [one for one in objects if not isinstance(one.get("label"), dict | list)]
    return []


def shown(value: object) -> str:
    """`value` as an error message shows it: short, on one line, never an object's content."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return repr(value) if len(value) <= 60 else repr(value[:60]) + "…"
        case int() | float():
            return repr(value) if abs(value) < 10**18 else "a huge number"
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            return f"a {type(value).__name__}"
