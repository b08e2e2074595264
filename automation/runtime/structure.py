"""What makes single pages a site: routes, paths, its own pages, and the JSON Schemas of the forms."""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import orjson

from automation.errors import ValidationError
from automation.runtime.documents import Component, Page, normal_route, route_fault, walk
from automation.runtime.forms import FIELD_COMPONENTS, Field, field_of, form_fields
from automation.runtime.render.html import element_id, h
from automation.runtime.render.page import linked_document, lone_document
from automation.runtime.render.urls import relative_link
from automation.runtime.render.view import Site
from automation.runtime.values import text

Json = dict[str, Any]

_SCHEMAS: dict[str, Json] = {
    "email": {"type": "string", "format": "email"},
    "url": {"type": "string", "format": "uri"},
    "number": {"type": "number"},
    "range": {"type": "number"},
    "checkbox": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "time"},
    "month": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"},
    "color": {"type": "string", "pattern": "^#[0-9a-fA-F]{6}$"},
}


def page_path(route: str) -> str:
    """Where a page lies in the site's folder: `/` → `index.html`, `/about` → `about/index.html`.

    Raises:
        ValidationError: the route is none; so nothing outside the folder is ever named.
    """
    if fault := route_fault(route):
        raise ValidationError(f"route: {fault}")
    return f"{str(normal_route(route)).strip('/')}/index.html".lstrip("/")


def unique_routes(pages: Sequence[Page]) -> tuple[list[Page], list[str]]:
    """The pages in the order of their routes, each with one of its own, and a warning for each that moved.

    Of several pages with one route, the one whose id sorts first keeps it; the others move to
    `<route>-<their id>`, or, where that is no route or taken, to `/page-<their id>`.
    """
    taken: set[str] = set()
    moved: list[Page] = []
    placed: list[Page] = []
    for page in sorted(pages, key=lambda page: page.id):
        (moved if page.route in taken else placed).append(page)
        taken.add(page.route)
    warnings = []
    for page in moved:
        route = next(one for one in _other_routes(page) if one not in taken and not route_fault(one))
        taken.add(route)
        placed.append(page.model_copy(update={"route": route}))
        warnings.append(f"page {page.id!r}: route {page.route!r} is another page's; it moved to {route!r}")
    return sorted(placed, key=lambda page: page.route), warnings


def _other_routes(page: Page) -> Iterator[str]:
    own = element_id(page.id, limit=40)
    yield f"{page.route.rstrip('/')}-{own}" if page.route != "/" else f"/{own}"
    yield f"/page-{own}"
    yield from (f"/page-{own}-{number}" for number in count(2))


def site_routes(pages: Sequence[Page]) -> tuple[tuple[str, str], ...]:
    """(route, title) of every page, as `Site.routes` takes them."""
    return tuple((page.route, page.name or page.route) for page in pages)


def index_page(site: Site, minify: bool) -> str:
    """The page at `/` of a site that has none there: a list of its pages."""
    links = [h("li", h("a", title or route, href=relative_link("/", route))) for route, title in site.routes]
    body = h("nav", h("ul", links), aria_label=site.text("pages")) if links else h("p", site.text("no_pages"))
    title = site.project_name or site.text("pages")
    return linked_document(title, "/", h("main", h("h1", title), body, class_="page"), site, minify)


def not_found_page(site: Site, minify: bool) -> str:
    """The page for addresses that do not exist. It is shown under any of them, so it links to nothing."""
    title = site.text("not_found")
    main = h("main", h("h1", title), h("p", site.text("not_found_text")), class_="page")
    return lone_document(title, main, site, minify)


def routes_json(pages: Sequence[Page]) -> str:
    """The site's table of routes: `{"routes": [{"route", "path", "page_id", "title"}]}`."""
    routes = [
        {"route": page.route, "path": page_path(page.route), "page_id": page.id, "title": page.name} for page in pages
    ]
    return orjson.dumps({"routes": routes}, option=orjson.OPT_INDENT_2).decode()


def form_schemas(pages: Sequence[Page]) -> dict[str, Json]:
    """A JSON Schema for each form of the site, by a name that is fit for a file: `<page>.<form>`."""
    return {
        f"{element_id(page.id)}..{element_id(one.id)}": _form_schema(page, one)
        for page in pages
        for one in walk(page.config.components)
        if one.type == "Form"
    }


def _form_schema(page: Page, form: Component) -> Json:
    inside = [
        field_of(one.config, name=one.id, default_type=FIELD_COMPONENTS[one.type])
        for one in walk(form.children)
        if one.type in FIELD_COMPONENTS
    ]
    fields = [*form_fields(form.config), *inside]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": text(form.config, "title") or f"{page.name or page.route}: {form.id}",
        "type": "object",
        "properties": {field.name: _field_schema(field) for field in fields},
        "required": sorted({field.name for field in fields if field.required}),
    }


def _field_schema(field: Field) -> Json:
    choices = [value for value, _ in field.options]
    several = field.multiple if field.type == "select" else field.type == "checkbox" and bool(choices)
    if field.type in ("select", "radio") or several:
        schema: Json = {"type": "string", "enum": choices} if choices else {"type": "string"}
    else:
        schema = dict(_SCHEMAS.get(field.type, {"type": "string"}))
    if several:
        schema = {"type": "array", "items": schema, "uniqueItems": True, "minItems": int(field.required)}
    elif field.required and schema == {"type": "string"}:
        schema["minLength"] = 1
    elif field.required and schema["type"] == "boolean":
        schema["const"] = True
    return {"title": field.label, **schema}
