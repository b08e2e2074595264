"""`{{ … }}` in values: Jinja's expressions over a context, bounded in time and memory.

Jinja parses; what an expression does is decided here, by one function per kind of node. Jinja's sandbox would keep
an expression from Python, but not from `"x" * 10 ** 9`. Here nothing can be called, an attribute is a member of the
data and nothing else (`data.items` is never a method), and whatever is read or made is paid from one allowance.
Statements and comments do not exist: `{% %}` and `{# #}` are plain text.

A string that is exactly one `{{ expression }}` becomes the expression's value, whatever its type. With text around
it stays a text (its line ends become `\\n`), in which None is empty and true, lists and objects are JSON.
A name that is not there is an error, except under `default` and `is defined`.

language    what a template may consist of            parsing
evaluate    what each kind of node means              `Run` holds the context and the allowance
filters     the filters and tests that exist
"""

from collections.abc import Iterator, Mapping
from typing import Any

from automation.errors import RefusedError, ValidationError
from automation.templates.evaluate import Run, evaluate
from automation.templates.filters import MAX_TEXT, FaultError, as_text
from automation.templates.language import parse, spelled

__all__ = ["check", "has_templates", "render"]


def has_templates(value: Any) -> bool:
    """Whether a string in `value` contains `{{`. Keys of objects are never templates."""
    return any(True for _ in _templates(value, ""))


def check(value: Any, field: str) -> None:
    """Refuse templates in `value` that cannot be parsed, or that use what is not allowed.

    Raises:
        RefusedError: the first fault; its `field` is `field` with the dotted path inside the value.
    """
    try:
        for text, place in _templates(value, field):
            try:
                parse(text)
            except FaultError as error:
                raise RefusedError(f"template {spelled(text)}: {error}", place) from None
    except RecursionError:
        raise RefusedError("A value with templates nests too deeply.", field) from None


def render(value: Any, context: Mapping[str, Any]) -> Any:
    """A new value of the shape of `value`, its templates replaced by what they make of `context`.

    What comes from the context is copied: nobody changes it through the result.

    Raises:
        ValidationError: a name is not there, a template is wrong or makes too much. The text says where in `value`,
            the template, and the fault.
    """
    try:
        return _rendered(value, Run(context), "")
    except RecursionError:
        raise ValidationError("a value with templates nests too deeply") from None


def _templates(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Each template inside `value`, with its place."""
    if isinstance(value, str):
        if "{{" in value:
            yield value, place
    elif isinstance(value, (dict, list)):
        for key, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _templates(member, _inside(place, key))


def _inside(place: str, key: object) -> str:
    return f"{place}.{key}" if place else str(key)


def _rendered(value: Any, run: Run, place: str) -> Any:
    if isinstance(value, dict):
        return {key: _rendered(member, run, _inside(place, key)) for key, member in value.items()}
    if isinstance(value, list):
        return [_rendered(member, run, _inside(place, index)) for index, member in enumerate(value)]
    if not isinstance(value, str) or "{{" not in value:
        return value
    try:
        return _rendered_text(value, run)
    except FaultError as error:
        where = f"{spelled(place)}: " if place else ""
        raise ValidationError(f"{where}template {spelled(value)}: {error}") from None


def _rendered_text(text: str, run: Run) -> Any:
    parts = parse(text)
    if len(parts) == 1 and not isinstance(parts[0], str):
        return run.result(evaluate(parts[0], run))
    pieces: list[str] = []
    room = MAX_TEXT
    for part in parts:
        piece = part if isinstance(part, str) else as_text(run.result(evaluate(part, run)))
        room -= len(piece)
        if room < 0:
            raise FaultError(f"it makes a text of more than {MAX_TEXT} characters")
        pieces.append(piece)
    return "".join(pieces)
