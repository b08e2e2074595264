"""Making HTML that cannot be broken into: the only module that turns text into markup."""

import hashlib
import re
from collections.abc import Callable, Iterable

import minify_html
import nh3
from markupsafe import Markup, escape

Content = str | None | Iterable["Content"]
Value = str | int | float | bool | None

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "source", "track"})
# Characters that HTML forbids in text, and halves of surrogate pairs, which no file can hold.
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
# Attributes hold no `<` or `>` of their own: `h` escapes them, and `safe_url` encodes them.
_RAW_TEXT = re.compile(r"<(title|textarea)\b([^<>]*)>(.*?)</\1>", re.DOTALL)
_RICH_TAGS = {
    "a", "b", "blockquote", "br", "code", "dd", "del", "dl", "dt", "em", "h2", "h3", "h4", "h5", "h6",
    "hr", "i", "ins", "kbd", "li", "mark", "ol", "p", "pre", "q", "s", "small", "span", "strong", "sub",
    "sup", "u", "ul",
}  # fmt: skip


def h(tag: str, *children: Content, **attributes: Value) -> Markup:
    """One element. Every text and attribute value is escaped, unless it is markup already.

    Attribute names are Python's: `class_` is `class`, `aria_label` is `aria-label`. A value of None or False
    leaves the attribute out, True writes it without a value. Names never come from a document.
    """
    written = "".join(
        f" {name.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_escape(str(value))}"')
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    start = f"<{tag}{written}>"
    return Markup(start if tag in _VOID else f"{start}{fragment(*children)}</{tag}>")  # noqa: S704 (escaped above)


def fragment(*children: Content) -> Markup:
    """The children one after the other, texts escaped."""
    return Markup("").join(
        _escape(one) if isinstance(one, str) else fragment(*one) for one in children if one is not None
    )


def _escape(text: str) -> Markup:
    return text if isinstance(text, Markup) else escape(_FORBIDDEN.sub("\ufffd", text))


def paragraphs(text: str) -> Markup:
    """Plain text as paragraphs: a blank line begins a new one, a line break stays a line break."""
    blocks = [block.strip("\n") for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n"))]
    return fragment([h("p", _lines(block)) for block in blocks if block.strip()])


def _lines(block: str) -> list[Content]:
    lines: list[Content] = []
    for line in block.split("\n"):
        lines += [h("br"), line] if lines else [line]
    return lines


def rich_text(text: str, href: Callable[[object], str | None]) -> Markup:
    """Formatted text from Studio's editor: harmless elements stay, everything else goes.

    Args:
        href: makes a link's address safe and relative, or None to take it away.
    """

    clean = nh3.clean(
        _FORBIDDEN.sub("\ufffd", text),
        tags=_RICH_TAGS,
        attributes={"a": {"href"}},
        attribute_filter=lambda tag, attribute, value: href(value),
        link_rel=None,
        url_schemes={"http", "https", "mailto", "tel"},
    )
    return Markup(clean)  # noqa: S704 (sanitised above)


def element_id(text: str, limit: int = 100) -> str:
    """`text` as part of an element's id or a file's name; distinct texts stay distinct."""
    plain = re.sub(r"[^A-Za-z0-9_-]", lambda match: f".{ord(match.group()):x}.", text)
    if len(plain) <= limit:
        return plain
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{plain[: limit - 17]}.{digest[:16]}"


def minified(page: str) -> str:
    """A document made by `h` without what a browser does not need; its elements and texts stay the same.

    The minifier writes `<` for `&lt;` inside title and textarea. That is correct HTML, but one careless
    reader away from markup, so it never sees what is in these two.
    """
    mark = hashlib.sha256(page.encode()).hexdigest()  # a text that no page can hold
    hidden: list[str] = []

    def hide(match: re.Match[str]) -> str:
        hidden.append(match.group(3))
        tag, attributes = match.group(1, 2)
        return f"<{tag}{attributes}>{mark}-{len(hidden) - 1}-</{tag}>"

    small = minify_html.minify(_RAW_TEXT.sub(hide, page), keep_closing_tags=True, keep_html_and_head_opening_tags=True)
    return re.sub(f"{mark}-([0-9]+)-", lambda match: hidden[int(match.group(1))], small)
