"""The logs of all executions together, and logs live."""

import re
from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query
from starlette.requests import Request

from automation.api.auth import Reader
from automation.api.bodies import Time
from automation.api.execution_stream import EventStream, event_answers
from automation.api.executions import LogLineOut, line_out
from automation.api.filters import LinesFilter, ProjectFilter
from automation.api.following import Following
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.models import Execution
from automation.models.execution_queries import require_execution
from automation.models.log_queries import newest_lines

router = APIRouter(tags=["logs"])

_LINE = {"event": "line", "data": '{"level": "INFO", "message": "Saved.", "step": "save-to-runtime"}'}
_ANSWERS = event_answers("A `line` each, and `left_out` for too many.", ("line", "left_out"), _LINE)
_ITS_ANSWERS = event_answers("A `line` each, then `end`.", ("line", "left_out", "end"), _LINE)

_LINE_ID = re.compile(r"[0-9]{1,19}")

Last = Annotated[int, Query(ge=0, le=1000, description="So many of the lines that are there, before those that come.")]
LastId = Annotated[str | None, Header(alias="Last-Event-ID", description="Go on behind this line instead.")]


@router.get("/logs/", responses=keyed(422))
async def get_all_logs(
    request: Request,
    caller: Reader,
    services: ServicesOf,
    lines: LinesFilter,
    project_id: ProjectFilter = None,
    execution_id: UUID | None = None,
    since: Time | None = None,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[LogLineOut]:
    """What executions have logged, newest line first. A page looks through 20,000 lines: it may have fewer results than
    asked for, even none, and a `next`."""
    position = decode_cursor(cursor, int)
    wanted = replace(lines, project_id=caller.among(project_id), execution_id=execution_id, since=since)
    async with services.database.reading() as session:
        page = await newest_lines(session, wanted, position, page_size)
    return listing(request, page, (line_out(row[0].execution_id, *row) for row in page.rows))


@router.get("/logs/stream/", status_code=200, response_class=EventStream, responses=_ANSWERS | keyed(422, 503))
async def stream_all_logs(
    request: Request,
    caller: Reader,
    lines: LinesFilter,
    project_id: ProjectFilter = None,
    last: Last = 0,
    last_event_id: LastId = None,
) -> EventStream:
    """What executions log, live, as server-sent events: a `line` each."""
    wanted = replace(lines, project_id=caller.among(project_id))
    return EventStream(await _following(request).follow(wanted, last, _after(last_event_id)))


@router.get(
    "/executions/{id}/logs/stream/",
    status_code=200,
    response_class=EventStream,
    responses=_ITS_ANSWERS | keyed(404, 422, 503),
)
async def stream_logs(
    id: UUID,
    request: Request,
    caller: Reader,
    services: ServicesOf,
    lines: LinesFilter,
    last: Last = 1000,
    last_event_id: LastId = None,
) -> EventStream:
    """The log of an execution live, as server-sent events: a `line` each, and `end` when it has ended. What Prefect
    logs of a run may come later than that."""
    async with services.database.reading() as session:
        await caller.require(session, Execution, id)
        await require_execution(session, id)
    return EventStream(await _following(request).follow(replace(lines, execution_id=id), last, _after(last_event_id)))


def _following(request: Request) -> Following:
    following: Following = request.app.state.following
    return following


def _after(last_event_id: str | None) -> int | None:
    """The id of the last line that was got; what is none is as good as not there."""
    return int(last_event_id) if last_event_id and _LINE_ID.fullmatch(last_event_id) else None
