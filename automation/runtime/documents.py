"""Studio's page document: its shape, its limits, and what is wrong with one, in words.

    page       {id, name, route, version?, config: document}
    document   {layout?, breakpoints?, styles? {primaryColor, fontFamily, spacing}, components[]}
    component  {id, type, position {x, y, width, height}, config?, styles?, children?[]}

Positions are cells of a 12-column grid. Unknown keys are welcome: Studio is ahead of us by design.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import orjson
import pydantic
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from automation import errors
from automation.runtime.forms import field_errors
from automation.runtime.values import shown

COLUMNS = 12
MAX_COMPONENTS = 100
MAX_DEPTH = 5
MAX_BYTES = 1024 * 1024
MAX_ROWS = 10_000
MAX_ERRORS = 50

COMPONENT_TYPES = frozenset({
    "Header", "Footer", "Card", "Image", "Text", "Form", "Input", "Select", "Textarea", "Checkbox",
    "Radio", "Grid", "Container", "Divider", "Spacer", "Menu", "Breadcrumb", "Tabs", "Pagination",
    "Gallery", "Video", "Audio", "Table", "Chart", "List", "Calendar",
})  # fmt: skip

# Names in a generated site that are not a page's: a page there would hide them, or be hidden.
RESERVED = frozenset({"assets", "schemas", "index.html", "404.html", "routes.json"})
# A segment does not begin with a dot (neither `..` nor hidden files) and fits a file name in any script.
_ROUTE = re.compile(r"(/|(/[\w~-][\w.~-]{0,59})+)")
_MAX_ROUTE = 400


def _empty(kind: type) -> BeforeValidator:
    return BeforeValidator(lambda value: kind() if value is None else value)


class _Model(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Position(_Model):
    """A rectangle of cells; x counts columns and y rows, both from 0."""

    x: int
    y: int
    width: int
    height: int


class Component(_Model):
    """One component with those that stand inside it."""

    id: str = Field(min_length=1, max_length=128)
    type: str
    position: Position
    config: Annotated[dict[str, Any], _empty(dict)] = {}
    styles: Annotated[dict[str, Any], _empty(dict)] = {}
    children: Annotated[list["Component"], _empty(list)] = []


class Styles(_Model):
    """The theme of a page."""

    primaryColor: str | None = None
    fontFamily: str | None = None
    spacing: Any = None


class Document(_Model):
    """What a page shows."""

    layout: Any = None
    breakpoints: Any = None
    styles: Annotated[Styles, _empty(Styles)] = Styles()
    components: Annotated[list[Component], _empty(list)] = []


class Page(_Model):
    """A page as Studio's events carry it."""

    id: str
    name: str = ""
    route: Annotated[str, BeforeValidator(lambda value: normal_route(value))]
    config: Document
    version: int | None = None


def normal_route(route: object) -> object:
    """`/about/` → `/about`; whatever is no text is left as it is."""
    return (route.rstrip("/") or "/") if isinstance(route, str) and route.startswith("/") else route


def walk(components: Iterable[Component]) -> Iterator[Component]:
    """Every component, parents before their children."""
    for one in components:
        yield one
        yield from walk(one.children)


def load_page(page: object) -> Page:
    """The page as a model, whatever its components say.

    Raises:
        ValidationError: it is no page document at all; the text names component and field.
    """
    if faults := check_page(page, check_components=False):
        raise errors.ValidationError("; ".join(faults))
    return Page.model_validate(page)


def check_page(page: object, *, check_components: bool = True, validate_json: bool = True) -> list[str]:
    """What is wrong with a page, at most MAX_ERRORS lines; empty when it is fine.

    A line names component and field: `component 'hero' (Header): position.x: must be 0..11, is 14`.
    Id, route and depth are always checked, as they become paths and recursion.

    Args:
        check_components: known types, unique ids, positions on the grid, form fields, size and number.
        validate_json: the document has the shape of the models above.
    """
    if not isinstance(page, dict):
        return [f"page: must be an object, is {shown(page)}"]
    faults = dict(_identity_faults(page))  # by place: the first complaint about a place is enough
    try:
        size = len(orjson.dumps(page))
    except (TypeError, RecursionError) as error:
        return [*_lines(faults), f"page: is not plain JSON, or nested too deep: {error}"]
    if any(depth > MAX_DEPTH for _, depth, _ in _raw_components(page)):
        faults["page", "components"] = f"must be nested at most {MAX_DEPTH} deep"
        return _lines(faults)
    if validate_json:
        for place, message in _shape_faults(page):
            faults.setdefault(place, message)
    if check_components:
        for place, message in _component_faults(page, size):
            faults.setdefault(place, message)
    return _lines(faults)


_Place = tuple[str, str]
_Fault = tuple[_Place, str]


def _lines(faults: dict[_Place, str]) -> list[str]:
    lines = [": ".join(part for part in (*place, message) if part) for place, message in faults.items()]
    more = len(lines) - MAX_ERRORS
    return [*lines[:MAX_ERRORS], f"page: {more} more errors"] if more > 0 else lines


def _identity_faults(page: dict[str, Any]) -> Iterator[_Fault]:
    page_id, route = page.get("id"), page.get("route")
    if not isinstance(page_id, str) or not page_id or len(page_id) > 128:
        yield ("page", "id"), f"must be a text of 1 to 128 characters, is {shown(page_id)}"
    if message := route_fault(route):
        yield ("page", "route"), message


