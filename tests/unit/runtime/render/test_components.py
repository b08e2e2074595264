"""Every component type becomes sensible, accessible HTML."""

from datetime import date
from typing import Any

import pytest

from automation.runtime.documents import COMPONENT_TYPES, load_page
from automation.runtime.render.components import RENDERERS
from automation.runtime.render.page import Site, render_page
from tests.unit.runtime.reading import elements, read, text_of
from tests.unit.runtime.samples import component, configs, page

ROUTES = (("/", "Accueil"), ("/about", "À propos"))


def render(*components: dict[str, Any], language: str = "fr", minify: bool = False, **more: Any) -> str:
    site = Site("Boutique", language, ROUTES, built_on=date(2026, 1, 15))
    return render_page(load_page(page(*components, **more)), site=site, minify=minify)


def test_every_type_has_a_renderer() -> None:
    assert set(RENDERERS) == COMPONENT_TYPES


@pytest.mark.parametrize("minify", [False, True])
@pytest.mark.parametrize("kind", sorted(COMPONENT_TYPES))
def test_every_type_is_well_formed_with_a_full_and_with_an_empty_config(kind: str, minify: bool) -> None:
    for config in (configs("Bonjour")[kind], {}):
        html = render(component(kind, config), minify=minify)
        ids = [attributes["id"] for _, attributes in read(html).elements if "id" in attributes]
        assert len(set(ids)) == len(ids)
        assert f"c-{kind.lower()}" in ids
        assert {label["for"] for label in elements(html, "label")} <= set(ids)
        named = {attributes.get("aria-labelledby") for _, attributes in read(html).elements} - {None}
        assert named <= set(ids)
        assert all("alt" in image for image in elements(html, "img"))


def test_a_component_stands_at_its_place_on_the_grid() -> None:
    html = render(component("Text") | {"position": {"x": 3, "y": 2, "width": 6, "height": 4}})
    (found,) = (one for one in elements(html, "div") if one.get("id") == "c-text")
    assert found["class"] == "c c-Text"
    assert found["style"] == "--x:4;--y:3;--w:6;--h:4"


def test_components_follow_each_other_row_by_row_for_small_screens_and_screen_readers() -> None:
    def at(x: int, y: int, content: str) -> dict[str, Any]:
        position = {"x": x, "y": y, "width": 6, "height": 1}
        return component("Text", {"content": content}) | {"id": content, "position": position}

    text = text_of(render(at(6, 1, "quatre"), at(0, 1, "trois"), at(6, 0, "deux"), at(0, 0, "un")))
    assert text.endswith("un deux trois quatre")


def test_a_header_is_the_heading_of_its_page_and_there_is_only_one() -> None:
    html = render(
        component("Header", {"title": "Un"}),
        component("Header", {"title": "Deux"}) | {"id": "second"},
        component("Text", {"content": "Trois", "variant": "h1"}),
    )
    assert "<h1>Un</h1>" in html
    assert "<h2>Deux</h2>" in html
    assert "<h2>Trois</h2>" in html
    assert len(elements(html, "h1")) == 1


def test_a_page_without_a_header_has_its_name_as_heading_for_screen_readers() -> None:
    assert '<h1 class="hidden">Accueil</h1>' in render(component("Text", {"content": "x"}))
    assert "<h1>Bonjour</h1>" in render(component("Text", {"content": "Bonjour", "variant": "h1"}))


def test_plain_text_keeps_its_line_breaks_and_shows_markup_as_text() -> None:
    html = render(component("Text", {"content": "Un\nDeux\n\nTrois <b>"}))
    assert "<p>Un<br>Deux</p><p>Trois &lt;b&gt;</p>" in html


def test_formatted_text_keeps_its_format() -> None:
    html = render(component("Text", {"html": '<p>Un <b>mot</b> <a href="/about">lien</a><script>x</script></p>'}))
    assert '<p>Un <b>mot</b> <a href="about/">lien</a></p>' in html


