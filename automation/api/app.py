"""The application: routers, problems and middleware put together."""

import logging

from fastapi import APIRouter, FastAPI

from automation.api import (
    dead_letters,
    deliveries,
    events,
    execution_requests,
    execution_stream,
    executions,
    health,
    problems,
    trials,
    trigger_webhooks,
    triggers,
    webhooks,
    workflows,
)
from automation.api.middleware import BodyLimit, FinalSlash, RequestLog
from automation.api.services import Services
from automation.api.watching import Watching

PREFIX = "/api/automation"
OPENAPI = f"{PREFIX}/openapi.json"

log = logging.getLogger(__name__)


def create_app(services: Services) -> FastAPI:
    """The REST API over these services, to be served by any ASGI server."""
    settings = services.settings
    if settings.api_key is None:
        log.warning("AUTOMATION_API_KEY is not set: the API refuses every request that needs the key.")
    app = FastAPI(
        title="Automation",
        summary="The system API of the workflow engine",
        openapi_url=OPENAPI,
        docs_url=None,  # the pages of /docs and /redoc load their scripts from a foreign host
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.watching = Watching(services.database)
    problems.install(app)
    api = APIRouter(prefix=PREFIX)
    nouns = (events, webhooks, trigger_webhooks, workflows, triggers, trials, dead_letters, deliveries)
    for noun in (*nouns, executions, execution_requests, execution_stream, health):
        api.include_router(noun.router)
    api.include_router(trigger_webhooks.secret_router)
    app.include_router(api)
    # the last one added is the outermost
    app.add_middleware(
        BodyLimit,
        limit=settings.body_limit_bytes,
        limits={f"{PREFIX}/events/": settings.events_body_limit_bytes},
    )
    app.add_middleware(FinalSlash, prefix=PREFIX, but=OPENAPI)
    app.add_middleware(RequestLog)
    return app