def route_fault(route: object) -> str:
    """What is wrong with a page's route; empty when it is fine."""
    if not isinstance(route, str) or not route.startswith("/"):
        return f"must be a text that starts with '/', is {shown(route)}"
    plain = str(normal_route(route))
    if len(plain) > _MAX_ROUTE or not _ROUTE.fullmatch(plain):
        return (
            f"must be '/' and names of letters, digits and -_.~ (none begins with a dot or is over "
            f"60 characters, {_MAX_ROUTE} in all), is {shown(route)}"
        )
    first, *others = plain.lower().split("/")[1:]
    if first in RESERVED or "index.html" in others:
        return f"{shown(route)} is taken by the site itself; choose another"
    return ""


def _shape_faults(page: dict[str, Any]) -> Iterator[_Fault]:
    try:
        Page.model_validate(page)
    except pydantic.ValidationError as error:
        for one in error.errors(include_url=False, include_context=False):
            where, field = _place(page, one["loc"])
            if one["type"] == "missing":
                yield (where, field), "is missing"
            else:
                message = one["msg"].replace("Input should", "must").replace("String should", "must")
                yield (where, field), f"{message}, is {shown(one['input'])}"


def _place(page: dict[str, Any], location: tuple[int | str, ...]) -> _Place:
    """The innermost component that pydantic's `location` runs through, and the field inside it."""
    node: Any = page
    name, rest = "page", 0
    for depth, step in enumerate(location):
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            break
        if isinstance(step, int) and location[depth - 1] in ("components", "children"):
            name, rest = _name(node, ".".join(map(str, location[1 : depth + 1]))), depth + 1
    field = [str(step) for step in location[rest:]]
    return name, ".".join(field[1:] if name == "page" and field[0] == "config" and len(field) > 1 else field)


def _name(component: object, path: str) -> str:
    """`component 'hero' (Header)`, or its path in the document when it has no usable id."""
    if not isinstance(component, dict):
        return path
    one_id, kind = component.get("id"), component.get("type")
    name = f"component {shown(one_id)}" if isinstance(one_id, str) and one_id else f"component at {path}"
    return f"{name} ({kind if isinstance(kind, str) and kind in COMPONENT_TYPES else shown(kind)})"


def _raw_components(page: dict[str, Any]) -> Iterator[tuple[Any, int, str]]:
    """Every component of a page that may be rubbish, with its depth (1 is the outermost) and its path."""
    document = page.get("config")
    stack = [(document, "components", 1, "")] if isinstance(document, dict) else []
    while stack:
        parent, key, depth, path = stack.pop()
        components = parent.get(key)
        for position, one in enumerate(components if isinstance(components, list) else ()):
            here = f"{path}{key}.{position}"
            yield one, depth, here
            if isinstance(one, dict):
                stack.append((one, "children", depth + 1, f"{here}."))


def _component_faults(page: dict[str, Any], size: int) -> Iterator[_Fault]:
    if size > MAX_BYTES:
        yield ("page", ""), f"must be at most {MAX_BYTES:,} bytes, is {size:,}"
    count = 0
    seen: set[str] = set()
    for component, _, path in _raw_components(page):
        count += 1
        name = _name(component, path)
        if not isinstance(component, dict):
            yield (name, ""), f"must be an object, is {shown(component)}"
            continue
        for field, message in _one_component_faults(component, seen):
            yield (name, field), message
    if count > MAX_COMPONENTS:
        yield ("page", "components"), f"must be at most {MAX_COMPONENTS} in all, are {count}"


def _one_component_faults(component: dict[str, Any], seen: set[str]) -> Iterator[tuple[str, str]]:
    one_id, kind, config = component.get("id"), component.get("type"), component.get("config")
    if not isinstance(one_id, str) or not one_id:
        yield "id", f"must be a text, is {shown(one_id)}"
    elif one_id in seen:
        yield "id", f"{shown(one_id)} is used twice in this page"
    else:
        seen.add(one_id)
    if not isinstance(kind, str) or kind not in COMPONENT_TYPES:
        yield "type", f"{shown(kind)} is unknown; known are {', '.join(sorted(COMPONENT_TYPES))}"
    yield from _position_faults(component.get("position"))
    if kind == "Form" and isinstance(config, dict):
        for field, message in field_errors(config):
            yield f"config.{field}", message


def _position_faults(position: object) -> Iterator[tuple[str, str]]:
    if not isinstance(position, dict):
        yield "position", f"must be an object, is {shown(position)}"
        return
    ranges = {"x": (0, COLUMNS - 1), "y": (0, MAX_ROWS), "width": (1, COLUMNS), "height": (1, MAX_ROWS)}
    fine = True
    for field, (low, high) in ranges.items():
        value = position.get(field)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
            fine = False
            yield f"position.{field}", f"must be a whole number, is {shown(value)}"
        elif not low <= value <= high:
            fine = False
            yield f"position.{field}", f"must be {low}..{high}, is {shown(value)}"
    if fine and position["x"] + position["width"] > COLUMNS:
        reach = f"{shown(position['x'])} + {shown(position['width'])}"
        yield "position", f"x + width must be at most {COLUMNS}, is {reach}"
