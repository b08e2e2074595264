"""The pages put together: an application of their own below `/ops/`, with their errors as pages and their headers."""

import logging

import asyncpg
import sqlalchemy.exc
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from automation.api.problems import STATUS, address_of, is_passing
from automation.errors import AutomationError, ThrottledError, UnauthorizedError
from automation.ops import (
    alerts,
    approvals,
    dead_letters,
    deliveries,
    events,
    execution,
    executions,
    history,
    login,
    now,
)
from automation.ops.guard import COOKIE, clear_cookie
from automation.ops.rendering import STATIC, page, prepare, static_address
from automation.requests import request_id
from automation.steps import one_line

PATH = "/ops"
PAGES = (now, history, executions, execution, events, dead_letters, deliveries, approvals, alerts, login)

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",  # not `no-referrer`: browsers would send forms without their origin
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

log = logging.getLogger(__name__)


def mount(app: FastAPI) -> None:
    """Serve the pages below `/ops/` of the application that `create_app` has made, with its parts and its limits."""
    pages = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    for name in ("services", "watching", "limit", "refusals"):
        setattr(pages.state, name, getattr(app.state, name))
    prepare()
    for one in PAGES:
        pages.include_router(one.router)
    pages.mount("/static", StaticFiles(directory=STATIC))
    pages.exception_handler(AutomationError)(_ours)
    pages.exception_handler(RequestValidationError)(_invalid)
    pages.exception_handler(HTTPException)(_http)
    pages.exception_handler(Exception)(_fault)
    for kind in (sqlalchemy.exc.DBAPIError, sqlalchemy.exc.TimeoutError, asyncpg.PostgresError, OSError):
        pages.exception_handler(kind)(_database)
    pages.add_middleware(FilledIn)
    pages.add_middleware(Headers)
    app.mount(PATH, pages)
    app.add_route(PATH, _with_slash)


class Headers:
    """What browsers are told of every page: nothing foreign in it, it in no frame, kept nowhere."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                if message["status"] == 200 and _is_named_by_content(scope):
                    headers["Cache-Control"] = "public, max-age=31536000, immutable"
                else:
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, answer)


def _is_named_by_content(scope: Scope) -> bool:
    """Whether this is the address of a file as it is here: while a new version takes over, a page of one process asks
    another one, and what that has must not be kept under the other's name."""
    folder, _, name = scope["path"].rpartition("/")
    if folder != f"{PATH}/static":
        return False
    return f"{scope['path']}?{scope['query_string'].decode('latin-1')}" == static_address(name)


class FilledIn:
    """Leaves out of the address what nobody filled in: a form of filters sends its empty fields, too."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            pairs = scope["query_string"].split(b"&")
            scope = {**scope, "query_string": b"&".join(one for one in pairs if one.partition(b"=")[2])}
        await self.app(scope, receive, send)


async def _with_slash(request: Request) -> Response:
    return RedirectResponse(f"{PATH}/", 308)


async def _ours(request: Request, error: AutomationError) -> Response:
    if isinstance(error, UnauthorizedError):
        return await _sign_in(request)
    status = next((status for kind, status in STATUS if isinstance(error, kind)), None)
    if status is None:
        raise error
    return await error_page(request, status, str(error), error)


async def _sign_in(request: Request) -> Response:
    """To the login, and back to where somebody wanted to go; a part of a page is only refused.

    A cookie that is none is counted like a key that is none.
    """
    had_cookie = COOKIE in request.cookies
    if had_cookie and (wait := request.app.state.refusals.take(address_of(request))):
        error = ThrottledError("Too many requests of this address were refused.", wait)
        return await error_page(request, 429, str(error), error)
    answer: Response
    if (
        request.method != "GET"
        or "x-part" in request.headers
        or "text/event-stream" in request.headers.get("accept", "")
    ):
        answer = await error_page(request, 401, "Nobody is signed in.")
    else:
        answer = RedirectResponse(login.address(request), 303)
    if had_cookie:
        clear_cookie(answer)
    return answer


async def error_page(request: Request, status: int, text: str, error: Exception | None = None) -> Response:
    """What went wrong, in words, under the status that the API would answer."""
    headers = {"Retry-After": str(int(error.retry_after) + 1)} if isinstance(error, ThrottledError) else {}
    return await page(request, "error.html", status, headers=headers, status=status, text=text)


async def _http(request: Request, error: HTTPException) -> Response:
    return await error_page(request, error.status_code, error.detail)


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"][1:]))
    return await error_page(request, 422, f"{field}: {first['msg']}")


async def _fault(request: Request, error: Exception) -> Response:
    """What nobody expected; the server logs it after this answer, with the request's id."""
    return await error_page(request, 500, f"Our log says what went wrong, under request {request_id.get()}.")


async def _database(request: Request, error: Exception) -> Response:
    if not is_passing(error):
        raise error
    log.warning("The database does not answer: %s", one_line(str(error)))
    return await error_page(request, 503, "The database does not answer at the moment; try again.")
