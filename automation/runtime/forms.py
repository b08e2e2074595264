"""The fields of a form: what Studio may send, and how it is read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from automation.runtime.values import Config, entries, flag, scalar, shown, text

FIELD_TYPES = frozenset({
    "text", "email", "number", "checkbox", "select", "textarea", "date", "tel", "url", "password",
    "radio", "time", "datetime-local", "month", "color", "range", "search", "hidden", "file",
})  # fmt: skip
# Components that are a field of their own, and the field type that each is without a hint in its config.
FIELD_COMPONENTS = {
    "Input": "text",
    "Select": "select",
    "Textarea": "textarea",
    "Checkbox": "checkbox",
    "Radio": "radio",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form. `type` is one of FIELD_TYPES; `options` are (value, label)."""

    name: str
    type: str
    label: str
    required: bool = False
    placeholder: str = ""
    value: str = ""
    help: str = ""
    options: tuple[tuple[str, str], ...] = ()
    multiple: bool = False
    checked: bool = False


def field_of(config: Config, *, name: str = "", default_type: str = "text") -> Field:
    """A field from its object; `name` and `default_type` stand in for what it does not say."""
    kind = text(config, "inputType", "type") if default_type == "text" else default_type
    return Field(
        name=text(config, "name") or name,
        type=kind if kind in FIELD_TYPES else default_type,
        label=text(config, "label", "title", "text") or text(config, "name") or name,
        required=flag(config, "required"),
        placeholder=text(config, "placeholder"),
        value=text(config, "value", "defaultValue", "default"),
        help=text(config, "help", "helpText", "description"),
        options=tuple(_options(config)),
        multiple=flag(config, "multiple"),
        checked=flag(config, "checked", "defaultChecked"),
    )


def form_fields(config: Config) -> list[Field]:
    """The fields that a form's config lists; those without a name are left out."""
    return [field for one in entries(config, "fields") if (field := field_of(one)).name]


def field_errors(config: Config) -> Iterator[tuple[str, str]]:
    """What is wrong with a form's `fields`, as (path, message)."""
    fields = config.get("fields", [])
    if not isinstance(fields, list):
        yield "fields", f"must be a list, is {shown(fields)}"
        return
    names: set[str] = set()
    for position, field in enumerate(fields):
        where = f"fields.{position}"
        if not isinstance(field, dict):
            yield where, f"must be an object, is {shown(field)}"
            continue
        yield from _one_field_errors(field, where)
        name = field.get("name")
        if isinstance(name, str) and name:
            if name in names:
                yield f"{where}.name", f"{shown(name)} is used twice in this form"
            names.add(name)


def _one_field_errors(field: dict[str, Any], where: str) -> Iterator[tuple[str, str]]:
    name, kind, label = field.get("name"), field.get("type", "text"), field.get("label", "")
    if not isinstance(name, str) or not name.strip() or len(name) > 128:
        yield f"{where}.name", f"must be a text of 1 to 128 characters, is {shown(name)}"
    if not isinstance(kind, str) or kind not in FIELD_TYPES:
        yield f"{where}.type", f"{shown(kind)} is unknown; known are {', '.join(sorted(FIELD_TYPES))}"
    if not isinstance(label, str):
        yield f"{where}.label", f"must be a text, is {shown(label)}"
    if not isinstance(field.get("required", False), bool):
        yield f"{where}.required", f"must be true or false, is {shown(field['required'])}"
    if not isinstance(field.get("options", []), list):
        yield f"{where}.options", f"must be a list, is {shown(field['options'])}"


def _options(config: Config) -> Iterator[tuple[str, str]]:
    for one in entries(config, "options", "choices"):
        value = scalar(one.get("value")) or scalar(one.get("label"))
        if value:
            yield value, text(one, "label", "text", "value")
