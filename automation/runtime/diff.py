"""What changed between two versions of a page."""

from typing import Any

Changes = dict[str, list[str]]
Json = dict[str, Any]

# What of a component is not its content: who it is, where it stands, and those inside it.
_FRAME = ("id", "position", "children")


def page_changes(before: Json | None, after: Json) -> Changes:
    """The difference of two pages (`{id, name, route, config}`), however malformed they are.

    Returns:
        {"added": ids, "removed": ids, "moved": ids, "edited": ids, "page": names of changed page fields}
        Nested components count by their own id. Moved: another position or another parent. Edited: anything
        else of the component. Page fields are `name`, `route` and the document's own (`layout`, `styles`, …);
        a page without a version before it has none that changed.
    """
    old, new = _components(before), _components(after)
    both = [one for one in new if one in old]
    return {
        "added": [one for one in new if one not in old],
        "removed": [one for one in old if one not in new],
        "moved": [one for one in both if not _same(_place(*old[one]), _place(*new[one]))],
        "edited": [one for one in both if not _same(_content(old[one][1]), _content(new[one][1]))],
        "page": _changed_fields(before, after) if before is not None else [],
    }


def _components(page: object) -> dict[str, tuple[str, Json]]:
    """id → (its parent's id, the component), in the order of the document; the first of equal ids counts."""
    found: dict[str, tuple[str, Json]] = {}
    stack = [("", one) for one in reversed(_list(_object(_object(page).get("config")).get("components")))]
    while stack:
        parent, component = stack.pop()
        if not isinstance(component, dict):
            continue
        one_id = component.get("id")
        if isinstance(one_id, str):
            found.setdefault(one_id, (parent, component))
        inside = one_id if isinstance(one_id, str) else parent
        stack += [(inside, one) for one in reversed(_list(component.get("children")))]
    return found


def _place(parent: str, component: Json) -> Any:
    return parent, component.get("position")


def _content(component: Json) -> Json:
    return {key: value for key, value in component.items() if key not in _FRAME}


def _changed_fields(before: object, after: object) -> list[str]:
    old, new = _fields(before), _fields(after)
    names = [*new, *(name for name in old if name not in new)]
    return [name for name in names if not _same(old.get(name), new.get(name))]


def _fields(page: object) -> Json:
    outer = _object(page)
    document = {key: value for key, value in _object(outer.get("config")).items() if key != "components"}
    return document | {key: outer[key] for key in ("name", "route") if key in outer}


def _same(one: object, other: object) -> bool:
    try:
        return one == other
    except RecursionError:  # nested beyond all reason: call it changed
        return False


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
