"""Grid, Container, Divider, Spacer."""

from markupsafe import Markup

from automation.runtime.documents import COLUMNS, Component
from automation.runtime.render import css
from automation.runtime.render.html import h
from automation.runtime.render.view import View, part_id
from automation.runtime.values import text, whole


def grid(component: Component, view: View) -> Markup:
    """{columns?, gap?}: with `columns` the children flow into that many, else each stands at its position."""
    columns = whole(component.config, "columns", "cols", low=0, high=COLUMNS, default=0)
    style = {"--cols": columns or None, "--gap": css.spacing(component.config.get("gap"))}
    return h(
        "div",
        view.children(component),
        class_="flow" if columns else "grid",
        style=css.declarations(style) or None,
    )


def container(component: Component, view: View) -> Markup:
    """{title?, maxWidth?}"""
    config = component.config
    title, title_id = text(config, "title", "label"), part_id(component, "title")
    return h(
        "section",
        h("h2", title, id=title_id) if title else None,
        h("div", view.children(component), class_="grid"),
        class_="container",
        style=css.declarations({"--max": css.length(config.get("maxWidth"))}) or None,
        aria_labelledby=title_id if title else None,
    )


def divider(component: Component, view: View) -> Markup:
    """{label?}"""
    label = text(component.config, "label", "text")
    return h("div", h("span", label), class_="divider") if label else h("hr")


def spacer(component: Component, view: View) -> Markup:
    """{height? or size?}"""
    config = component.config
    height = css.spacing(config.get("height")) or css.spacing(config.get("size"))
    return h("div", class_="spacer", style=css.declarations({"--size": height}) or None, aria_hidden="true")
