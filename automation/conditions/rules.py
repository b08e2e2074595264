"""What is refused when a condition is saved, and the language as JSON Schema."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from automation.conditions.decide import MAX_FIELD, MISSING
from automation.conditions.operators import (
    MAX_PATTERN,
    MAX_PROGRAM,
    OPERATORS,
    UnreadableError,
    compiled,
    is_number,
    one_line,
    short,
)
from automation.errors import RefusedError

MAX_NESTING = 16  # of groups, and of a value
MAX_NODES = 200  # groups and leaves
MAX_SIZE = 32 * 1024  # bytes of JSON
MAX_CHOICES = 1000  # of `in` and `not_in`


def changed_fields(conditions: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The fields that `conditions` use with `changed`, each once, in order; none when they cannot be read."""
    if not conditions:
        return ()
    try:
        leaves = [node for node, _ in _nodes(conditions, "") if node.get("operator") == "changed"]
    except RefusedError:
        return ()
    return tuple(dict.fromkeys(leaf["field"] for leaf in leaves if isinstance(leaf.get("field"), str)))


def check(conditions: object, *, field: str = "conditions", changed: bool = True) -> None:
    """Refuse conditions that could not be decided, or not cheaply.

    Args:
        field: where the conditions stand in the request.
        changed: whether `changed` is allowed: a step has no past to compare with.

    Raises:
        RefusedError: the first fault; its `field` is the dotted path, such as `conditions.all.0.operator`.
    """
    if conditions is None or conditions == {}:
        return
    try:
        size = len(json.dumps(conditions, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise RefusedError(f"Conditions are JSON, and these are not: {error}.", field) from None
    if size > MAX_SIZE:
        raise RefusedError(f"Conditions take {size} bytes of JSON; {MAX_SIZE} are allowed.", field)
    patterns = 0
    for count, (node, place) in enumerate(_nodes(conditions, field), start=1):
        if count > MAX_NODES:
            raise RefusedError(f"Conditions have at most {MAX_NODES} groups and leaves; these have more.", field)
        if "field" in node or "operator" in node:
            _check_leaf(node, place, changed)
        if node.get("operator") == "matches":
            patterns += compiled(node["value"]).programsize
            if patterns > MAX_PROGRAM:
                text = "The regular expressions of these conditions are too large together; use fewer or simpler ones."
                raise RefusedError(text, f"{place}.value")


def is_path(text: str) -> bool:
    """Whether a text can name a field: names between dots, none of them empty or with blanks at its ends."""
    return all(part and part.isprintable() and part == part.strip() for part in text.split("."))


def _nodes(node: object, place: str, levels: int = MAX_NESTING) -> Iterator[tuple[dict[str, Any], str]]:
    """Every group and leaf with its place, from the top.

    Raises:
        RefusedError: something is neither a group nor a leaf, or too deep.
    """
    if not isinstance(node, dict):
        raise RefusedError(f"A condition is an object, not {short(node)}.", place)
    if not levels:
        raise RefusedError(f"Conditions nest at most {MAX_NESTING} levels deep.", place)
    yield node, place
    if "field" in node or "operator" in node:
        return
    if len(node) != 1 or not node.keys() <= {"all", "any", "not"}:
        text = 'A condition is {"all": […]}, {"any": […]}, {"not": …} or {"field", "operator", "value"}'
        raise RefusedError(f"{text}, not {short(node)}.", place)
    [(word, inner)] = node.items()
    place = f"{place}.{word}"
    if word == "not":
        yield from _nodes(inner, place, levels - 1)
        return
    if not isinstance(inner, list):
        raise RefusedError(f"{word} takes a list of conditions, not {short(inner)}.", place)
    if word == "any" and not inner:
        raise RefusedError("An empty any never holds; give it a condition or leave it out.", place)
    for index, member in enumerate(inner):
        yield from _nodes(member, f"{place}.{index}", levels - 1)


def _check_leaf(leaf: dict[str, Any], place: str, changed: bool) -> None:
    unknown = leaf.keys() - {"field", "operator", "value"}
    if unknown:
        raise RefusedError(f"A leaf has field, operator and value; {short(min(map(str, unknown)))} is unknown.", place)
    for key in ("field", "operator"):
        if not isinstance(leaf.get(key), str):
            raise RefusedError(f"A leaf needs the text {key}.", f"{place}.{key}")
    path, operator = leaf["field"], leaf["operator"]
    if len(path) > MAX_FIELD or not is_path(path):
        text = f"A field is a dotted path such as data.page.title, up to {MAX_FIELD} characters"
        raise RefusedError(f"{text}, not {short(path)}.", f"{place}.field")
    if operator not in OPERATORS:
        raise RefusedError(f"Operator {short(operator)} is none of {', '.join(OPERATORS)}.", f"{place}.operator")
    if operator == "changed" and not changed:
        raise RefusedError("changed compares with the last event, and a step has none.", f"{place}.operator")
    fault = _value_fault(operator, leaf.get("value", MISSING))
    if fault:
        raise RefusedError(fault, f"{place}.value")


def _value_fault(operator: str, value: Any) -> str:
    """What is wrong with a leaf's value, or nothing."""
    if operator == "changed":
        return "" if value is MISSING or value is None else "changed takes no value."
    if operator == "exists":
        return "" if value is MISSING or isinstance(value, bool) else "exists takes true (the default) or false."
    if value is MISSING:
        return f"{operator} needs a value to compare with."
    if not _is_storable(value, MAX_NESTING):
        return f"A value nests at most {MAX_NESTING} levels deep and has no NUL in its texts."
    if operator in ("in", "not_in") and not (isinstance(value, list) and len(value) <= MAX_CHOICES):
        return f"{operator} takes a list of up to {MAX_CHOICES} values."
    if operator in (">", ">=", "<", "<=") and not (isinstance(value, str) or is_number(value)):
        return f"{operator} compares numbers or texts, and {short(value)} is neither."
    if operator in ("starts_with", "ends_with") and not isinstance(value, str):
        return f"{operator} takes a text, not {short(value)}."
    if operator == "matches":
        try:
            compiled(value)
        except UnreadableError as error:
            return one_line(f"matches cannot use this value: {error}.")
    return ""


def _is_storable(value: Any, levels: int) -> bool:
    if isinstance(value, str):
        return "\0" not in value  # PostgreSQL's jsonb refuses it
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return not isinstance(value, list) or (levels > 0 and all(_is_storable(member, levels - 1) for member in value))


def _leaf_schema(operators: tuple[str, ...], value: dict[str, Any], *, required: bool = True) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"field": {"$ref": "#/$defs/field"}, "operator": {"enum": [*operators]}, "value": value},
        "required": ["field", "operator", *(["value"] if required else [])],
        "additionalProperties": False,
    }


