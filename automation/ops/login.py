"""Signing in with a key of the API, and out."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from automation.api.auth import caller_with, require_scope
from automation.api.problems import address_of
from automation.api.services import ServicesOf
from automation.errors import ForbiddenError, ThrottledError, UnauthorizedError
from automation.ops import sessions
from automation.ops.guard import COOKIE, LOGOUT, FormOf, clear_cookie, read_form, set_cookie
from automation.ops.rendering import page

router = APIRouter()

HOME = "/ops/"


@router.get("/login/")
async def show_login(request: Request, next: Annotated[str, Query(max_length=2000)] = HOME) -> Response:
    """The form that asks for a key."""
    return await page(request, "login.html", next=_local(next), error="")


@router.post("/login/")
async def log_in(request: Request, services: ServicesOf) -> Response:
    """Sign in, and on to where somebody wanted to go. A wrong key is counted as at the API."""
    form = await read_form(request)
    target, key = _local(form["next"]), form["key"].strip()
    try:
        caller = await caller_with(request, services, key)
        require_scope(caller, "read")
    except UnauthorizedError:
        if wait := request.app.state.refusals.take(address_of(request)):
            raise ThrottledError("Too many wrong keys came from this address.", wait) from None
        return await page(request, "login.html", 401, next=target, error="login_wrong")
    except ForbiddenError:
        return await page(request, "login.html", 403, next=target, error="login_scope")
    async with services.database.transaction() as session:
        if before := request.cookies.get(COOKIE):
            await sessions.end(session, before)
        token = await sessions.begin(session, caller, key)
    answer = RedirectResponse(target, 303)
    set_cookie(answer, request, token)
    return answer


@router.post(LOGOUT.removeprefix("/ops"))
async def log_out(request: Request, form: FormOf, services: ServicesOf) -> Response:
    """Sign out; the session is gone for whoever else has its cookie, too."""
    async with services.database.transaction() as session:
        await sessions.end(session, request.cookies[COOKIE])
    answer = RedirectResponse("/ops/login/", 303)
    clear_cookie(answer)
    return answer


def address(request: Request) -> str:
    """The login, which leads back to the page that was asked for, but not to what it said had just been done."""
    url = request.url.remove_query_params("done")
    wanted = f"{url.path}?{url.query}" if url.query else url.path
    return "/ops/login/" if wanted == HOME else f"/ops/login/?{urlencode({'next': wanted[:2000]})}"


def _local(target: str) -> str:
    """Where to go after the sign-in: one of our pages, whatever the address said."""
    plain = target.isascii() and target.isprintable() and "\\" not in target
    return target if target.startswith(HOME) and plain else HOME
