"""Header, Footer, Card, Image, Text."""

import re

from markupsafe import Markup

from automation.runtime.documents import Component
from automation.runtime.render.html import fragment, h, paragraphs, rich_text
from automation.runtime.render.view import View
from automation.runtime.values import Config, entries, text, whole


def header(component: Component, view: View) -> Markup:
    """{title, subtitle?, logo?, links?}"""
    config = component.config
    title, subtitle = text(config, "title", "text", "content"), text(config, "subtitle", "description")
    logo = view.image_of(config, "logo", "logoUrl", "image")
    level = "h1" if component.id == view.heading else "h2"
    return h(
        "header",
        h("img", class_="logo", src=logo, alt=text(config, "logoAlt")) if logo else None,
        h("div", h(level, title) if title else None, h("p", subtitle) if subtitle else None),
        link_list(config, view),
        view.children(component),
    )


def footer(component: Component, view: View) -> Markup:
    """{text, links?, copyright?}"""
    config = component.config
    rights = text(config, "copyright")
    return h(
        "footer",
        view.prose(config, "text", "content", "title"),
        link_list(config, view),
        h("p", h("small", rights)) if rights else None,
        view.children(component),
    )


def link_list(config: Config, view: View) -> Markup | None:
    """The links of a header or footer, as navigation."""
    links = entries(config, "links", "items", "navigation")
    if not links:
        return None
    return h("nav", h("ul", [h("li", link(one, view)) for one in links]), aria_label=view.text("menu"))


def link(entry: Config, view: View) -> Markup:
    """{label, href}: a link, or a plain text when it leads nowhere."""
    url, label = view.link_of(entry), text(entry, "label", "text", "title", "name")
    if url is None:
        return h("span", label)
    return h("a", label or url, href=url, aria_current="page" if url == view.href(view.route) else None)


def card(component: Component, view: View) -> Markup:
    """{title, content, image?, alt?, link?, linkText?}"""
    config = component.config
    title, url = text(config, "title"), view.link_of(config)
    image = view.image_of(config, "image", "imageUrl", "src")
    more = text(config, "linkText", "buttonText") or title or view.text("read_more")
    return h(
        "article",
        h("img", src=image, alt=text(config, "alt", "imageAlt"), loading="lazy") if image else None,
        h("h3", title) if title else None,
        view.prose(config, "content", "text", "description"),
        view.children(component),
        h("p", h("a", more, class_="button", href=url)) if url else None,
    )


def image(component: Component, view: View) -> Markup:
    """{src, alt, caption?, link?, width?, height?}"""
    return figure(component.config, view)


def figure(config: Config, view: View) -> Markup:
    """An image with its caption; a note in its place when its address may not be used."""
    source, alt = view.image_of(config, "src", "url", "image"), text(config, "alt")
    caption = text(config, "caption", "title")
    size = {name: whole(config, name, low=0, high=10_000, default=0) or None for name in ("width", "height")}
    picture = (
        h("img", src=source, alt=alt, loading="lazy", **size)
        if source
        else h("p", alt or view.text("no_image"), class_="missing")
    )
    url = next((found for name in ("link", "href") if (found := view.href(config.get(name)))), None)
    return h(
        "figure",
        h("a", picture, href=url, aria_label=None if alt else caption or url) if url else picture,
        h("figcaption", caption) if caption else None,
    )


def plain_text(component: Component, view: View) -> Markup:
    """{content, format? "html", variant? "h1".."h6" | "quote" | "code"}"""
    config = component.config
    content, variant = text(config, "content", "text", "value"), text_variant(config)
    if isinstance(config.get("html"), str) or variant == "":
        return fragment(view.prose(config, "content", "text", "value"), view.children(component))
    body: Markup | str = rich_text(content, view.href) if config.get("format") == "html" else content
    if variant == "quote":
        return h("blockquote", body if isinstance(body, Markup) else paragraphs(body))
    if variant == "code":
        return h("pre", h("code", body))
    level = "h2" if variant == "h1" and component.id != view.heading else variant
    return fragment(h(level, body), view.children(component))


def text_variant(config: Config) -> str:
    """`h1`…`h6`, `quote`, `code`, or empty for plain text."""
    wish = text(config, "variant", "tag", "level", "as").lower()
    if re.fullmatch("h?[1-6]", wish):
        return f"h{wish[-1]}"
    return {"quote": "quote", "blockquote": "quote", "code": "code", "pre": "code"}.get(wish, "")
