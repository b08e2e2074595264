"""What people ask of executions: trying one or many again, and answering an approval."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field, StrictBool
from starlette.requests import Request

from automation import control
from automation.api import asked
from automation.api.auth import Executor
from automation.api.bodies import Given, Time, parse_given, read_json, schema_of
from automation.api.events import StartedOut, json_body
from automation.api.execution_answers import WaitOut
from automation.api.filters import TEXT
from automation.api.idempotency import OnceOf
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.audit import note_executions
from automation.errors import RefusedError
from automation.models import Execution, Status
from automation.models.execution_queries import Unsuccessful

router = APIRouter(prefix="/executions", tags=["executions"])

_STORABLE = r"^[^\x00]*$"
_Name = Annotated[str, Field(min_length=1, max_length=100, pattern=TEXT)]
_Words = Annotated[str, Field(max_length=2000, pattern=_STORABLE)]


class RetryBody(Given):
    """From where: by default from the first step that is not completed."""

    from_step: _Name | None = Field(None, description="This step and all that wait for it run anew.")
    from_start: StrictBool = Field(False, description="All steps run anew, on the workflow as it is now.")
    input: dict[str, Any] | None = Field(None, description="With `from_start`: another input.")
    reason: _Words = ""


class RetryManyBody(Given):
    """Which executions are meant: those that everything given applies to."""

    status: Literal["FAILED", "CANCELLED"]
    project_id: Annotated[str, Field(min_length=1, max_length=128, pattern=TEXT)] | None = None
    workflow_id: UUID | None = None
    kind: _Name | None = None
    since: Time | None = Field(None, description="Ended since then.")
    ids: list[UUID] | None = Field(None, max_length=control.REDRIVEN_AT_ONCE)
    reason: _Words = ""


class RetriedOut(BaseModel):
    """Executions that are tried again, the oldest first, and how many that were meant are left."""

    count: int
    executions: list[UUID]
    left: int


class ApproveBody(Given):
    """The answer; `step` names the approval when several wait, `by` who says so, as the holder of the key knows."""

    approve: StrictBool
    comment: _Words = ""
    step: _Name | None = None
    by: Annotated[str, Field(min_length=1, max_length=150, pattern=TEXT)] | None = None


class ApprovedOut(StartedOut):
    """The execution in short, and what it waited for with the answer that counts."""

    wait: WaitOut


_ANSWERED_BEFORE: dict[int | str, dict[str, Any]] = {
    200: {"model": ApprovedOut, "description": "It was answered so before; nothing was changed."}
}


@router.post(
    "/retry/",
    status_code=202,
    responses=keyed(413, 422),
    openapi_extra=json_body(schema_of(RetryManyBody)),
)
async def retry_executions(request: Request, caller: Executor, services: ServicesOf, once: OnceOf) -> RetriedOut:
    """Try many again, at most 1,000 a call, the oldest first; call again while `left` is not 0.

    Those of a deleted workflow are not meant, nor those that a step of another execution has started: that step
    starts them anew.
    """
    body = await read_json(request, lambda raw: parse_given(RetryManyBody, raw))
    project_id = caller.among(body.project_id)
    wanted = Unsuccessful(**body.model_dump(exclude={"reason"}) | {"project_id": project_id})

    async def retry() -> RetriedOut:
        retried = await control.retry_many(session, wanted, asked_by=caller.name, reason=body.reason)
        before, after = {"status": body.status}, {"status": Status.RETRYING, "reason": body.reason}
        await note_executions(session, caller, "retry", retried.executions, before, after)
        return RetriedOut(count=len(retried.executions), executions=list(retried.executions), left=retried.left)

    async with services.database.transaction() as session:
        return await once(session, caller, RetriedOut, retry)


@router.post(
    "/{id}/retry/",
    status_code=202,
    responses=keyed(404, 409, 413, 422),
    openapi_extra=json_body(schema_of(RetryBody), required=False),
)
async def retry_execution(
    id: UUID, request: Request, caller: Executor, services: ServicesOf, once: OnceOf
) -> StartedOut:
    """Run an execution that is FAILED or CANCELLED again; its completed steps are not repeated, unless `from_step` or
    `from_start` says so."""
    given = await read_json(request, lambda raw: parse_given(RetryBody, raw)) if await request.body() else RetryBody()
    if given.from_step is not None and given.from_start:
        raise RefusedError("from_step: give it or `from_start`, not both", "from_step")

    async def retry() -> StartedOut:
        return StartedOut.model_validate(await asked.retry(session, caller, id, **given.model_dump()))

    async with services.database.transaction() as session:
        await caller.require(session, Execution, id)
        return await once(session, caller, StartedOut, retry)


@router.post(
    "/{id}/approve/",
    status_code=202,
    responses=_ANSWERED_BEFORE | keyed(404, 409, 413, 422),
    openapi_extra=json_body(schema_of(ApproveBody)),
)
async def approve_execution(
    id: UUID, request: Request, response: Response, caller: Executor, services: ServicesOf
) -> ApprovedOut:
    """Answer the approval that an execution waits for: it goes on, or fails. The same answer again is a 200."""
    given = await read_json(request, lambda raw: parse_given(ApproveBody, raw))
    async with services.database.transaction() as session:
        approved = await asked.approve(session, caller, id, **given.model_dump())
    if not approved.is_new:
        response.status_code = 200
    one = approved.execution
    wait = WaitOut.model_validate(approved.wait)
    return ApprovedOut(id=one.id, workflow_id=one.workflow_id, status=one.status, wait=wait)
