"""Executions: what has run, how it went, and what an operator can do about it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request

from automation import control
from automation.api.auth import require_key
from automation.api.events import StartedOut
from automation.api.filters import LevelFilter, NameFilter, ProjectFilter, StatusFilter
from automation.api.pagination import CursorText, Listing, PageSize, decode_cursor, listing
from automation.api.problems import documented
from automation.api.services import ServicesOf
from automation.models import Execution, ExecutionLog, StepExecution
from automation.models.execution_queries import (
    ExecutionDetail,
    find_execution,
    list_executions,
    list_log_lines,
)

router = APIRouter(prefix="/executions", tags=["executions"], dependencies=[Depends(require_key)])


class ExecutionOut(BaseModel):
    """An execution in short. `created_at` is when it was accepted, `started_at` when its first step began."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    workflow_id: UUID
    workflow_name: str
    project_id: str | None
    kind: str
    key: str | None
    status: str
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    event_count: int
    attempt: int
    error_message: str
    error_code: str


class TriggerDataOut(BaseModel):
    """What started an execution."""

    type: str
    event_type: str
    data: dict[str, Any]


class StepExecutionOut(BaseModel):
    """What a step did."""

    identifier: str
    type: str
    order: int
    status: str
    started_at: datetime | None
    duration_ms: float | None
    result: dict[str, Any]
    error_message: str


class FlowRunOut(BaseModel):
    """Prefect's flow run; `id` is empty until Prefect has it."""

    id: UUID | None
    state: str


class OwedOut(BaseModel):
    """What a step could not have at a neighbour: OWED until it can be reached, REFUSED if it will not have it."""

    model_config = ConfigDict(from_attributes=True)

    neighbour: str
    step: str
    status: str
    last_error: str
    due_at: datetime


class ExecutionDetailOut(ExecutionOut):
    """An execution with its trigger, result, steps in their order, and the last flow run that carried it.

    `degraded`: a step that is not required failed, or an effect of it was owed; `owed` is what still is.
    """

    trigger: TriggerDataOut
    result: dict[str, Any]
    steps: list[StepExecutionOut]
    flow_run: FlowRunOut | None
    degraded: bool
    owed: list[OwedOut]


class LogLineOut(BaseModel):
    """A line of an execution's log."""

    timestamp: datetime
    execution_id: UUID
    workflow_id: UUID
    project_id: str | None
    step: str
    level: str
    message: str
    duration_ms: float | None
    metadata: dict[str, Any]


@router.get("/", responses=documented(401, 422, 503))
async def get_executions(
    request: Request,
    services: ServicesOf,
    project_id: ProjectFilter = None,
    workflow_id: UUID | None = None,
    status: StatusFilter | None = None,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[ExecutionOut]:
    """Executions, newest first."""
    position = decode_cursor(cursor, UUID)
    async with services.database.transaction() as session:
        page = await list_executions(
            session,
            project_id=project_id,
            workflow_id=workflow_id,
            status=status,
            position=position,
            size=page_size,
        )
    return listing(request, page, (ExecutionOut(**_summary(one, name)) for one, name in page.rows))


@router.get("/{id}/", responses=documented(401, 404, 422, 503))
async def get_execution(id: UUID, services: ServicesOf) -> ExecutionDetailOut:
    """One execution."""
    async with services.database.transaction() as session:
        return await shown(session, id)


async def shown(session: AsyncSession, execution_id: UUID) -> ExecutionDetailOut:
    """One execution as people see it, and as Studio is told of it.

    Raises:
        NotFoundError: there is no such execution.
    """
    return _detail(await find_execution(session, execution_id))


@router.get("/{id}/logs/", responses=documented(401, 404, 422, 503))
async def get_logs(
    id: UUID,
    request: Request,
    services: ServicesOf,
    level: LevelFilter | None = None,
    step: NameFilter = None,
    cursor: CursorText = None,
    page_size: PageSize = 50,
) -> Listing[LogLineOut]:
    """The log of an execution, oldest line first; `step` is a step's type or identifier."""
    position = decode_cursor(cursor, int)
    async with services.database.transaction() as session:
        page = await list_log_lines(session, id, level=level, step=step, position=position, size=page_size)
    return listing(request, page, (_line(id, *row) for row in page.rows))


@router.post("/{id}/retry/", status_code=202, responses=documented(401, 404, 409, 422, 503))
async def retry_execution(id: UUID, services: ServicesOf) -> StartedOut:
    """Run an execution that is FAILED or CANCELLED again; its completed steps are not repeated."""
    async with services.database.transaction() as session:
        return StartedOut.model_validate(await control.retry(session, id, asked_by="api"))


@router.post("/{id}/cancel/", status_code=202, responses=documented(401, 404, 409, 422, 503))
async def cancel_execution(id: UUID, services: ServicesOf) -> StartedOut:
    """Cancel an execution: at once while it waits, as soon as its step can be stopped while it runs."""
    async with services.database.transaction() as session:
        return StartedOut.model_validate(await control.cancel(session, id, services.settings))


def _summary(execution: Execution, workflow_name: str) -> dict[str, Any]:
    own = {name: getattr(execution, name) for name in ExecutionOut.model_fields if name != "workflow_name"}
    return own | {"workflow_name": workflow_name}


def _detail(found: ExecutionDetail) -> ExecutionDetailOut:
    execution, run = found.execution, found.flow_run
    return ExecutionDetailOut(
        **_summary(execution, found.workflow_name),
        trigger=TriggerDataOut(
            type=execution.trigger_type, event_type=execution.event_type, data=execution.trigger_data
        ),
        result=execution.result,
        steps=[_step(one) for one in found.steps],
        flow_run=FlowRunOut(id=run.prefect_id, state=run.state) if run else None,
        degraded=execution.degraded,
        owed=[OwedOut.model_validate(one) for one in found.owed],
    )


def _step(step: StepExecution) -> StepExecutionOut:
    return StepExecutionOut(
        identifier=step.identifier,
        type=step.step_type,
        order=step.order,
        status=step.status,
        started_at=step.started_at,
        duration_ms=step.duration_ms,
        result=step.result,
        error_message=step.error_message,
    )


def _line(execution_id: UUID, line: ExecutionLog, workflow_id: UUID, step: str) -> LogLineOut:
    return LogLineOut(
        timestamp=line.timestamp,
        execution_id=execution_id,
        workflow_id=workflow_id,
        project_id=line.project_id,
        step=step,
        level=line.level,
        message=line.message,
        duration_ms=line.duration_ms,
        metadata=line.details,
    )
