"""Whether a condition holds, and the first thing that made it false. What is decided per event stands here."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from automation.conditions.operators import OPERATORS, TESTS, UnreadableError, equal, one_line, short
from automation.redaction import REDACTED, hides

MAX_FIELD = 200  # characters of a path
MISSING: Final[Any] = object()
"""What `look_up` finds where nothing is."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf that was looked at.

    Attributes:
        path: where in the condition, as `all.0`; empty when the leaf is the whole condition.
        found: the field's value; None when it is not there (`missing`).
    """

    path: str
    field: str
    operator: str
    expected: Any
    found: Any
    missing: bool
    holds: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a condition holds; `reason` is one line on the first thing that made it false, else empty."""

    holds: bool
    reason: str


_HOLDS = Verdict(True, "")
_Node: TypeAlias = dict[str, Any]
_Path: TypeAlias = tuple[Any, str | int] | None  # (the path of the group, the step from there); None at the top
_Look: TypeAlias = tuple[bool, _Path, _Node | None, Any]  # holds, where, the leaf (None: an empty group), found


def look_up(root: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path such as `data.items.0.id`, or `MISSING`. A key with a dot in it cannot be named."""
    found: Any = root
    for name, index in _steps(path):
        if isinstance(found, list):
            found = found[index] if 0 <= index < len(found) else MISSING
        elif isinstance(found, (dict, Mapping)):  # dict first: asking for Mapping alone takes far longer
            found = found.get(name, MISSING)
        else:
            return MISSING
    return found


@functools.lru_cache(maxsize=4096)
def _steps(path: str) -> tuple[tuple[str, int], ...]:
    """Each part of a path with the index that it is in a list (-1: none)."""
    parts = path.split(".")
    return tuple((part, int(part) if part.isascii() and part.isdigit() and len(part) < 10 else -1) for part in parts)


def holds(conditions: object, root: Mapping[str, Any], previous: Mapping[str, Any] | None = None) -> Verdict:
    """Whether `conditions` hold for `root`. Never raises: what cannot be read does not hold.

    Args:
        conditions: as in the module's description; None is `{}`.
        root: the event, or a step's context.
        previous: by field, the value that a field used with `changed` had at the last event. One that is not in
            here was never seen: it has changed if it is there now.
    """
    return _verdict(conditions, root, previous, None)


def explain(
    conditions: object, root: Mapping[str, Any], previous: Mapping[str, Any] | None = None
) -> tuple[Verdict, list[Leaf]]:
    """The decision of `holds`, with every leaf that was looked at, in order. One that was not reached is not listed."""
    looked: list[_Look] = []
    verdict = _verdict(conditions, root, previous, looked)
    leaves = [
        Leaf(
            path=_path_text(path),
            field=node["field"],
            operator=node["operator"],
            expected=node.get("value", True if node["operator"] == "exists" else None),
            found=None if found is MISSING else found,
            missing=found is MISSING,
            holds=held,
        )
        for held, path, node, found in looked
        if node is not None
    ]
    return verdict, leaves


def _verdict(
    conditions: object, root: Mapping[str, Any], previous: Mapping[str, Any] | None, looked: list[_Look] | None
) -> Verdict:
    if conditions is None or conditions == {}:
        return _HOLDS
    try:
        held, deciding = _decide(conditions, root, previous or {}, None, looked)
    except UnreadableError as error:
        return Verdict(False, one_line(f"cannot be read: {error}"))
    except RecursionError:
        return Verdict(False, "cannot be read: it is nested too deeply")
    return _HOLDS if held else Verdict(False, _reason(deciding))


def _decide(
    node: Any, root: Mapping[str, Any], previous: Mapping[str, Any], path: _Path, looked: list[_Look] | None
) -> tuple[bool, _Look]:
    """Whether a node holds, and the look that decided it, from which a reason can be written when one is needed."""
    if not isinstance(node, dict):
        raise UnreadableError(f"{_place(path)}{short(node)} is no condition")
    if len(node) != 1:
        look = _look(node, root, previous, path)
        if looked is not None:
            looked.append(look)
        return look[0], look
    [(word, inner)] = node.items()
    if word == "not":
        held, look = _decide(inner, root, previous, (path, word), looked)
        return not held, look
    if word not in ("all", "any") or not isinstance(inner, list):
        raise UnreadableError(f"{_place(path)}{short(node)} is no condition")
    settles = word == "any"  # the answer of a member that settles the group's
    path = (path, word)
    deciding: _Look | None = None
    for index, member in enumerate(inner):
        held, look = _decide(member, root, previous, (path, index), looked)
        if held is settles:
            return settles, look
        deciding = deciding or look
    return not settles, deciding or (not settles, path, None, None)


def _look(node: _Node, root: Mapping[str, Any], previous: Mapping[str, Any], path: _Path) -> _Look:
    try:
        field, operator = node["field"], node["operator"]
    except KeyError as error:
        raise UnreadableError(f"{_place(path)}{short(node)} has no {error.args[0]}") from None
    if not isinstance(field, str) or not isinstance(operator, str):
        raise UnreadableError(f"{_place(path)}field and operator are texts")
    found = look_up(root, field)
    test = TESTS.get(operator)
    if test:
        expected = node.get("value", MISSING)
        if expected is MISSING:
            raise UnreadableError(f"{_place(path)}{short(node)} has no value")
        if found is MISSING:
            return operator in ("!=", "not_in"), path, node, found
        return test(found, expected), path, node, found
    if operator == "exists":
        return (found is not MISSING) is (node.get("value", True) is True), path, node, found
    if operator == "changed":
        return not equal(found, previous.get(field, MISSING)), path, node, found
    raise UnreadableError(f"{_place(path)}operator {short(operator)} is none of {', '.join(OPERATORS)}")


def _reason(look: _Look) -> str:
    """`all.0: data.page.config.layout == "grid" does not hold: it is "flex"`."""
    held, path, node, found = look
    verb = "holds" if held else "does not hold"
    if node is None:
        return f"{_place(path)}an empty list {verb}"
    hidden = hides(node["field"])
    value = f" {REDACTED if hidden else short(node['value'])}" if "value" in node else ""
    seen = "not there" if found is MISSING else REDACTED if hidden else short(found)
    return one_line(f"{_place(path)}{node['field'][:MAX_FIELD]} {node['operator']}{value} {verb}: it is {seen}")


def _path_text(path: _Path) -> str:
    parts: list[str] = []
    while path is not None:
        path, step = path
        parts.append(str(step))
    return ".".join(reversed(parts))


def _place(path: _Path) -> str:
    return f"{_path_text(path)}: " if path else ""
