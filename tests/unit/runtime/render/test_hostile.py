"""Whatever a document says, nothing in the page runs but the site's own script."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.errors import ValidationError
from automation.runtime.documents import COMPONENT_TYPES, Page, load_page
from automation.runtime.render.page import Site, render_page
from automation.runtime.structure import index_page, not_found_page
from tests.unit.runtime.reading import active_content, read, text_of
from tests.unit.runtime.samples import component, configs, page

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "` onmouseover=alert(1) x=`",
    '" onfocus="alert(1)" autofocus="',
    "' onfocus='alert(1)' autofocus='",
    "javascript:alert(1)",
    " \tJaVa\nScRiPt\x01:alert(1)",
    "\u200bjavascript:alert(1)",
    "javascript&colon;alert(1)",
    "&#106;avascript:alert(1)",
    "vbscript:msgbox(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+",
    "data:image/png,<script>alert(1)</script>",
    "'; DROP TABLE pages; --",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "</style><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</svg><script>alert(1)</script>",
    "<!--<script>alert(1)</script>-->",
    "]]><script>alert(1)</script>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&amp;lt;script&amp;gt;alert(1)",
    "red;background:url(javascript:alert(1))",
    "expression(alert(1))",
    "url(javascript:alert(1))",
    "#fff}</style><script>alert(1)</script>",
    "\x00<\x00script>alert(1)</script>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<base href=https://evil.example/><meta http-equiv=refresh content=0>",
    "h1 onclick=alert(1)",
    "<title></title><textarea></textarea>",
    "<textarea>\"></textarea><title>'>",
    '<a href="<title><textarea>">x</a></title></textarea>',
]
STYLES = (
    "color",
    "backgroundColor",
    "padding",
    "margin",
    "fontFamily",
    "fontSize",
    "borderRadius",
    "textAlign",
)


def hostile_page(kind: str, text: str) -> dict[str, Any]:
    inner = component("Text", {"content": text, "html": text}) | {"id": f"inner {text}"}
    outer = component(kind, configs(text)[kind], styles=dict.fromkeys(STYLES, text), children=[inner])
    theme = {"primaryColor": text, "fontFamily": text, "spacing": text}
    return page(outer | {"id": text}, name=text, config={"styles": theme, "layout": text, "breakpoints": text})


def render(document: dict[str, Any], text: str, minify: bool) -> str:
    # Past the checks: rendering stands on its own.
    return render_page(Page.model_validate(document), site=Site(text, text, ((text, text),)), minify=minify)


@pytest.mark.parametrize("minify", [False, True], ids=["plain", "minified"])
@pytest.mark.parametrize("kind", sorted(COMPONENT_TYPES))
def test_hostile_text_in_every_field_stays_text(kind: str, minify: bool) -> None:
    for text in HOSTILE:
        html = render(hostile_page(kind, text), text, minify)
        assert active_content(html) == []
        assert "49" not in text_of(html)
        html.encode()
        assert "\x00" not in html


@pytest.mark.parametrize("minify", [False, True], ids=["plain", "minified"])
def test_the_sites_own_pages_are_as_safe(minify: bool) -> None:
    for text in HOSTILE:
        site = Site(text, text, (("/about", text),))
        assert active_content(index_page(site, minify)) == []
        assert set(active_content(not_found_page(site, minify))) <= {"style"}


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&lt;b&gt; &amp;amp;"])
@pytest.mark.parametrize("minify", [False, True], ids=["plain", "minified"])
def test_hostile_text_can_be_read_as_it_was_typed(text: str, minify: bool) -> None:
    html = render(page(component("Text", {"content": text}), component("Header", {"title": text})), "x", minify)
    assert text_of(html).count(text) == 2


pieces = [
    "<title>",
    "</title>",
    "<textarea>",
    "</textarea>",
    "<!--",
    "-->",
    "&lt;",
    "&amp;",
    "&#60",
    "<p a='",
    '<a href="',
]
# No blanks but the ordinary one: Python's parser, unlike a browser, ends an unquoted value at any of them.
words = st.lists(
    st.text(
        st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]) | st.sampled_from("<>&\"'`=/;#x3c -"),
        max_size=9,
    )
    | st.sampled_from(pieces),
    max_size=8,
).map("".join)


@given(words, words)
def test_minifying_changes_neither_elements_nor_attributes_nor_words(one: str, other: str) -> None:
    document = page(
        component("Card", {"title": one, "content": other, "link": f"https://example.com/{one}"}),
        component("Input", {"label": other, "name": one, "placeholder": other, "value": one}),
        component("Textarea", {"value": other}),
        component("Text", {"html": one + other}),
    )
    plain, small = (render(document, one, minify) for minify in (False, True))

    def significant(html: str) -> list[Any]:
        # A minifier may drop an attribute that has its default value, and order and blanks as it likes.
        defaults = {("type", "text"), ("type", "submit"), ("value", ""), ("style", "")}
        return [
            (
                tag,
                {name: "".join(value.split()) for name, value in one.items() if (name, value) not in defaults},
            )
            for tag, one in read(html).elements
        ]

    assert significant(plain) == significant(small)
    assert "".join(text_of(plain).split()) == "".join(text_of(small).split())


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | words,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(sorted(COMPONENT_TYPES)),
)
def test_fields_of_a_wrong_kind_never_break_a_page(value: Any, kind: str) -> None:
    config = dict.fromkeys(configs("x")[kind], value)
    document = page(component(kind, config, styles=dict.fromkeys(STYLES, value)))
    assert active_content(render(document, "x", False)) == []


def test_lone_surrogates_are_refused_before_they_are_rendered() -> None:
    with pytest.raises(ValidationError, match="not plain JSON"):
        load_page(page(component("Text", {"content": "\ud800"})))
