"""What each operator answers about the value found and the value expected; both are JSON."""

import functools
import json
import operator as compare
from collections.abc import Callable
from itertools import islice
from typing import Any, Final

import re2

from automation.redaction import REDACTED, hides, redact

MAX_PATTERN = 1000  # characters
MAX_PROGRAM = 2000
"""RE2 instructions of all patterns of a condition. Its slowest search steps through each of them for every byte:
0.25 ms an instruction for a text of 64 KiB, so half a second for the worst condition. `\\pL+` alone takes 1,201."""
MAX_SEARCHED = 64 * 1024  # bytes of a text that `matches` looks at
_SHOWN = 80  # characters of a value in a message
_FEW = 10  # members of a list or object in a message


class UnreadableError(Exception):
    """A condition has a shape or a value that cannot be decided."""


def equal(a: Any, b: Any) -> bool:
    """Equality of JSON, whose true is not 1."""
    if isinstance(a, str):
        return isinstance(b, str) and a == b
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    return bool(a == b)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _ordered(compares: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(found: Any, expected: Any) -> bool:
        if isinstance(found, str):
            return isinstance(expected, str) and compares(found, expected)
        return is_number(found) and is_number(expected) and compares(found, expected)

    return test


def _in(found: Any, expected: Any) -> bool:
    if not isinstance(expected, list):
        raise UnreadableError(f"in and not_in need a list, not {short(expected)}")
    return any(equal(found, choice) for choice in expected)


def _contains(found: Any, expected: Any) -> bool:
    if isinstance(found, list):
        return any(equal(member, expected) for member in found)
    return isinstance(expected, str) and isinstance(found, (str, dict)) and expected in found


def _matches(found: Any, expected: Any) -> bool:
    pattern = compiled(expected)
    if not isinstance(found, str):
        return False
    return pattern.search(found[:MAX_SEARCHED].encode(errors="surrogatepass")[:MAX_SEARCHED]) is not None


def compiled(pattern: Any) -> Any:
    """The program of a regular expression, from a cache.

    Raises:
        UnreadableError: it is none, or too large.
    """
    if not isinstance(pattern, str):
        raise UnreadableError(f"a regular expression is a text, not {short(pattern)}")
    return _compile(pattern)


@functools.lru_cache(maxsize=256)
def _compile(pattern: str) -> Any:
    if len(pattern) > MAX_PATTERN:
        raise UnreadableError(f"the regular expression has {len(pattern)} characters; {MAX_PATTERN} are allowed")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 256 * 1024  # of the program and its cache; what this refuses is over MAX_PROGRAM anyway
    options.never_capture = True
    try:
        program = re2.compile(pattern.encode(), options)
    except (re2.error, UnicodeEncodeError) as error:
        fault = error.args[0].decode(errors="replace") if isinstance(error, re2.error) else "it is no UTF-8"
        raise UnreadableError(f"the regular expression {short(pattern)} is refused by RE2: {fault}") from None
    if program.programsize > MAX_PROGRAM:
        raise UnreadableError(f"the regular expression {short(pattern)} is too large; repeat or choose less in it")
    return program


TESTS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": equal,
    "!=": lambda found, expected: not equal(found, expected),
    ">": _ordered(compare.gt),
    ">=": _ordered(compare.ge),
    "<": _ordered(compare.lt),
    "<=": _ordered(compare.le),
    "in": _in,
    "not_in": lambda found, expected: not _in(found, expected),
    "contains": _contains,
    "starts_with": lambda found, text: isinstance(found, str) and isinstance(text, str) and found.startswith(text),
    "ends_with": lambda found, text: isinstance(found, str) and isinstance(text, str) and found.endswith(text),
    "matches": _matches,
}
OPERATORS: Final = (*TESTS, "exists", "changed")


def short(value: Any) -> str:
    """`value` as JSON for a message: one line of at most 80 characters, however large or hostile the value is."""
    text = one_line(_json(value, 3))
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _json(value: Any, levels: int) -> str:
    if isinstance(value, str):
        return json.dumps(redact(value[:_SHOWN]), ensure_ascii=False)
    if not isinstance(value, (list, dict)):
        return json.dumps(value, default=str)
    left, right = "[]" if isinstance(value, list) else "{}"
    if value and not levels:
        return f"{left}…{right}"
    if isinstance(value, list):
        members = [_json(member, levels - 1) for member in value[:_FEW]]
    else:
        members = [f"{_json(str(key), 0)}: {_member(str(key), value[key], levels)}" for key in islice(value, _FEW)]
    return left + ", ".join(members) + (", …" if len(value) > _FEW else "") + right


def _member(key: str, value: Any, levels: int) -> str:
    return REDACTED if hides(key) else _json(value, levels - 1)


def one_line(text: str) -> str:
    """`text` with everything that cannot be seen spelled out, so that it forges no line and no direction of writing."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
