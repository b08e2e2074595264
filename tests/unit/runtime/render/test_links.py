"""Addresses and links: what is allowed, and that sites work wherever they are put."""

from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.runtime.documents import load_page
from automation.runtime.render.page import Site, render_page
from automation.runtime.render.urls import relative_link, safe_url
from automation.runtime.structure import page_path
from tests.unit.runtime.reading import elements
from tests.unit.runtime.samples import component, page

PIXEL = "data:image/png;base64,iVBORw0KGgo="
routes = st.lists(st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True), max_size=4).map(
    lambda names: "/" + "/".join(names)
)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://example.com/a b?c=1#d", "https://example.com/a%20b?c=1#d"),
        ("HTTP://example.com", "HTTP://example.com"),
        ("mailto:a@example.com", "mailto:a@example.com"),
        ("tel:+33123456789", "tel:+33123456789"),
        ("/about?x=a:b", "/about?x=a:b"),
        ("images/a:b.png", "images/a:b.png"),
        ("/a<b>\"c'`", "/a%3Cb%3E%22c%27%60"),
        ("#top", "#top"),
        (PIXEL, None),
    ],
)
def test_links_that_are_allowed(url: str, safe: str | None) -> None:
    assert safe_url(url) == safe


def test_small_images_may_stand_in_the_address() -> None:
    assert safe_url(PIXEL, image=True) == PIXEL
    assert safe_url("data:image/svg+xml;base64,PHN2Zz4=", image=True) is None
    assert safe_url("data:image/png;base64,<script>", image=True) is None
    assert safe_url("data:text/html;base64,PHN2Zz4=", image=True) is None


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JAVASCRIPT:alert(1)",
        " javascript:alert(1)",
        "java\tscript:alert(1)",
        "java\nscript:x",
        "\x01javascript:x",
        "javascript\x00:x",
        "\u00a0javascript:x",
        "\u200bjavascript:x",
        "\u2028javascript:x",
        "\ufeffjavascript:x",
        "java\u00adscript:x",
        "vbscript:x",
        "data:text/html,x",
        "file:///etc/passwd",
        "blob:x",
        "view-source:javascript:x",
        "&#106;avascript:x",
        "jar:x",
        "\\\\evil.example",
        "",
        "  ",
        None,
        3,
        [],
        {},
        True,
    ],
)
def test_addresses_that_are_refused(url: object) -> None:
    assert safe_url(url) is None


@given(st.text(st.sampled_from("javscript:\t\n\x00 \u200bJAVSCRIPT&;#x6a/\\"), min_size=1, max_size=24))
def test_no_spelling_of_a_script_gets_through(url: str) -> None:
    safe = safe_url(url) or ""
    assert not safe.lower().replace("%20", "").startswith("javascript:")


@pytest.mark.parametrize(
    ("start", "target", "link"),
    [
        ("/", "/about", "about/"),
        ("/about", "/contact", "../contact/"),
        ("/about", "/", "../"),
        ("/", "/", "./"),
        ("/blog/2026", "/about", "../../about/"),
    ],
)
def test_links_between_pages_are_relative(start: str, target: str, link: str) -> None:
    assert relative_link(start, target) == link


@given(routes, routes, st.sampled_from(["/", "/project-1/", "/a/b/c/"]))
def test_a_link_leads_to_its_page_under_any_base_path(start: str, target: str, base: str) -> None:
    here = f"https://example.com{base}" + page_path(start).removesuffix("index.html")
    there = f"https://example.com{base}" + page_path(target).removesuffix("index.html")
    assert urljoin(here, relative_link(start, target)) == there


@pytest.mark.parametrize("minify", [False, True])
def test_a_page_below_the_root_finds_other_pages_and_its_files(minify: bool) -> None:
    links = [
        {"label": name, "href": name} for name in ("/", "/about/", "/blog/2026#une", "/ailleurs", "https://x.example")
    ]
    one = {**page(component("Menu", {"items": links})), "route": "/blog/2026"}
    site = Site("Blog", "fr", (("/", "Accueil"), ("/about", "Infos"), ("/blog/2026", "2026")))
    html = render_page(load_page(one), site=site, minify=minify)
    assert [link["href"] for link in elements(html, "a")] == [
        "../../",
        "../../about/",
        "../../blog/2026/#une",
        "/ailleurs",
        "https://x.example",
    ]
    assert elements(html, "link")[0]["href"] == "../../assets/site.css"
    assert elements(html, "script")[0]["src"] == "../../assets/site.js"
