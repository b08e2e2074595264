"""From single pages to a site."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.errors import ValidationError
from automation.runtime.documents import Page, load_page, route_fault
from automation.runtime.render.page import Site
from automation.runtime.structure import (
    form_schemas,
    index_page,
    not_found_page,
    page_path,
    routes_json,
    site_routes,
    unique_routes,
)
from tests.unit.runtime.reading import elements, text_of
from tests.unit.runtime.samples import component, page


def at(page_id: str, route: str, name: str = "") -> Page:
    return load_page({**page(), "id": page_id, "route": route, "name": name})


def test_pages_lie_in_folders_of_their_routes() -> None:
    assert [page_path(route) for route in ("/", "/about", "/blog/2026/")] == [
        "index.html", "about/index.html", "blog/2026/index.html",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "route", ["../x", "/../x", "/a/../../b", "", "/a\x00", "/assets", "/index.html", "C:\\x", "/~/../.."]
)
def test_a_path_outside_the_site_is_never_made(route: str) -> None:
    with pytest.raises(ValidationError, match="route: "):
        page_path(route)


def test_of_two_pages_with_one_route_the_lower_id_keeps_it() -> None:
    pages, warnings = unique_routes([at("page-2", "/about"), at("page-1", "/about"), at("page-3", "/")])
    assert [(one.id, one.route) for one in pages] == [
        ("page-3", "/"),
        ("page-1", "/about"),
        ("page-2", "/about-page-2"),
    ]
    assert warnings == ["page 'page-2': route '/about' is another page's; it moved to '/about-page-2'"]


ids = st.lists(
    st.text(st.sampled_from("ab.-_é/\\ assets"), min_size=1, max_size=8) | st.just("x" * 128),
    unique=True,
    max_size=8,
)


@given(ids, st.sampled_from(["/", "/about", "/" + "a" * 60, "/about-a", "/a" * 190]))
def test_every_page_gets_a_route_of_its_own_that_is_one(page_ids: list[str], route: str) -> None:
    pages = [at(page_id, route) for page_id in page_ids] + [at("zz", "/about-a")]
    moved, warnings = unique_routes(pages)
    assert len({one.route for one in moved}) == len(pages)
    assert not any(route_fault(one.route) for one in moved)
    before = {one.id: one.route for one in pages}
    assert len(warnings) == sum(one.route != before[one.id] for one in moved)
    assert unique_routes(list(reversed(pages))) == (moved, warnings)


def test_the_table_of_routes_names_every_page() -> None:
    table = json.loads(routes_json([at("p1", "/", "Accueil"), at("p2", "/about", "</script>")]))
    assert table["routes"][1] == {
        "route": "/about", "path": "about/index.html", "page_id": "p2", "title": "</script>",
    }  # fmt: skip


@pytest.mark.parametrize("minify", [False, True])
def test_a_site_without_a_first_page_lists_its_pages(minify: bool) -> None:
    routes = site_routes([at("p1", "/about", "À propos"), at("p2", "/blog/2026")])
    html = index_page(Site("Boutique", "fr", routes), minify)
    assert [link["href"] for link in elements(html, "a")] == ["about/", "blog/2026/"]
    assert "À propos" in text_of(html)
    assert "n’a pas encore de page" in text_of(index_page(Site("Boutique"), minify))


@pytest.mark.parametrize("minify", [False, True])
def test_the_page_for_missing_addresses_needs_no_other_file(minify: bool) -> None:
    html = not_found_page(Site("Boutique", "en"), minify)
    assert "Page not found" in text_of(html)
    assert not any(
        "href" in one or "src" in one for tag in ("link", "script", "img", "a") for one in elements(html, tag)
    )
    assert "Page introuvable" in text_of(not_found_page(Site("Boutique"), minify))


def schema(*fields: dict[str, Any], children: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    form = component("Form", {"title": "Contact", "fields": list(fields)}, children=list(children))
    nested = component("Container", children=[form])
    (found,) = form_schemas([load_page(page(nested))]).items()
    assert found[0] == "page-1..form"
    return found[1]


def test_a_form_becomes_a_json_schema() -> None:
    found = schema(
        {"name": "name", "type": "text", "label": "Nom", "required": True},
        {"name": "email", "type": "email", "label": "Courriel", "required": True},
        {"name": "age", "type": "number", "label": "Âge"},
        {"name": "ok", "type": "checkbox", "label": "D’accord", "required": True},
        {"name": "size", "type": "select", "label": "Taille", "options": ["S", {"value": "m", "label": "M"}]},
        {"name": "tags", "type": "select", "label": "Sujets", "options": ["a", "b"], "multiple": True},
        {"name": "day", "type": "date", "label": "Jour"},
    )
    assert found["title"] == "Contact"
    assert found["required"] == ["email", "name", "ok"]
    assert found["properties"] == {
        "name": {"title": "Nom", "type": "string", "minLength": 1},
        "email": {"title": "Courriel", "type": "string", "format": "email"},
        "age": {"title": "Âge", "type": "number"},
        "ok": {"title": "D’accord", "type": "boolean", "const": True},
        "size": {"title": "Taille", "type": "string", "enum": ["S", "m"]},
        "tags": {"title": "Sujets", "type": "array", "items": {"type": "string", "enum": ["a", "b"]},
                 "uniqueItems": True, "minItems": 0},
        "day": {"title": "Jour", "type": "string", "format": "date"},
    }  # fmt: skip


def test_fields_that_stand_inside_a_form_belong_to_its_schema() -> None:
    found = schema(children=(component("Textarea", {"label": "Note", "required": True}),))
    assert found["properties"] == {"textarea": {"title": "Note", "type": "string", "minLength": 1}}
    assert found["required"] == ["textarea"]


def test_a_schemas_name_is_fit_for_a_file() -> None:
    wild = load_page({**page(component("Form") | {"id": "../../x\x00" * 10}), "id": "../p"})
    (name,) = form_schemas([wild])
    assert "/" not in name
    assert name.isprintable()
    assert len(name) < 210
