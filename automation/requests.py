"""Where what a task of this process does came from: the request, and the trace that it belongs to.

Both are put beside what a request leaves behind (events, executions), so that whoever takes that up later, in
whatever process, works under them again.
"""

import re
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Empty outside of requests, and of what they led to."""

traceparent: ContextVar[str] = ContextVar("traceparent", default="")
"""Our place in a trace, as the header of that name (W3C Trace Context) spells it; empty when there is none."""

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Origin:
    """A request and a place in a trace; each is empty when there is none."""

    request_id: str = ""
    traceparent: str = ""

    def take_up(self) -> None:
        """Work under it from now on, in this task and those that it starts."""
        request_id.set(self.request_id)
        traceparent.set(self.traceparent)


NOWHERE = Origin()
"""Neither a request nor a trace."""


def origin() -> Origin:
    """What this task works under."""
    return Origin(request_id.get(), traceparent.get())


def context_of_nobody() -> Context:
    """A context under no request: for what a request only sets off, since it is done for others as well."""
    context = copy_context()
    context.run(NOWHERE.take_up)
    return context


def parse_traceparent(header: str) -> str:
    """The header, or nothing when it is none that can be honoured. Of a later version, what we know of it."""
    found = _TRACEPARENT.match(header)
    if not found or (header.startswith("00") and len(header) > found.end()):
        return ""
    return found[0]


def trace_id(traceparent: str) -> str:
    """The 32 hexadecimal digits that all of a trace have in common; empty without one."""
    return traceparent[3:35]
