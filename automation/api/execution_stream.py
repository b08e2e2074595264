"""An execution live, as server-sent events."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from automation.api.auth import Reader
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.api.watching import Watching
from automation.models import Execution

router = APIRouter(prefix="/executions", tags=["executions"])

log = logging.getLogger(__name__)


class EventStream(StreamingResponse):
    """Server-sent events, for as long as somebody takes them.

    Args:
        slowest: seconds that a watcher may take to take an event; who takes longer is dropped.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], slowest: float = 30.0) -> None:
        # no proxy may keep an event back
        super().__init__(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self.events = events
        self.slowest = slowest

    async def stream_response(self, send: Send) -> None:
        async def in_time(message: Message) -> None:
            async with asyncio.timeout(self.slowest):
                await send(message)

        async with aclosing(self.events):
            try:
                await super().stream_response(in_time)
            except TimeoutError:
                log.info("A watcher of an execution took nothing for %g s and was dropped.", self.slowest)


def event_answers(description: str, names: Sequence[str], example: dict[str, str]) -> dict[int | str, dict[str, Any]]:
    """What a route that answers with an `EventStream` documents: the schema of one event.

    Args:
        names: the events that there are.
        example: one of them, `{"event", "data"}`.
    """
    schema = {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"enum": list(names)},
            "data": {"type": "string", "contentMediaType": "application/json"},
        },
    }
    content = {EventStream.media_type: {"schema": schema, "example": example}}
    return {200: {"description": f"{description} The schema is that of one event.", "content": content}}


_ANSWERS = event_answers(
    "`snapshot`, then each `change`, then `end`.",
    ("snapshot", "change", "end"),
    {"event": "end", "data": '{"status": "COMPLETED"}'},
)


@router.get("/{id}/stream/", status_code=200, response_class=EventStream, responses=_ANSWERS | keyed(404, 422, 503))
async def stream_execution(id: UUID, caller: Reader, request: Request, services: ServicesOf) -> EventStream:
    """An execution live, as server-sent events: `snapshot` with its detail, `change` with those fields of it that
    have changed, `end` when it has ended. Who connects again gets a snapshot again.
    """
    async with services.database.reading() as session:
        await caller.require(session, Execution, id)
    watching: Watching = request.app.state.watching
    return EventStream(await watching.follow(id))
