"""The filters and tests that templates have, named and meant as Jinja's, over values of JSON.

What a filter may make is bounded before it is made. One that cannot use its value raises TypeError or ValueError,
which become a fault of the template; unlike Jinja's, `int` and `float` do so for a text that is no number, unless
they are given a default.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from jinja2.filters import do_title

MAX_TEXT = 1024 * 1024  # characters of any text that a template makes
INTEGERS: Final = range(-(2**63), 2**63)
_DIGITS: Final = range(-15, 16)
ABSENT: Final[Any] = object()
"""What those in `EXPECT_ABSENT` are given for a value that is not there."""
EXPECT_ABSENT: Final = frozenset({"default", "d", "defined", "undefined"})


class FaultError(Exception):
    """A template cannot be used, or makes nothing that can be used; the text says why."""


class AbsentError(FaultError):
    """A name or a member is not there, which `default` and `is defined` expect."""


def as_text(value: Any) -> str:
    """`value` inside a text: None is empty, a text itself, anything else JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False)


def number(value: Any) -> Any:
    """`value`, a number, if it can be stored.

    Raises:
        FaultError: it takes more than 64 bits, is infinite or no number.
    """
    if isinstance(value, int) and value not in INTEGERS:
        raise FaultError("it makes a number of more than 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise FaultError("it makes a number that is infinite or none")
    return value


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def bounded(length: int) -> None:
    """Raises FaultError for the length of a text that is not to be made."""
    if length > MAX_TEXT:
        raise FaultError(f"it makes a text of more than {MAX_TEXT} characters")


def _text(value: Any) -> str:
    if isinstance(value, (list, Mapping)):
        raise TypeError("a text is needed")
    return as_text(value)


def _members(value: Any) -> list[Any]:
    if isinstance(value, (list, str, Mapping)):
        return list(value)
    raise TypeError("a list is needed")


def _default(value: Any, default_value: Any = "", boolean: bool = False) -> Any:
    return default_value if value is ABSENT or (boolean and not value) else value


def _int(value: Any, default: Any = ABSENT) -> Any:
    try:
        try:
            return number(int(value))
        except ValueError:
            return number(int(float(value)))
    except (TypeError, ValueError, OverflowError, FaultError):
        if default is ABSENT:
            raise
        return default


def _float(value: Any, default: Any = ABSENT) -> Any:
    try:
        return number(float(value))
    except (TypeError, ValueError, OverflowError, FaultError):
        if default is ABSENT:
            raise
        return default


def _round(value: Any, precision: int = 0) -> Any:
    if not is_number(value) or precision not in _DIGITS:
        raise TypeError("a number is needed, and a precision from -15 to 15")
    return number(round(value, precision))


def _abs(value: Any) -> Any:
    if not is_number(value):
        raise TypeError("a number is needed")
    return number(abs(value))


def _sum(value: Any) -> Any:
    members = _members(value)
    if not all(map(is_number, members)):
        raise TypeError("a list of numbers is needed")
    return number(sum(members))


def _length(value: Any) -> int:
    return len(_members(value))


def _first(value: Any) -> Any:
    for member in _members(value):
        return member
    raise AbsentError("the first of nothing is not there")


def _last(value: Any) -> Any:
    for member in reversed(_members(value)):
        return member
    raise AbsentError("the last of nothing is not there")


def _join(value: Any, d: Any = "") -> str:
    pieces = [as_text(member) for member in _members(value)]
    separator = _text(d)
    bounded(sum(map(len, pieces)) + len(separator) * len(pieces))
    return separator.join(pieces)


def _replace(value: Any, old: str, new: str, count: int = -1) -> str:
    text = _text(value)
    times = text.count(old) if count < 0 else min(count, text.count(old))
    bounded(len(text) + times * len(new))
    return text.replace(old, new, count)


def _split(value: Any, sep: str | None = None) -> list[str]:
    return _text(value).split(sep)


def _folded(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _sort(value: Any, reverse: bool = False, case_sensitive: bool = False, attribute: str = "") -> list[Any]:
    def key(member: Any) -> Any:
        compared = _attribute(member, attribute) if attribute else member
        return compared if case_sensitive else _folded(compared)

    return sorted(_members(value), key=key, reverse=bool(reverse))


def _unique(value: Any, case_sensitive: bool = False) -> list[Any]:
    seen: dict[str, Any] = {}
    for member in _members(value):
        seen.setdefault(json.dumps(member if case_sensitive else _folded(member), sort_keys=True), member)
    return list(seen.values())


def _map(value: Any, *, attribute: str) -> list[Any]:
    return [_attribute(member, attribute) for member in _members(value)]


def _attribute(member: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(member, Mapping) or name not in member:
            raise AbsentError(f"{name[:80]!r} is not there in every member of the list")
        member = member[name]
    return member


def _reverse(value: Any) -> Any:
    return value[::-1] if isinstance(value, str) else _members(value)[::-1]


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "default": _default,
    "d": _default,
    "lower": lambda value: _text(value).lower(),
    "upper": lambda value: _text(value).upper(),
    "title": lambda value: do_title(_text(value)),
    "capitalize": lambda value: _text(value).capitalize(),
    "trim": lambda value: _text(value).strip(),
    "replace": _replace,
    "split": _split,
    "string": as_text,
    "tojson": lambda value: json.dumps(value, ensure_ascii=False, allow_nan=False),
    "int": _int,
    "float": _float,
    "round": _round,
    "abs": _abs,
    "length": _length,
    "count": _length,
    "first": _first,
    "last": _last,
    "join": _join,
    "sort": _sort,
    "unique": _unique,
    "reverse": _reverse,
    "list": _members,
    "map": _map,
    "min": lambda value: min(_members(value)),
    "max": lambda value: max(_members(value)),
    "sum": _sum,
}

TESTS: Final[dict[str, Callable[[Any], bool]]] = {
    "defined": lambda value: value is not ABSENT,
    "undefined": lambda value: value is ABSENT,
    "none": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "number": is_number,
    "string": lambda value: isinstance(value, str),
    "sequence": lambda value: isinstance(value, list),
    "mapping": lambda value: isinstance(value, Mapping),
}
