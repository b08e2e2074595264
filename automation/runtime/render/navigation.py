"""Menu, Breadcrumb, Tabs, Pagination."""

from collections.abc import Iterable

from markupsafe import Markup

from automation.runtime.documents import Component
from automation.runtime.render.basic import link
from automation.runtime.render.html import h
from automation.runtime.render.view import View, part_id
from automation.runtime.values import Config, entries, text, whole

_MENU_DEPTH = 3


def menu(component: Component, view: View) -> Markup:
    """{items[] {label, href, items?[]}, label?}; without items, the pages of the site"""
    config = component.config
    items = entries(config, "items", "links") or [{"label": title, "href": route} for route, title in view.site.routes]
    name = text(config, "label", "title") or view.text("menu")
    vertical = config.get("orientation") == "vertical"
    return h("nav", _menu_list(items, view, 1), aria_label=name, class_="vertical" if vertical else None)


def _menu_list(items: Iterable[Config], view: View, depth: int) -> Markup:
    return h("ul", [_menu_item(one, view, depth) for one in items])


def _menu_item(item: Config, view: View, depth: int) -> Markup:
    inner = entries(item, "items", "children") if depth < _MENU_DEPTH else []
    if not inner:
        return h("li", link(item, view))
    own = h("li", link(item, view)) if view.link_of(item) else None
    label = text(item, "label", "text", "title", "name")
    below = h("ul", own, [_menu_item(one, view, depth + 1) for one in inner])
    return h("li", h("details", h("summary", label), below))


def breadcrumb(component: Component, view: View) -> Markup:
    """{items[] {label, href}}; the last one is the current page"""
    items = entries(component.config, "items", "links", "path")
    crumbs = [h("li", link(one, view)) for one in items[:-1]]
    if items:
        label = text(items[-1], "label", "text", "title", "name")
        crumbs.append(h("li", h("span", label, aria_current="page")))
    return h("nav", h("ol", crumbs), aria_label=view.text("breadcrumb"))


def tabs(component: Component, view: View) -> Markup:
    """{tabs[] {label, content | html}}; child number n stands in tab number n, further ones in the last.

    Radio buttons choose the panel, so that tabs work with the keyboard and without any script.
    """
    config = component.config
    items = entries(config, "tabs", "items") or [{} for _ in component.children]
    group = part_id(component, "tabs")
    parts: list[Markup] = []
    for position, one in enumerate(items):
        uid, last = f"{group}.{position}", position == len(items) - 1
        label = text(one, "label", "title", "name") or f"{view.text('tab')} {position + 1}"
        inside = component.children[position:] if last else component.children[position : position + 1]
        parts += [
            h("input", type="radio", name=group, id=uid, checked=position == 0),
            h("label", label, for_=uid),
            h("div", view.prose(one, "content", "text"), view.draw(inside, view), class_="panel"),
        ]
    return h("div", parts, class_="tabs", role="group", aria_label=text(config, "title") or view.text("tabs"))


def pagination(component: Component, view: View) -> Markup:
    """{totalPages, currentPage?, href? with "{page}" in it}; at most nine numbers are shown"""
    config = component.config
    total = whole(config, "totalPages", "pages", "total", low=1, high=1_000_000, default=1)
    current = whole(config, "currentPage", "current", "page", low=1, high=total, default=1)
    pattern = text(config, "href", "url", "baseUrl") or "?page={page}"

    def address(page: int) -> str | None:
        return view.href(pattern.replace("{page}", str(page)))

    window = range(max(1, current - 3), min(total, current + 3) + 1)
    numbers = [
        h("li", h("a", str(page), href=address(page), aria_label=f"{view.text('page')} {page}",
                  aria_current="page" if page == current else None))
        for page in sorted({1, *window, total})
    ]  # fmt: skip
    before = h("a", view.text("previous"), rel="prev", href=address(current - 1))
    after = h("a", view.text("next"), rel="next", href=address(current + 1))
    steps = [
        h("li", before) if current > 1 else None,
        *numbers,
        h("li", after) if current < total else None,
    ]
    return h("nav", h("ul", steps), aria_label=view.text("pagination"))
