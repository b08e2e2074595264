"""Dead letters: executions that failed for good, and having them tried again."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request

from automation import control
from automation.api import asked
from automation.api.auth import Executor, Reader
from automation.api.bodies import Given, parse_given, read_json, schema_of
from automation.api.events import StartedOut, json_body
from automation.api.filters import TEXT, NameFilter, ProjectFilter
from automation.api.idempotency import OnceOf
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import keyed
from automation.api.services import ServicesOf
from automation.audit import note_executions
from automation.models import Execution, Status
from automation.models.recovery_queries import Letters, list_letters
from automation.redaction import RedactedText

router = APIRouter(prefix="/dead-letters", tags=["dead letters"])

_Text = Annotated[str | None, Field(min_length=1, max_length=128, pattern=TEXT)]


class DeadLetterOut(BaseModel):
    """An execution that failed for good; `status` is what it is now."""

    execution_id: UUID
    workflow_id: UUID
    workflow_name: str
    project_id: str | None
    kind: str
    status: str
    failed_step: str
    error_code: str
    error_message: RedactedText
    created_at: datetime
    redriven_at: datetime | None
    redriven_by: str


class RedriveBody(Given):
    """Which open dead letters are meant: those that everything given applies to; `{}` is all of them."""

    project_id: _Text = None
    kind: _Text = None
    error_code: _Text = None
    ids: list[UUID] | None = Field(None, max_length=control.REDRIVEN_AT_ONCE)


class RedrivenOut(BaseModel):
    """Executions that are tried again, the oldest first, and how many dead letters that were meant are left."""

    count: int
    executions: list[UUID]
    left: int


@router.get("/", responses=keyed(422))
async def get_dead_letters(
    request: Request,
    caller: Reader,
    services: ServicesOf,
    project_id: ProjectFilter = None,
    kind: NameFilter = None,
    error_code: NameFilter = None,
    redriven: bool = False,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[DeadLetterOut]:
    """Dead letters, newest first: those that are open, or those that were tried again."""
    position = decode_cursor(cursor, UUID)
    letters = Letters(project_id=caller.among(project_id), kind=kind, error_code=error_code)
    async with services.database.reading() as session:
        page = await list_letters(session, letters, redriven=redriven, position=position, size=page_size)
    return listing(request, page, (_out(*row) for row in page.rows))


@router.post(
    "/redrive/",
    status_code=202,
    responses=keyed(413, 422),
    openapi_extra=json_body(schema_of(RedriveBody)),
)
async def redrive_dead_letters(request: Request, caller: Executor, services: ServicesOf, once: OnceOf) -> RedrivenOut:
    """Try many again, at most 1,000 a call; call again while `left` is not 0."""
    body = await read_json(request, lambda raw: parse_given(RedriveBody, raw))
    letters = Letters(**body.model_dump() | {"project_id": caller.among(body.project_id)})

    async def redrive() -> RedrivenOut:
        redriven = await control.redrive(session, letters, asked_by=caller.name)
        before, after = {"status": Status.FAILED}, {"status": Status.RETRYING}
        await note_executions(session, caller, "redrive", redriven.executions, before, after)
        return RedrivenOut(count=len(redriven.executions), executions=list(redriven.executions), left=redriven.left)

    async with services.database.transaction() as session:
        return await once(session, caller, RedrivenOut, redrive)


@router.post("/{execution_id}/redrive/", status_code=202, responses=keyed(404, 409, 422))
async def redrive_dead_letter(execution_id: UUID, caller: Executor, services: ServicesOf, once: OnceOf) -> StartedOut:
    """Try one again, from its first step that is not completed."""

    async def redrive() -> StartedOut:
        return StartedOut.model_validate(await asked.redrive(session, caller, execution_id))

    async with services.database.transaction() as session:
        missing = f"Execution {execution_id} is no dead letter."
        await caller.require(session, Execution, execution_id, missing)  # also before an answer of before is repeated
        return await once(session, caller, StartedOut, redrive)


def _out(letter: Any, workflow_name: str, status: str) -> DeadLetterOut:
    of_letter = {name: getattr(letter, name) for name in DeadLetterOut.model_fields if hasattr(letter, name)}
    return DeadLetterOut(**of_letter, workflow_name=workflow_name, status=status)
