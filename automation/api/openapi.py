"""The OpenAPI document: what FastAPI makes of the routes, with examples and with what holds for all of them."""

import re
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from automation.api.examples import BODIES, example_of
from automation.api.problems import MEDIA_TYPE, TITLES, documented, named
from automation.models import Json

DESCRIPTION = """
Every address ends in a slash; without it a request is redirected (308, method and body kept). Times are UTC.

**Lists** have `results` and the addresses of the pages beside, `next` and `previous`. Rows that arrive meanwhile
neither repeat nor hide others. `page_size` is at most 200, and each list says how it is ordered.

**Errors** are problem details (RFC 9457): `type` is stable, `field` is the place in the request that is wrong,
`request_id` stands in our log too.

**Changes** take `If-Match` with the `ETag` that you were answered: 412 when somebody else was faster.

**What starts something** takes an `Idempotency-Key`: the same request under it is answered as before and happens once,
for 24 hours. Another body under the same key is a 422.
"""

_TAGS = {
    "events": "What happened, as Studio or anybody else with a key tells us.",
    "webhooks": "Signed requests of those who have no key.",
    "workflows": "What is to be done, step by step.",
    "steps": "The steps of workflows, one by one.",
    "triggers": "When workflows run.",
    "types": "Of what workflows can be made.",
    "executions": "What has run, and how it went.",
    "logs": "What executions have logged, together and live.",
    "dead letters": "Executions that failed for good.",
    "deliveries": "What Studio was told.",
    "alerts": "What operators should know.",
    "metrics": "What is measured, for Prometheus.",
    "insights": "What is measured, in windows of time.",
    "integrations": "Systems outside that steps may call.",
    "projects": "Studio's projects.",
    "api keys": "Who may use this API.",
    "audit": "Who changed what.",
    "health": "For whoever starts and watches this process; no key needed.",
}


def install(app: FastAPI) -> None:
    """Have `app` answer the document that `describe` makes, and know what it has at a path."""

    def openapi() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = describe(app)
        return app.openapi_schema

    app.state.methods_at = partial(methods_at, app)
    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI's own documentation has it


def describe(app: FastAPI) -> Json:
    """The document of an application."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=DESCRIPTION.strip(),
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
    )
    parts = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _add_problems(operation, is_for_strangers="/webhooks/" in path)
            _add_examples(operation, parts)
    return document


def methods_at(app: FastAPI, path: str) -> list[str]:
    """The methods that the document has at a path, and not at the template that suits it too (`retry/`, `{id}/`); none
    for one that it does not know."""
    paths = app.openapi()["paths"]
    for template, operations in sorted(paths.items(), key=lambda one: one[0].count("{")):
        pattern = re.sub(r"\\\{.+?\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path):
            return sorted(method.upper() for method in operations)
    return []


def _add_problems(operation: Json, *, is_for_strangers: bool) -> None:
    """What `Negotiation` answers."""
    statuses = [406]
    if "requestBody" in operation and not is_for_strangers:
        statuses.append(415)
    for status, response in documented(*statuses).items():
        operation["responses"][str(status)] = response
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _add_examples(operation: Json, parts: Json) -> None:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        written = BODIES.get(operation["operationId"])
        content.setdefault("example", example_of(content["schema"], parts) if written is None else written)
    for status, response in operation["responses"].items():
        for media_type, content in response.get("content", {}).items():
            if media_type == MEDIA_TYPE:
                content["example"] = _problem(int(status))
            elif "schema" in content and "example" not in content:
                content["example"] = example_of(content["schema"], parts)


def _problem(status: int) -> Json:
    said = _SAID.get(status, {"detail": f"{TITLES[status]}."})
    return named(status) | said | {"request_id": "4c1a0f6f5d9e4d0f8a51d1d0a8a1b2c3"}


_SAID: dict[int, dict[str, Any]] = {
    401: {"detail": "This needs the header `Authorization: Bearer <key>`."},
    403: {"detail": "This needs a key with the scope 'manage'; that of 'reports' has it not."},
    404: {"detail": "Workflow 0b9d7c52-4a6e-4f0e-9d0c-6f1f0a3f7f10 does not exist."},
    409: {"detail": "Workflow 0b9d7c52-4a6e-4f0e-9d0c-6f1f0a3f7f10 (Large orders) is switched off."},
    412: {"detail": "It was changed since: read it again, then change it."},
    413: {"detail": "The body is larger than 2097152 bytes; nothing of it was taken."},
    422: {"detail": "steps.0.config.url: Field required", "field": "steps.0.config.url"},
    429: {"detail": "This key sends more requests than AUTOMATION_RATE_LIMIT allows."},
    503: {"detail": "The database does not answer at the moment; try again."},
}