def test_a_form_binds_labels_and_says_what_is_required() -> None:
    html = render(
        component(
            "Form",
            {
                "fields": [
                    {"name": "email", "type": "email", "label": "Courriel", "required": True},
                    {
                        "name": "size",
                        "type": "select",
                        "label": "Taille",
                        "options": ["S", {"value": "m", "label": "M"}],
                    },
                    {"name": "news", "type": "checkbox", "label": "Lettre"},
                    {"name": "pay", "type": "radio", "label": "Paiement", "options": ["Carte", "Virement"]},
                    {"name": "note", "type": "textarea", "label": "Note"},
                ],
                "submitText": "Commander",
                "successMessage": "C’est noté",
            },
        )
    )
    email = next(one for one in elements(html, "input") if one["name"] == "email")
    assert (email["type"], "required" in email) == ("email", True)
    assert f'<label for="{email["id"]}">Courriel <abbr title="obligatoire" class="required">*</abbr></label>' in html
    assert '<option value="m">M</option>' in html
    assert "<legend>Paiement</legend>" in html
    assert [one["type"] for one in elements(html, "input")] == ["email", "checkbox", "radio", "radio"]
    assert '<button type="submit">Commander</button>' in html
    assert elements(html, "output")[0]["data-message"] == "C’est noté"


def test_a_field_of_its_own_inside_a_form_belongs_to_it() -> None:
    inner = component("Input", {"label": "Nom", "name": "nom", "inputType": "tel"})
    html = render(component("Form", children=[inner]))
    assert html.index("<form") < html.index('name="nom"') < html.index("</form>")
    assert elements(html, "input")[0]["type"] == "tel"


def test_tabs_work_without_a_script() -> None:
    html = render(
        component(
            "Tabs",
            {"tabs": [{"label": "Un", "content": "A"}, {"label": "Deux", "content": "B"}]},
            children=[component("Text", {"content": "C"}), component("Divider")],
        )
    )
    first, second = elements(html, "input")
    assert first["name"] == second["name"]
    assert ("checked" in first, "checked" in second) == (True, False)
    assert text_of(html).endswith("Un A C Deux B")


def test_a_table_has_a_caption_and_column_headings() -> None:
    columns = [{"key": "n", "label": "Nom"}, {"key": "p", "label": "Prix"}]
    html = render(component("Table", {"caption": "Tarifs", "columns": columns, "rows": [{"n": "Thé", "p": 3.5}]}))
    assert "<caption>Tarifs</caption>" in html
    assert [one["scope"] for one in elements(html, "th")] == ["col", "col"]
    assert "<td>Thé</td><td>3.5</td>" in html


@pytest.mark.parametrize("kind", ["bar", "line", "pie"])
@pytest.mark.parametrize(
    "data",
    [
        {"data": [{"label": "Jan", "value": 10}, {"label": "Fév", "value": 20}]},
        {"labels": ["Jan", "Fév"], "values": [10, 20]},
        {"data": {"labels": ["Jan", "Fév"], "datasets": [{"label": "Ventes", "data": [10, 20]}]}},
    ],
)
def test_a_chart_is_drawn_and_its_figures_stand_in_a_table(kind: str, data: dict[str, Any]) -> None:
    html = render(component("Chart", {"title": "Ventes", "chartType": kind, **data}))
    assert elements(html, "svg")[0]["role"] == "img"
    assert len(elements(html, {"bar": "rect", "line": "polyline", "pie": "path"}[kind])) == (1 if kind == "line" else 2)
    assert "<td>Jan</td><td>10</td></tr><tr><td>Fév</td><td>20</td>" in html


@pytest.mark.parametrize("kind", ["bar", "line", "pie"])
@pytest.mark.parametrize(
    "values",
    [[], [0, 0], [-3, -2], [1e308, -1e308], [1e308, 1e308], ["x", None, {}], [float("inf"), 1], [5e-324]],
)
def test_a_chart_of_strange_figures_is_still_drawn(kind: str, values: list[Any]) -> None:
    html = render(component("Chart", {"chartType": kind, "labels": [], "values": values}))
    drawing = [
        value for tag, one in read(html).elements if tag in {"rect", "polyline", "path"} for value in one.values()
    ]
    assert not any("nan" in value or "inf" in value for value in drawing)


