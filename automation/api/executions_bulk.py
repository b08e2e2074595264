"""Emptying the queue: cancelling many executions that have not begun, or are not under way."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field, StrictBool
from starlette.requests import Request

from automation import control
from automation.api.auth import Executor
from automation.api.bodies import Given, parse_given, read_json, schema_of
from automation.api.events import json_body
from automation.api.filters import TEXT
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.audit import note_executions
from automation.models import Status
from automation.models.execution_queries import Queued, count_queued

router = APIRouter(prefix="/executions", tags=["executions"])


class CancelManyBody(Given):
    """Which executions are meant: those that everything given applies to."""

    status: Literal["PENDING", "RETRYING", "WAITING"]
    project_id: Annotated[str, Field(min_length=1, max_length=128, pattern=TEXT)] | None = None
    workflow_id: UUID | None = None
    kind: Annotated[str, Field(min_length=1, max_length=100, pattern=TEXT)] | None = None
    dry_run: StrictBool = Field(False, description="Only count them, in `left`.")


class CancelledManyOut(BaseModel):
    """Executions that were cancelled, the oldest first, and how many that were meant are left."""

    count: int
    executions: list[UUID]
    left: int


@router.post(
    "/cancel/",
    status_code=202,
    responses=keyed(413, 422),
    openapi_extra=json_body(schema_of(CancelManyBody)),
)
async def cancel_executions(request: Request, caller: Executor, services: ServicesOf) -> CancelledManyOut:
    """Cancel many that wait, at most 1,000 a call, the oldest first; call again while `left` is not 0.

    One that somebody is taking at this very moment is left alone: it is about to run.
    """
    body = await read_json(request, lambda raw: parse_given(CancelManyBody, raw))
    project_id = caller.among(body.project_id)
    wanted = Queued(body.status, project_id=project_id, workflow_id=body.workflow_id, kind=body.kind)
    async with services.database.transaction() as session:
        if body.dry_run:
            return CancelledManyOut(count=0, executions=[], left=await count_queued(session, wanted))
        cancelled = await control.cancel_many(session, wanted, services.settings)
        ids = [one.id for one in cancelled.executions]
        before, after = {"status": body.status}, {"status": Status.CANCELLED}
        await note_executions(session, caller, "cancel", ids, before, after)
    return CancelledManyOut(count=len(ids), executions=ids, left=cancelled.left)
