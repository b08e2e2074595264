"""What a request may be written in, and what its answer: JSON, server-sent events for who watches, text for Prometheus.

Plain ASGI, before the routes. A wrong `Content-Type` is a 415, an `Accept` that we have nothing for a 406.
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from automation.api.problems import MEDIA_TYPE, problem
from automation.steps import one_line

_FORM = "application/x-www-form-urlencoded"  # what `curl -d` says of everything unless told otherwise
_JSON = ("application/json", MEDIA_TYPE)
_EVENTS = "text/event-stream"
_METRICS = ("text/plain", "application/openmetrics-text")  # who asks for the second takes the first, too


class Negotiation:
    """Refuses what is not JSON below `prefix`; at the doors of `strangers` only the body itself counts."""

    def __init__(self, app: ASGIApp, prefix: str, strangers: str) -> None:
        self.app = app
        self.prefix = prefix
        self.strangers = strangers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app
        if scope["type"] == "http" and scope["path"].startswith(self.prefix):
            headers = Headers(scope=scope)
            offered = self._offered(scope["path"])
            if not accepts(headers.get("accept", ""), offered):
                app = problem(406, f"What is answered here is {offered[0]}; `Accept` leaves that out.", "accept")
            elif not scope["path"].startswith(self.strangers) and not is_json(headers.get("content-type", "")):
                given = one_line(headers["content-type"])[:100]
                app = problem(415, f"The body is said to be {given}; send application/json.", "content-type")
        await app(scope, receive, send)

    def _offered(self, path: str) -> tuple[str, ...]:
        if path == f"{self.prefix}/metrics/":
            return _METRICS
        return (_EVENTS,) if path.endswith("/stream/") else _JSON


def accepts(header: str, offered: tuple[str, ...]) -> bool:
    """Whether an `Accept` header takes one of these media types; an empty one takes anything.

    An error's answer is JSON however the rest of the header looks, so that the wish for either is enough.
    """
    wanted = {}
    for one in header.split(","):
        range_, *parameters = (part.strip().lower() for part in one.split(";"))
        if range_:
            wanted[range_] = not any(_is_refusal(part) for part in parameters)
    if not wanted:
        return True
    for type_ in offered:
        ranges = (type_, f"{type_.split('/')[0]}/*", "*/*")
        if next((wanted[one] for one in ranges if one in wanted), False):
            return True
    return False


def _is_refusal(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    try:
        return name.strip() == "q" and float(value) == 0
    except ValueError:
        return False


def is_json(content_type: str) -> bool:
    """Whether a `Content-Type` may be that of JSON; one that is missing may."""
    type_ = content_type.partition(";")[0].strip().lower()
    return type_ in ("", "application/json", _FORM) or (type_.startswith("application/") and type_.endswith("+json"))