def test_a_calendar_is_a_table_of_its_month_with_its_events() -> None:
    config = {"month": "2026-02", "events": [{"date": "2026-02-14", "title": "Fête", "href": "/about"}]}
    html = render(component("Calendar", config))
    assert "<caption>février 2026</caption>" in html
    assert '<time datetime="2026-02-14">14</time><ul><li><a href="about/">Fête</a></li></ul>' in html
    assert len(elements(html, "time")) == 28


@pytest.mark.parametrize(
    ("config", "month"),
    [
        ({}, "January 2026"),
        ({"year": 2027, "month": 3}, "March 2027"),
        ({"month": "2026-13"}, "January 2026"),
        ({"events": [{"date": "2025-06-01", "title": "x"}]}, "June 2025"),
        ({"date": "9999-12-31"}, "December 9999"),
    ],
)
def test_a_calendar_without_a_usable_month_takes_a_sensible_one(config: dict[str, Any], month: str) -> None:
    assert f"<caption>{month}</caption>" in render(component("Calendar", config), language="en")


def test_pagination_shows_a_window_of_a_million_pages() -> None:
    html = render(component("Pagination", {"totalPages": 10**9, "currentPage": 500, "href": "/about?page={page}"}))
    assert len(elements(html, "li")) == 11
    current = [one for one in elements(html, "a") if one.get("aria-current") == "page"]
    assert [one["href"] for one in current] == ["about/?page=500"]


def test_a_menu_without_items_lists_the_pages_and_marks_the_current_one() -> None:
    html = render(component("Menu"))
    assert '<a href="./" aria-current="page">Accueil</a>' in html
    assert '<a href="about/">À propos</a>' in html


def test_a_breadcrumb_ends_with_the_current_page() -> None:
    html = render(component("Breadcrumb", {"items": [{"label": "Accueil", "href": "/"}, {"label": "Thés"}]}))
    assert "<ol>" in html
    assert '<span aria-current="page">Thés</span>' in html


def test_media_and_images_that_may_not_be_loaded_leave_a_note() -> None:
    for kind in ("Image", "Video", "Audio"):
        html = render(component(kind, {"src": "javascript:alert(1)", "caption": "Légende"}))
        assert 'class="missing"' in html
        assert "<figcaption>Légende</figcaption>" in html


def test_children_stand_inside_their_container() -> None:
    html = render(component("Container", {"title": "Boîte"}, children=[component("Text", {"content": "dedans"})]))
    assert html.index("<section") < html.index("dedans") < html.index("</section>")


def test_a_grid_with_columns_lets_its_children_flow() -> None:
    html = render(component("Grid", {"columns": 3, "gap": "small"}))
    assert '<div class="flow" style="--cols:3;--gap:.5rem">' in html


def test_a_type_that_nobody_knows_still_shows_what_is_inside() -> None:
    html = render(component('Evil"><script>', children=[component("Text", {"content": "dedans"})]))
    assert "c-unknown" in html
    assert "dedans" in html


def test_a_position_off_the_grid_is_drawn_on_it() -> None:
    wild = component("Text") | {"position": {"x": -5, "y": -1, "width": 99, "height": 10**9}}
    assert "--x:1;--y:1;--w:12;--h:10000" in render(wild)


def test_fixed_texts_follow_the_language_and_are_french_otherwise() -> None:
    form = component("Form")
    assert ">Envoyer<" in render(form)
    assert ">Submit<" in render(form, language="en")
    assert ">Envoyer<" in render(form, language="<xx>")
    assert '<html lang="fr">' in render(form, language="<xx>")


def test_component_styles_are_written_and_a_background_gets_a_readable_text() -> None:
    html = render(
        component("Text", styles={"backgroundColor": "navy", "padding": 16, "textAlign": "center", "zoom": 3})
    )
    assert "background-color:#000080;padding:16px;text-align:center;color:#fff" in html
