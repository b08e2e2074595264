"""Who may see a page, and which forms are taken: the cookie, its scopes, and that a form is one of ours."""

import hmac
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from automation.api.auth import Caller, hashed, require_scope, throttle
from automation.api.limits import Limit
from automation.api.problems import address_of
from automation.api.services import ServicesOf
from automation.errors import ForbiddenError, RefusedError, ThrottledError, UnauthorizedError
from automation.ops import sessions

COOKIE = "automation_ops"
FIELDS = 100
"""Fields that a form may have; ours have under ten."""


async def _viewer(request: Request, services: ServicesOf) -> Caller:
    """Who looks.

    Raises:
        UnauthorizedError: nobody is signed in.
        ForbiddenError: their key may not look.
        ThrottledError: too many requests came with it, or too many wrong ones from its address.
    """
    token = request.cookies.get(COOKIE, "")
    if not token:
        raise UnauthorizedError("Nobody is signed in.")
    limit: Limit = request.app.state.limit
    digest = hashed(token)
    if not limit.knows(digest) and (wait := request.app.state.refusals.wait(address_of(request))):
        raise ThrottledError("Too many wrong keys came from this address.", wait)
    async with services.database.transaction() as session:
        caller = await sessions.caller_with(session, token, services.settings)
    throttle(limit, digest)
    require_scope(caller, "read")
    request.state.caller = caller
    return caller


Viewer = Annotated[Caller, Depends(_viewer)]
"""The type of a route's parameter that gets who is signed in."""


class Form(dict[str, str]):
    """The fields of a form that was sent; of two with one name the last counts. What is missing is empty."""

    def __missing__(self, name: str) -> str:
        return ""

    def words(self, name: str, most: int = 2000) -> str:
        """Text that people wrote.

        Raises:
            RefusedError: it is too long.
        """
        text = self[name].strip()
        if len(text) > most:
            raise RefusedError(f"{name}: at most {most} characters", name)
        return text


async def _form(request: Request, viewer: Viewer) -> Form:
    """The form of somebody who is signed in and may press buttons.

    Raises:
        ForbiddenError: their key has not the scope `execute`, or it is no form of ours.
        RefusedError: a field has a NUL, which no database could store or look for.
    """
    form = await read_form(request)
    for name, value in form.items():
        if "\0" in value:
            raise RefusedError(f"{name[:100]}: no text has a NUL", name)
    given, token = form.pop("form_token", ""), sessions.form_token(request.cookies[COOKIE])
    if not hmac.compare_digest(given.encode(), token.encode()):
        raise ForbiddenError("This form is not of this session; reload the page and send it again.")
    if request.url.path != LOGOUT:  # whoever may look may leave
        require_scope(viewer, "execute")
    return form


LOGOUT = "/ops/logout/"
FormOf = Annotated[Form, Depends(_form)]
"""The type of a route's parameter that gets a form, which was checked."""


async def read_form(request: Request) -> Form:
    """A form that was sent from a page of this very address.

    Raises:
        ForbiddenError: it was sent from elsewhere.
        RefusedError: it is no form.
    """
    require_same_origin(request)
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise RefusedError("The body is no form.")
    try:
        fields = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=FIELDS)
    except ValueError:
        raise RefusedError("The body is no form that can be read.") from None
    return Form(fields)


def require_same_origin(request: Request) -> None:
    """Raise ForbiddenError unless the browser says that a page of this host and port sends this; every browser does.

    The scheme is left out, since not every proxy with TLS tells us that it is one.
    """
    origin = urlsplit(request.headers.get("origin", ""))
    if not origin.netloc or origin.netloc.lower() != request.headers.get("host", "").lower():
        raise ForbiddenError("This form was not sent from a page of this address.")


def set_cookie(response: Response, request: Request, token: str) -> None:
    """Sign the browser in, for these pages alone, and over TLS alone if this came over it."""
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(sessions.LIFETIME.total_seconds()),
        path="/ops/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def clear_cookie(response: Response) -> None:
    response.delete_cookie(COOKIE, path="/ops/", httponly=True, samesite="strict")