def _group_schema(word: str, members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {word: members}, "required": [word], "additionalProperties": False}


_CONDITION: Final = {"$ref": "#/$defs/condition"}
SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "urn:automation:conditions",
    "title": "Conditions",
    "anyOf": [{"type": "null"}, {"type": "object", "maxProperties": 0}, _CONDITION],
    "$defs": {
        "field": {"type": "string", "minLength": 1, "maxLength": MAX_FIELD},
        "condition": {
            "oneOf": [
                _group_schema("all", {"type": "array", "items": _CONDITION}),
                _group_schema("any", {"type": "array", "items": _CONDITION, "minItems": 1}),
                _group_schema("not", _CONDITION),
                _leaf_schema(("==", "!=", "contains"), {}),
                _leaf_schema((">", ">=", "<", "<="), {"type": ["number", "string"]}),
                _leaf_schema(("in", "not_in"), {"type": "array", "maxItems": MAX_CHOICES}),
                _leaf_schema(("starts_with", "ends_with"), {"type": "string"}),
                _leaf_schema(("matches",), {"type": "string", "maxLength": MAX_PATTERN}),
                _leaf_schema(("exists",), {"type": "boolean", "default": True}, required=False),
                _leaf_schema(("changed",), {"type": "null"}, required=False),
            ]
        },
    },
}
"""The language as JSON Schema 2020-12, for forms. `check` refuses more: sizes, nesting and bad expressions."""
