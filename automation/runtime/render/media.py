"""Gallery, Video, Audio."""

from markupsafe import Markup

from automation.runtime.documents import Component
from automation.runtime.render import css
from automation.runtime.render.basic import figure
from automation.runtime.render.html import Content, Value, h
from automation.runtime.render.urls import safe_url
from automation.runtime.render.view import View
from automation.runtime.values import entries, flag, text, whole


def gallery(component: Component, view: View) -> Markup:
    """{images[] {src, alt, caption?} or addresses, columns?}"""
    config = component.config
    images = [{"src": one.get("label"), **one} for one in entries(config, "images", "items")]
    columns = whole(config, "columns", low=1, high=12, default=3)
    title = text(config, "title", "caption")
    return h(
        "figure",
        h("figcaption", title) if title else None,
        h("ul", [h("li", figure(one, view)) for one in images], style=css.declarations({"--cols": columns})),
    )


def video(component: Component, view: View) -> Markup:
    """{src, poster?, title?, caption?, captions? (a WebVTT address), loop?, muted?}"""
    config = component.config
    track = safe_url(config.get("captions"))
    return _player(
        "video",
        component,
        view,
        h("track", kind="captions", src=track, srclang=view.site.language, default=True) if track else None,
        poster=view.image_of(config, "poster", "image"),
        playsinline=True,
    )


def audio(component: Component, view: View) -> Markup:
    """{src, title?, caption?, loop?}"""
    return _player("audio", component, view)


def _player(tag: str, component: Component, view: View, *inside: Content, **more: Value) -> Markup:
    config = component.config
    source = next((url for name in ("src", "url") if (url := safe_url(config.get(name)))), None)
    title, caption = text(config, "title", "alt"), text(config, "caption", "title")
    player = (
        h(
            tag,
            *inside,
            h("a", view.text("download"), href=source),
            src=source,
            controls=True,
            preload="metadata",
            loop=flag(config, "loop"),
            muted=flag(config, "muted"),
            aria_label=title or None,
            **more,
        )
        if source
        else h("p", title or view.text("no_media"), class_="missing")
    )
    return h("figure", player, h("figcaption", caption) if caption else None)
