"""Whole pages, their theme, and the files that they share."""

import pytest

from automation.runtime.documents import load_page
from automation.runtime.render import css
from automation.runtime.render.html import element_id
from automation.runtime.render.page import Site, render_page, site_css, site_js
from automation.runtime.render.texts import TEXTS
from tests.unit.runtime.reading import elements
from tests.unit.runtime.samples import component, configs, page

SITE = Site("Boutique", "en")


def test_a_page_is_a_complete_document() -> None:
    html = render_page(load_page(page()), site=SITE, minify=False)
    assert html.startswith('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">')
    assert "<title>Accueil – Boutique</title>" in html
    assert elements(html, "main")[0]["class"] == "page"
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in elements(html, "meta")


def test_the_policy_of_a_page_forbids_inline_scripts() -> None:
    for minify in (False, True):
        html = render_page(load_page(page()), site=SITE, minify=minify)
        policy = next(one["content"] for one in elements(html, "meta") if "http-equiv" in one)
        assert "script-src 'self';" in policy
        assert "default-src 'none';" in policy


def test_minifying_makes_a_page_smaller() -> None:
    document = load_page(page(*(component(kind, config) for kind, config in configs("Bonjour").items())))
    plain, small = (render_page(document, site=SITE, minify=minify) for minify in (False, True))
    assert len(small) < len(plain)


def test_a_theme_is_written_as_checked_values() -> None:
    styles = {"primaryColor": "#FF0000", "fontFamily": "Open Sans, serif", "spacing": "large"}
    html = render_page(load_page(page(config={"styles": styles})), site=SITE, minify=False)
    assert elements(html, "body")[0]["style"] == (
        "--primary:#ff0000;--on-primary:#000;--font:'Open Sans', serif;--space:1.5rem"
    )


def test_a_page_without_a_theme_has_none() -> None:
    html = render_page(load_page(page(config={"styles": {"primaryColor": "red;}"}})), site=SITE, minify=False)
    assert "style" not in elements(html, "body")[0]


@pytest.mark.parametrize(
    ("value", "color"),
    [
        ("#abc", "#aabbcc"),
        ("#AABBCC80", "#aabbcc80"),
        ("Navy", "#000080"),
        ("rgb(1, 2, 3)", "#010203"),
        ("rgba(0, 0, 0, 0.5)", "#00000080"),
        ("rgba(300, 0, 0, .5)", "#ff000080"),
        ("hsl(0, 100%, 50%)", "#ff0000"),
        ("transparent", "#00000000"),
        ("expression(alert(1))", None),
        ("url(x)", None),
        ("red;x:y", None),
        ("var(--x)", None),
        ("", None),
        (3, None),
        (None, None),
        ("#ggg", None),
        ("#fff" * 100, None),
        ("rgb(1,2,3);}", None),
        ("red\n;", None),
    ],
)
def test_only_colours_are_colours(value: object, color: str | None) -> None:
    assert css.color(value) == color


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (8, "8px"),
        ("8", "8px"),
        ("1.5rem", "1.5rem"),
        ("50%", "50%"),
        (0, "0px"),
        (12.5, "12.5px"),
        ("-1px", None),
        ("calc(1px)", None),
        ("1px;x", None),
        ("99999px", None),
        (True, None),
        ("1px 2px", None),
        ("١px", None),
    ],
)
def test_only_lengths_are_lengths(value: object, length: str | None) -> None:
    assert css.length(value) == length


def test_padding_takes_up_to_four_lengths() -> None:
    assert css.lengths("1px 2rem 3% 4") == "1px 2rem 3% 4px"
    assert css.lengths("1px 2px 3px 4px 5px") is None
    assert css.lengths("1px url(x)") is None


@pytest.mark.parametrize(
    ("value", "family"),
    [
        ("Inter", "'Inter'"),
        ("'Open Sans', \"Lato\", sans-serif", "'Open Sans', 'Lato', sans-serif"),
        ("Arial; color: red", None),
        ("a</style>", None),
        ("'", None),
        ("", None),
        ("url(x)", None),
        (None, None),
    ],
)
def test_only_names_are_fonts(value: object, family: str | None) -> None:
    assert css.font_family(value) == family


def test_text_on_a_colour_is_the_more_readable_of_black_and_white() -> None:
    assert [css.readable_on(color) for color in ("white", "yellow", "#777", "navy", "black", "none")] == [
        "#000",
        "#000",
        "#000",
        "#fff",
        "#fff",
        None,
    ]


def test_element_ids_are_distinct_and_short() -> None:
    texts = ["a b", "a.20.b", "a-b", "a_b", "é", "e", ".", "..", "<", "x" * 200, "x" * 201]
    ids = [element_id(text) for text in texts]
    assert len(set(ids)) == len(ids)
    assert all(len(one) <= 100 and one.replace(".", "").replace("-", "").replace("_", "").isalnum() for one in ids)


def test_the_style_sheet_is_minified_without_losing_a_rule() -> None:
    plain, small = site_css(False), site_css(True)
    assert len(small) < 0.9 * len(plain)
    assert "<" not in small
    assert "/*" not in small
    for selector in (
        ".c-Pagination",
        ".tabs",
        ".field",
        ":focus-visible",
        "prefers-reduced-motion",
        "prefers-color-scheme",
    ):
        assert selector in small
    assert small.count("{") == small.count("}")


def test_the_script_is_minified_without_losing_a_statement() -> None:
    plain, small = site_js(False), site_js(True)
    assert len(small) < len(plain)
    assert "//" not in small
    assert small.count(";") == plain.count(";")


def test_both_languages_have_the_same_texts() -> None:
    assert TEXTS["fr"].keys() == TEXTS["en"].keys()
    assert all(len(texts["months"].split()) == 12 and len(texts["days"].split()) == 7 for texts in TEXTS.values())
