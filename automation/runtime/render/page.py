"""Whole HTML documents, and the style sheet and script that they share."""

from functools import lru_cache
from importlib.resources import files

import minify_html
from markupsafe import Markup

from automation.runtime.documents import Component, Page, Styles, walk
from automation.runtime.render import css
from automation.runtime.render.basic import text_variant
from automation.runtime.render.components import draw
from automation.runtime.render.html import fragment, h, minified
from automation.runtime.render.texts import TEXTS
from automation.runtime.render.urls import to_root
from automation.runtime.render.view import Site, View

__all__ = ["Site", "linked_document", "lone_document", "render_page", "site_css", "site_js"]

# No script but the site's own file, and nothing else that runs; style attributes are ours (render.css).
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
    "img-src 'self' data: https: http:; media-src 'self' https: http:; font-src 'self'; "
    "form-action 'none'; base-uri 'none'"
)
_POLICY_ALONE = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"


def render_page(page: Page, *, site: Site, minify: bool) -> str:
    """The HTML document of one page, to be written to its `page_path`."""
    components = page.config.components
    heading = _heading(components)
    view = View(site, page.route, frozenset(route for route, _ in site.routes) | {page.route}, heading, draw)
    title = page.name.strip() or site.project_name
    main = h(
        "main",
        None if heading else h("h1", title, class_="hidden"),
        h("div", draw(components, view), class_="grid"),
        class_="page",
    )
    return linked_document(title, page.route, main, site, minify, style=_theme(page.config.styles))


def linked_document(title: str, route: str, main: Markup, site: Site, minify: bool, style: str | None = None) -> str:
    """A document at that route, with the style sheet and the script that all pages share."""
    root = to_root(route)
    head = fragment(
        _policy(_POLICY),
        h("link", rel="stylesheet", href=f"{root}assets/site.css"),
        h("script", src=f"{root}assets/site.js", defer=True),
    )
    return _document(title, main, site, minify, head, style)


def lone_document(title: str, main: Markup, site: Site, minify: bool) -> str:
    """A document that may be shown under any address, since it needs no other file."""
    css_text = Markup(site_css(minify=True))  # noqa: S704 (our own file)
    return _document(title, main, site, minify, fragment(_policy(_POLICY_ALONE), h("style", css_text)))


def _policy(policy: str) -> Markup:
    return h("meta", http_equiv="Content-Security-Policy", content=policy)


def _document(title: str, main: Markup, site: Site, minify: bool, head: Markup, style: str | None = None) -> str:
    name = site.project_name
    whole = h(
        "html",
        h(
            "head",
            h("meta", charset="utf-8"),
            h("meta", name="viewport", content="width=device-width, initial-scale=1"),
            head,
            h("title", f"{title} – {name}" if name and name != title else title),
        ),
        h("body", main, style=style),
        lang=site.language if site.language in TEXTS else "fr",
    )
    html = f"<!doctype html>\n{whole}\n"
    return minified(html) if minify else html


def _heading(components: list[Component]) -> str:
    """The component that holds the page's h1: the first header, else the first text that asks for it."""
    every = sorted(walk(components), key=lambda one: one.type != "Header")
    wants = (one.id for one in every if one.type == "Header" or (
        one.type == "Text" and text_variant(one.config) == "h1"))  # fmt: skip
    return next(wants, "")


def _theme(styles: Styles) -> str | None:
    primary = styles.primaryColor
    theme = {
        "--primary": css.color(primary),
        "--on-primary": css.readable_on(primary),
        "--font": css.font_family(styles.fontFamily),
        "--space": css.spacing(styles.spacing),
    }
    return css.declarations(theme) or None


@lru_cache
def site_css(minify: bool) -> str:
    """The style sheet that all pages share."""
    text = _packaged("site.css")
    if not minify:
        return text
    wrapped = minify_html.minify(f"<style>{text}</style>", minify_css=True, keep_closing_tags=True)
    return wrapped.removeprefix("<style>").removesuffix("</style>")


@lru_cache
def site_js(minify: bool) -> str:
    """The script that all pages share; minified, it has no comment lines and no indentation."""
    text = _packaged("site.js")
    if not minify:
        return text
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def _packaged(name: str) -> str:
    return files("automation.runtime.render").joinpath(name).read_text("utf-8")
