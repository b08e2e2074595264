"""Executions: what has run, how it went, and stopping one."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request

from automation.api import asked
from automation.api.auth import Executor, Reader
from automation.api.events import StartedOut
from automation.api.execution_answers import ExecutionDetailOut, ExecutionOut, ItemOut, shown, summary
from automation.api.filters import TEXT, LinesFilter, NameFilter, ProjectFilter, StatusFilter
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.models import Execution, ExecutionLog
from automation.models.execution_queries import list_executions, list_items, list_log_lines
from automation.redaction import RedactedJson, RedactedText
from automation.requests import trace_id

router = APIRouter(prefix="/executions", tags=["executions"])


class LogLineOut(BaseModel):
    """A line of an execution's log."""

    timestamp: datetime
    execution_id: UUID | None = Field(description="Null for what a batch run says of no single execution.")
    workflow_id: UUID | None
    project_id: str | None
    step: str
    level: str
    message: RedactedText
    duration_ms: float | None
    metadata: RedactedJson = Field(description="Also `request_id` and `trace_id`, where the execution has them.")


@router.get("/", responses=keyed(422))
async def get_executions(
    request: Request,
    caller: Reader,
    services: ServicesOf,
    project_id: ProjectFilter = None,
    workflow_id: UUID | None = None,
    status: StatusFilter | None = None,
    kind: NameFilter = None,
    parent_id: UUID | None = None,
    degraded: bool | None = None,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[ExecutionOut]:
    """Executions, newest first; with `parent_id` those that the steps of one have started."""
    position = decode_cursor(cursor, UUID)
    async with services.database.reading() as session:
        page = await list_executions(
            session,
            project_id=caller.among(project_id),
            workflow_id=workflow_id,
            status=status,
            kind=kind,
            parent_id=parent_id,
            degraded=degraded,
            position=position,
            size=page_size,
        )
    return listing(request, page, (summary(one, name) for one, name in page.rows))


@router.get("/{id}/", responses=keyed(404, 422))
async def get_execution(id: UUID, caller: Reader, services: ServicesOf) -> ExecutionDetailOut:
    """One execution."""
    async with services.database.reading() as session:
        await caller.require(session, Execution, id)
        return await shown(session, id)


@router.get("/{id}/items/", responses=keyed(404, 422))
async def get_items(
    id: UUID,
    caller: Reader,
    services: ServicesOf,
    step: Annotated[str, Query(min_length=1, max_length=100, pattern=TEXT)],
    status: StatusFilter | None = None,
) -> Listing[ItemOut]:
    """What a FOR_EACH step, named by its identifier, did with each of its items (at most 1,000), in their order; of
    those that have not been run there is nothing, and one that is to be run again is PENDING."""
    async with services.database.reading() as session:
        await caller.require(session, Execution, id)
        items = await list_items(session, id, step, status=status)
    return Listing(results=[ItemOut.model_validate(one) for one in items], next=None, previous=None)


@router.get("/{id}/logs/", responses=keyed(404, 422))
async def get_logs(
    id: UUID,
    request: Request,
    caller: Reader,
    services: ServicesOf,
    wanted: LinesFilter,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[LogLineOut]:
    """The log of an execution, oldest line first; `step` is a step's type or identifier, `min_level` takes graver
    lines, too."""
    position = decode_cursor(cursor, int)
    async with services.database.reading() as session:
        await caller.require(session, Execution, id)
        page = await list_log_lines(session, id, wanted, position, page_size)
    return listing(request, page, (line_out(id, *row) for row in page.rows))


@router.post("/{id}/cancel/", status_code=202, responses=keyed(404, 409, 422))
async def cancel_execution(id: UUID, caller: Executor, services: ServicesOf) -> StartedOut:
    """Cancel an execution, and those that its steps have started: at once while it waits, as soon as its step can be
    stopped while it runs."""
    async with services.database.transaction() as session:
        return StartedOut.model_validate(await asked.cancel(session, caller, id, services.settings))


def line_out(
    execution_id: UUID | None, line: ExecutionLog, workflow_id: UUID | None, step: str, request_id: str, trace: str
) -> LogLineOut:
    """A line as it is shown."""
    origin = {"request_id": request_id, "trace_id": trace_id(trace)}
    return LogLineOut(
        timestamp=line.timestamp,
        execution_id=execution_id,
        workflow_id=workflow_id,
        project_id=line.project_id,
        step=step,
        level=line.level,
        message=line.message,
        duration_ms=line.duration_ms,
        metadata=line.details | {name: value for name, value in origin.items() if value},
    )
