"""A component of every type, with every field that its renderer reads; texts are given from outside."""

from typing import Any

Json = dict[str, Any]


def configs(text: str) -> dict[str, Json]:
    """type → config, in which every text and every address is `text`."""
    link = {"label": text, "href": text, "text": text, "title": text, "description": text, "url": text}
    choice = {
        "label": text, "name": text, "placeholder": text, "value": text, "help": text, "required": True,
        "inputType": text, "type": text, "options": [{"label": text, "value": text}, text],
    }  # fmt: skip
    fields = [
        {"name": f"{kind}-{text}", "type": kind, "label": text, "required": True, "placeholder": text,
         "options": [text], "value": text, "help": text}
        for kind in ("text", "email", "checkbox", "select", "textarea", "radio", "date", text)
    ]  # fmt: skip
    picture = {"src": text, "alt": text, "caption": text, "link": text, "width": text, "height": text}
    return {
        "Header": {"title": text, "subtitle": text, "logo": text, "logoAlt": text, "links": [link, text]},
        "Footer": {"text": text, "html": text, "copyright": text, "links": [link, text]},
        "Card": {"title": text, "content": text, "image": text, "alt": text, "link": text, "linkText": text},
        "Image": picture,
        "Text": {"content": text, "variant": text, "format": "html"},
        "Form": {"title": text, "fields": fields, "submitText": text, "successMessage": text, "action": text},
        "Input": choice,
        "Select": choice,
        "Textarea": choice,
        "Checkbox": choice,
        "Radio": choice,
        "Grid": {"columns": text, "gap": text},
        "Container": {"title": text, "maxWidth": text},
        "Divider": {"label": text},
        "Spacer": {"height": text},
        "Menu": {"label": text, "items": [link, {**link, "items": [link, {**link, "items": [link]}]}]},
        "Breadcrumb": {"items": [link, text, link]},
        "Tabs": {"title": text, "tabs": [{"label": text, "content": text}, {"label": text, "html": text}]},
        "Pagination": {"totalPages": 12, "currentPage": 4, "href": text},
        "Gallery": {"title": text, "images": [picture, text], "columns": text},
        "Video": {"src": text, "poster": text, "title": text, "caption": text, "captions": text},
        "Audio": {"src": text, "title": text, "caption": text},
        "Table": {"caption": text, "columns": [text, {"key": text, "label": text}],
                  "rows": [[text], {text: text}]},
        "Chart": {"title": text, "chartType": text, "labels": [text, text], "datasets": [
            {"label": text, "data": [1, text]}, {"label": text, "data": [3, -2]}]},
        "List": {"title": text, "items": [text, {**link, "items": [link]}], "type": text},
        "Calendar": {"title": text, "month": "2026-02", "events": [{"date": "2026-02-03", **link}]},
    }  # fmt: skip


def component(kind: str, config: Json | None = None, **more: Any) -> Json:
    """A component of that type that takes a whole row."""
    position = {"x": 0, "y": 0, "width": 12, "height": 1}
    return {"id": kind.lower(), "type": kind, "position": position, "config": config or {}, **more}


def page(*components: Json, **more: Any) -> Json:
    """A page at `/` with those components."""
    return {
        "id": "page-1", "name": "Accueil", "route": "/",
        "config": {"components": list(components), **more.pop("config", {})}, **more,
    }  # fmt: skip
