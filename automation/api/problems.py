"""Errors as RFC 9457 problem details, and which error is answered how."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import Any

import asyncpg
import sqlalchemy.exc
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request

from automation.api.limits import Limit
from automation.errors import (
    AutomationError,
    BadSignatureError,
    ChangedError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    ThrottledError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)
from automation.models import Json
from automation.requests import request_id
from automation.steps import one_line

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5

log = logging.getLogger(__name__)

# Our own words: those of HTTPStatus differ between versions of Python, and `type` is made of them.
TITLES = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    412: "Changed since",
    413: "Body too large",
    415: "Unsupported media type",
    422: "Refused",
    429: "Too many",
    500: "Internal error",
    503: "Unavailable",
}

# The first match wins, so the narrow stand before the wide.
STATUS: tuple[tuple[type[AutomationError], int], ...] = (
    (UnauthorizedError, 401),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (ChangedError, 412),
    (ThrottledError, 429),
    (BadSignatureError, 401),
    (TooLargeError, 413),
    (RefusedError, 422),
    (UnavailableError, 503),
)

# SQLSTATE classes of what passes by itself: connection, rollback (deadlock), resources, operator, system.
_PASSING = ("08", "40", "53", "57", "58")


class Problem(BaseModel):
    """The body of every answer that is an error."""

    type: str = Field(examples=["/problems/not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str
    field: str | None = Field(None, description="Where in the request, as a dotted path, if it is one place.")
    request_id: str = Field("", description="As in the header `X-Request-ID` and in our log.")


def problem(
    status: int, detail: str, field: str = "", headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    """An error's answer; its type and title follow from the status."""
    body = named(status) | {"detail": detail} | ({"field": field} if field else {})
    body |= {"request_id": request_id.get()} | more
    sent = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else {}
    if status == 413:  # the rest of the body is not read, so the connection carries no other request
        sent["Connection"] = "close"
    return JSONResponse(body, status, headers={**sent, **(headers or {})}, media_type=MEDIA_TYPE)


def named(status: int) -> Json:
    """How a problem begins: what follows from its status."""
    title = TITLES.get(status) or HTTPStatus(status).phrase
    return {"type": f"/problems/{title.lower().replace(' ', '-')}", "title": title, "status": status}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's declaration: the problems that it can answer."""
    schema = Problem.model_json_schema()
    return {status: {"description": TITLES[status], "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses}


def keyed(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same for a route that needs a key: it can be missing, lack the scope, or be used too often."""
    return documented(401, 403, *sorted({429, 503, *statuses}))


def install(app: FastAPI, refusals: Limit) -> None:
    """Answer every error that a route raises with a problem; what is unknown is left to the middleware.

    Args:
        refusals: how many requests without a good key or signature an address may send; beyond that it is told to wait.
    """
    app.state.refusals = refusals
    app.exception_handler(AutomationError)(_ours)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(RequestValidationError)(_invalid)
    for kind in (sqlalchemy.exc.DBAPIError, sqlalchemy.exc.TimeoutError, asyncpg.PostgresError, OSError):
        app.exception_handler(kind)(_database)


async def _ours(request: Request, error: AutomationError) -> JSONResponse:
    status = next((status for kind, status in STATUS if isinstance(error, kind)), None)
    if status is None:
        raise error
    if status == 503:
        log.warning("Unavailable: %s", one_line(str(error)))
    if status == 401 and (wait := request.app.state.refusals.take(address_of(request))):
        status, error = 429, ThrottledError("Too many requests of this address were refused.", wait)
    headers: dict[str, str] = {}
    if isinstance(error, ThrottledError):
        headers["Retry-After"] = str(ceil(error.retry_after))
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = 'Bearer realm="automation"'
    return problem(status, str(error), error.field if isinstance(error, RefusedError) else "", headers)


def address_of(request: Request) -> str:
    """Where a request comes from; behind a proxy on this machine, what that says (`X-Forwarded-For`)."""
    return request.client.host if request.client else ""


async def _http(request: Request, error: HTTPException) -> JSONResponse:
    if error.status_code == 405 and (methods := request.app.state.methods_at(request.url.path)):
        return _not_allowed(request, methods)  # Starlette knows only those of the first route that suits
    return problem(error.status_code, error.detail, headers=dict(error.headers or {}))


def _not_allowed(request: Request, methods: Sequence[str]) -> JSONResponse:
    return problem(405, f"{request.method} is not known here.", headers={"Allow": ", ".join(methods)})


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """A parameter of the query, path or header that FastAPI refused."""
    methods = request.app.state.methods_at(request.url.path)
    if methods and request.method not in methods:  # `GET executions/retry/` is none of an execution named "retry"
        return _not_allowed(request, methods)
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"][1:]))
    return problem(422, f"{field}: {first['msg']}", field)


async def _database(request: Request, error: Exception) -> JSONResponse:
    """The database is away, or busy in a way that passes; any other fault of it is ours, and a 500."""
    if not is_passing(error):
        raise error
    log.warning("The database does not answer: %s", one_line(str(error)))
    return problem(503, "The database does not answer at the moment; try again.")


def is_passing(error: Exception) -> bool:
    """Whether an error of the database is one that passes by itself."""
    if not isinstance(error, sqlalchemy.exc.DBAPIError):
        return True
    state = getattr(error.orig, "sqlstate", None) or ""
    return error.connection_invalidated or state.startswith(_PASSING)
