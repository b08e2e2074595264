"""The application: routers, problems and middleware put together."""

import logging

from fastapi import FastAPI

from automation.api import (
    alerts,
    api_keys,
    audit,
    dead_letters,
    deliveries,
    events,
    execution_requests,
    execution_stream,
    executions,
    executions_bulk,
    health,
    insights,
    integrations,
    logs,
    metrics,
    openapi,
    problems,
    projects,
    steps,
    trials,
    trigger_webhooks,
    triggers,
    types,
    webhooks,
    workflows,
)
from automation.api.following import Following
from automation.api.limits import Limit
from automation.api.middleware import BodyLimit, FinalSlash, RequestLog
from automation.api.negotiation import Negotiation
from automation.api.services import Services
from automation.api.watching import Watching

PREFIX = "/api/automation"
OPENAPI = f"{PREFIX}/openapi.json"

NOUNS = (
    alerts, api_keys, audit, dead_letters, deliveries, events, executions, executions_bulk, execution_requests,
    execution_stream, health, insights, integrations, logs, metrics, projects, steps, triggers, trials, types, webhooks,
    trigger_webhooks, workflows,
)  # fmt: skip
"""The modules with the routes; of two paths that both suit, that of the first counts."""

log = logging.getLogger(__name__)


def create_app(services: Services) -> FastAPI:
    """The REST API over these services, to be served by any ASGI server."""
    settings = services.settings
    if settings.api_key is None:
        log.warning("AUTOMATION_API_KEY is not set: only who has a key of `api-keys` gets in.")
    app = FastAPI(
        title="Automation",
        summary="The system API of the workflow engine",
        openapi_url=OPENAPI,
        docs_url=None,  # the pages of /docs and /redoc load their scripts from a foreign host
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,  # stable names for clients that are made of the document
    )
    app.state.services = services
    app.state.watching = Watching(services.database)
    app.state.following = Following(services.database)
    app.state.limit = Limit(settings.rate_limit)
    problems.install(app, refusals=Limit(settings.rate_limit / 10))
    for router in (*(noun.router for noun in NOUNS), trigger_webhooks.secret_router):
        app.include_router(router, prefix=PREFIX)
    openapi.install(app)
    # the last one added is the outermost
    app.add_middleware(
        BodyLimit,
        limit=settings.body_limit_bytes,
        limits={f"{PREFIX}/events/": settings.events_body_limit_bytes},
    )
    app.add_middleware(Negotiation, prefix=PREFIX, strangers=f"{PREFIX}/webhooks/")
    app.add_middleware(metrics.CountsRefusals, prefix=f"{PREFIX}/webhooks/")
    app.add_middleware(FinalSlash, prefix=PREFIX, but=OPENAPI)
    app.add_middleware(RequestLog)
    return app
