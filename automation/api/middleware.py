"""What happens around every request: an id and a log line, the slash at the end, the limit of the body.

All of it is plain ASGI, so that a body is counted while it arrives and a large one is never kept.
"""

import asyncio
import logging
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from traceback import format_tb
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from automation.api.problems import problem
from automation.requests import Origin, parse_traceparent
from automation.steps import one_line

_PLAIN = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_LINGER = 2.0
"""Seconds for which the rest of a refused body is read and thrown away."""

log = logging.getLogger(__name__)


class RequestLog:
    """Gives each request an id (`X-Request-ID`; its own, if it brings a plain one) and a line in our log, as has all
    that is logged for it; what nobody caught becomes a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        id_ = given if _PLAIN.fullmatch(given) else uuid4().hex
        # the server gives each request a context of its own
        Origin(id_, parse_traceparent(headers.get("traceparent", ""))).take_up()
        called = f"{scope['method']} {one_line(scope['path'])}"
        began = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = id_
                took = (time.perf_counter() - began) * 1000
                log.info("%s: %d in %.1f ms", called, status, took, extra={"duration_ms": round(took, 3)})
            await send(message)

        try:
            await self.app(scope, receive, answer)
        except ClientDisconnect:
            log.info("%s: the client left before its body was here", called)
        except Exception as error:
            # the error's text may hold what came from outside; the frames below it do not
            log.error("%s: %s\n%s", called, one_line(repr(error)), "".join(format_tb(error.__traceback__)))
            if not status:
                detail = f"Something went wrong on our side; our log says what, under request {id_}."
                await problem(500, detail)(scope, receive, answer)


class FinalSlash:
    """Redirects a path below `prefix` that lacks its final slash, keeping method and body (308)."""

    def __init__(self, app: ASGIApp, prefix: str, but: str) -> None:
        self.app = app
        self.prefix = prefix
        self.but = but

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app
        if scope["type"] == "http":
            path = scope["raw_path"].decode("latin-1")
            # only our own prefix: "//elsewhere/x" would lead to another host
            if path.startswith(self.prefix) and not path.endswith("/") and path != self.but:
                query = scope["query_string"].decode("latin-1")
                app = RedirectResponse(f"{path}/?{query}" if query else f"{path}/", status_code=308)
        await app(scope, receive, send)


class BodyLimit:
    """Refuses a body over its limit with 413: by its declared length, or while it arrives."""

    def __init__(self, app: ASGIApp, limit: int, limits: Mapping[str, int]) -> None:
        self.app = app
        self.limit = limit
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limits.get(scope["path"], self.limit)
        text = f"The body is larger than {limit} bytes; nothing of it was taken."
        declared = Headers(scope=scope).get("content-length", "")
        over = declared.isdecimal() and int(declared) > limit
        received = 0

        async def counted() -> Message:
            nonlocal over, received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                over = True
                raise HTTPException(413, text)
            return message

        async def answer(message: Message) -> None:
            if over and message["type"] == "http.response.body":
                await send({**message, "more_body": True})
                await _linger(receive)
                message = {"type": "http.response.body"}
            await send(message)

        app = problem(413, text) if over else self.app
        await app(scope, counted, answer)


async def _linger(receive: Receive) -> None:
    """Throw away what still comes, for a moment: many clients read the answer only after they have sent all,
    and closing the connection on unread data would take it from them.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER):
            while (await receive()).get("more_body"):
                pass
