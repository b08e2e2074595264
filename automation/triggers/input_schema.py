"""Input schemas: JSON Schema 2020-12 for what `workflows/{id}/execute/` is given, bounded in time and size.

A schema is data from outside, so what could hang us or reach out is refused when it is saved: references lead to
the schema's own definitions, expressions are RE2's, and a check that takes too many steps is given up. `format` only
describes, as 2020-12 has it by default.
"""

from collections.abc import Callable, Iterator, Set
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry

from automation.conditions.operators import UnreadableError, compiled
from automation.errors import RefusedError
from automation.models import Json

MAX_BYTES = 64 * 1024
MAX_DEPTH = 64
"""Levels of a schema, and of what is checked against it."""
MAX_STEPS = 100_000
"""Keywords that one check may apply, each for one value."""
_SEARCH_STEP = 1300
"""Bytes times RE2 instructions that count as a step."""
_MESSAGE_STEP = 1000
"""Characters of a message that count as a step: building one takes the value's text."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"

# where schemas stand in a schema
_ONE = ("additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then")
_LIST = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAP = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
_REFUSED = {
    "$dynamicRef": "use $ref",
    "unevaluatedItems": "use items",
    "unevaluatedProperties": "use additionalProperties",
}

_REFUSED_INSIDE = {"$id": "name the whole schema, if any", "$schema": "name it for the whole schema"}

_MESSAGE = 300  # characters of a message; its text holds values of the input


class _TooMuchError(Exception):
    """A check took more than MAX_STEPS."""


def check_schema(schema: object, field: str) -> None:
    """Whether `schema` can be used.

    Raises:
        RefusedError: it is no JSON Schema 2020-12, or has what we do not allow; the path begins with `field`.
    """
    if not isinstance(schema, dict):
        raise RefusedError(f"{field}: expected an object, got {type(schema).__name__}", field)
    if _is_deep(schema):
        raise RefusedError(f"{field}: nested deeper than {MAX_DEPTH} levels", field)
    size = len(orjson.dumps(schema, default=str))
    if size > MAX_BYTES:
        raise RefusedError(f"{field}: the schema has {size} bytes; {MAX_BYTES} are allowed", field)
    if schema.get("$schema", DIALECT) not in (DIALECT, DIALECT + "#"):
        raise RefusedError(f"{field}.$schema: only {DIALECT} is known here", f"{field}.$schema")
    try:
        Draft202012Validator.check_schema(schema, format_checker=None)
    except SchemaError as error:
        place = ".".join((field, *map(str, error.absolute_path)))
        raise RefusedError(f"{place}: {_shown(error)}", place) from None
    parts = dict(_parts(schema, ""))
    places = {f"#{pointer}" for pointer in parts}
    for pointer, part in parts.items():
        if isinstance(part, dict):
            _check_part(part, places, field + pointer.replace("/", "."), is_root=not pointer)


def check_input(schema: Json, input: Json) -> None:
    """Whether an input suits a schema that `check_schema` let pass.

    Raises:
        RefusedError: it does not; `field` is where, such as `input.a.0.b`.
    """
    root = {key: value for key, value in schema.items() if key not in ("$schema", "$id")}  # else the stock checks run
    if _is_deep(input):
        raise RefusedError(f"input: nested deeper than {MAX_DEPTH} levels", "input")
    used = _used.set([0])
    try:
        error = next(_Validator(root, registry=Registry()).iter_errors(input), None)
    except (RecursionError, _TooMuchError):
        raise RefusedError(
            f"input: checking it against the workflow's input_schema takes more than {MAX_STEPS} steps", "input"
        ) from None
    finally:
        _used.reset(used)
    if error is None:
        return
    place = ["input", *map(str, error.absolute_path)]
    message = _shown(error)
    if error.validator == "required":
        place.append(next(name for name in error.validator_value if name not in error.instance))
        message = "is required"
    raise RefusedError(f"{'.'.join(place)}: {message}", ".".join(place))


def _check_part(part: Json, places: Set[str], field: str, *, is_root: bool) -> None:
    for name, instead in _REFUSED.items() if is_root else (*_REFUSED.items(), *_REFUSED_INSIDE.items()):
        if name in part:
            raise RefusedError(f"{field}.{name}: not allowed here; {instead}", f"{field}.{name}")
    if "$ref" in part and unquote(part["$ref"]) not in places:
        raise RefusedError(
            f"{field}.$ref: {part['$ref'][:_MESSAGE]!r} is no schema in this one; use #/$defs/name", f"{field}.$ref"
        )
    patterns = [("patternProperties", pattern) for pattern in part.get("patternProperties", ())]
    if "pattern" in part:
        patterns.append(("pattern", part["pattern"]))
    for keyword, pattern in patterns:
        try:
            compiled(pattern)
        except UnreadableError as error:
            raise RefusedError(f"{field}.{keyword}: {error}", f"{field}.{keyword}") from None


def _parts(schema: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    """A schema and all that stand in it, each with its JSON Pointer."""
    yield pointer, schema
    if not isinstance(schema, dict):
        return
    for name in _ONE:
        if name in schema:
            yield from _parts(schema[name], f"{pointer}/{name}")
    for name in _LIST:
        for index, inner in enumerate(schema.get(name, ())):
            yield from _parts(inner, f"{pointer}/{name}/{index}")
    for name in _MAP:
        for key, inner in schema.get(name, {}).items():
            yield from _parts(inner, f"{pointer}/{name}/{key.replace('~', '~0').replace('/', '~1')}")


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _shown(error: ValidationError | SchemaError) -> str:
    if len(error.message) <= _MESSAGE:
        return str(error.message)
    return f"does not suit {error.validator or 'the schema'}: {str(error.validator_value)[:_MESSAGE]}"


# --- the keywords -------------------------------------------------------------------------------------------

_used: ContextVar[list[int]] = ContextVar("steps used")
Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError]]


def _spend(steps: int) -> None:
    used = _used.get()
    used[0] += steps
    if used[0] > MAX_STEPS:
        raise _TooMuchError


def _counted(keyword: Any) -> Keyword:
    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        _spend(1 + (_size(value) + _size(instance)) // 10)
        for error in keyword(validator, value, instance, schema) or ():
            _spend(len(error.message) // _MESSAGE_STEP)
            yield error

    return check


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _found(pattern: str, text: str) -> bool:
    program = compiled(pattern)
    searched = text.encode(errors="surrogatepass")
    _spend(program.programsize * len(searched) // _SEARCH_STEP)
    return program.search(searched) is not None


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _found(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Json, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, inner in patterns.items():
            for key, value in instance.items():
                if _found(pattern, key):
                    yield from validator.descend(value, inner, path=key, schema_path=pattern)


def _additional_properties(validator: Any, inner: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for key, value in instance.items():
        if key in known or any(_found(pattern, key) for pattern in patterns):
            continue
        if inner is False:
            yield ValidationError("not known here", path=[key])
        else:
            yield from validator.descend(value, inner, path=key)


def _unique_items(validator: Any, wanted: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list) and len(set(map(_hashable, instance))) < len(instance):
        yield ValidationError("two items are the same")


def _hashable(value: Any) -> Any:
    """Equal for values that JSON Schema calls equal: 1 and 1.0, but not 1 and true."""
    _spend(1 if isinstance(value, list | dict) else 0)
    if isinstance(value, list):
        return ("list", *map(_hashable, value))
    if isinstance(value, dict):
        return ("dict", frozenset((key, _hashable(inner)) for key, inner in value.items()))
    return (isinstance(value, bool), value)


_OURS = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
_Validator = extend(
    Draft202012Validator,
    {name: _counted(_OURS.get(name, keyword)) for name, keyword in Draft202012Validator.VALIDATORS.items()},
)
