"""What Studio sends."""

from typing import Any

from tests.unit.runtime.samples import component, configs

Json = dict[str, Any]

# Each of them would do something if it stood unescaped in a title, a text, an attribute, an address or a style.
HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "\"'><svg onload=document.title='owned'></title></style></textarea><script>document.title='owned'</script>"
    "javascript:document.title='owned'"
)


def event(type_: str, project_id: str, **data: Any) -> Json:
    """An event of Studio's; `id` and `timestamp` go where they belong."""
    top = {name: data.pop(name) for name in ("id", "timestamp") if name in data}
    return {"type": type_, "data": {"project_id": project_id, "user_id": "u1", **data}, **top}


def created(project: str, **more: Any) -> Json:
    owner = {"id": "u1", "email": "owner@example.org"}
    about = {"id": project, "name": f"Name of {project}", "owner": owner}
    return event("project.created", project, project=about, **more)


def page(project: str, page_id: str, *components: Json, version: int = 1, route: str | None = None, **more: Any) -> Json:
    document = {"id": page_id, "name": page_id, "route": route or f"/{page_id}", "version": version,
                "config": {"components": list(components)}}  # fmt: skip
    return event("page.updated", project, page=document, **more)


def text(words: str) -> Json:
    return component("Text", {"content": words})


def hostile_page(project: str, kind: str) -> Json:
    """A page with one component of a kind, in whose every field stands hostile text."""
    return page(project, kind.lower(), component(kind, configs(HOSTILE)[kind]))


KINDS = tuple(configs(""))
