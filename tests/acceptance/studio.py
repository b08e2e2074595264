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


def page(
    project: str, page_id: str, *components: Json, version: int = 1, route: str | None = None, **more: Any
) -> Json:
    """A page that was edited; its address is its id unless `route` says otherwise."""
    about = {"id": page_id, "name": page_id, "route": route or f"/{page_id}", "version": version}
    return event("page.updated", project, page={**about, "config": {"components": list(components)}}, **more)


def text(words: str) -> Json:
    return component("Text", {"content": words})


def hostile(kind: str) -> Json:
    """A component of a kind with hostile text in every field, but for the names and types of a form's fields,
    which have to be valid."""
    config = configs(HOSTILE)[kind]
    if kind == "Form":
        config["fields"] = [{**one, "name": f"field-{n}", "type": "text"} for n, one in enumerate(config["fields"])]
    return component(kind, config)


KINDS = tuple(configs(""))
