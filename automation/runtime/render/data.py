"""Table and List."""

from markupsafe import Markup

from automation.runtime.documents import Component
from automation.runtime.render.basic import link
from automation.runtime.render.html import fragment, h
from automation.runtime.render.view import View
from automation.runtime.values import Config, entries, flag, scalar, text

_LIST_DEPTH = 5


def table(component: Component, view: View) -> Markup:
    """{columns[] names or {key, label}, rows[] lists or objects, caption?}"""
    config = component.config
    columns = [(text(one, "key", "field", "id", "label"), text(one, "label", "title", "key"))
               for one in entries(config, "columns", "headers")]  # fmt: skip
    rows = _rows(config, [key for key, _ in columns])
    return data_table(text(config, "caption", "title"), [label for _, label in columns], rows) or h(
        "p", view.text("no_data"), class_="missing"
    )


def data_table(caption: str, labels: list[str], rows: list[list[str]]) -> Markup | None:
    """A table of texts that scrolls sideways on its own; None when there is nothing in it."""
    if not labels and not rows:
        return None
    head = h("thead", h("tr", [h("th", label, scope="col") for label in labels])) if labels else None
    body = h("tbody", [h("tr", [h("td", cell) for cell in row]) for row in rows])
    whole = h("table", h("caption", caption) if caption else None, head, body)
    name = caption or " · ".join(labels)
    return h("div", whole, class_="scroll", tabindex="0", role="region", aria_label=name or None)


def _rows(config: Config, keys: list[str]) -> list[list[str]]:
    found = next((rows for name in ("rows", "data") if isinstance(rows := config.get(name), list)), [])
    rows = []
    for row in found:
        if isinstance(row, list):
            rows.append([scalar(cell) for cell in row])
        elif isinstance(row, dict):
            cells = [row.get(key) for key in keys] if keys else row.values()
            rows.append([scalar(cell) for cell in cells])
    return rows


def listing(component: Component, view: View) -> Markup:
    """{items[] texts or {label, description?, href?, items?[]}, ordered?, title?}"""
    config = component.config
    title = text(config, "title")
    ordered = flag(config, "ordered") or text(config, "variant", "listType", "type") == "ordered"
    return fragment(
        h("h3", title) if title else None,
        _items(config, view, "ol" if ordered else "ul", 1),
        view.children(component),
    )


def _items(config: Config, view: View, tag: str, depth: int) -> Markup | None:
    items = entries(config, "items", "children")
    if not items or depth > _LIST_DEPTH:
        return None
    return h("ol" if tag == "ol" else "ul", [_item(one, view, tag, depth) for one in items])


def _item(item: Config, view: View, tag: str, depth: int) -> Markup:
    more = text(item, "description", "content")
    url, label = view.link_of(item), text(item, "label", "text", "title", "name")
    return h(
        "li",
        link(item, view) if url else label,
        h("p", more) if more else None,
        _items(item, view, tag, depth + 1),
    )
