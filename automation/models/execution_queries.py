"""What people ask of executions: the list, one of them, its log."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from automation.errors import NotFoundError
from automation.models.execution import Execution, ExecutionLog, StepExecution
from automation.models.flow_run import FlowRun
from automation.models.paging import Order, Page, Position, read_page
from automation.models.recovery import Owed
from automation.models.workflow import Workflow

NEWEST_FIRST = Order(Execution.created_at, Execution.id, descending=True)
OLDEST_LINE_FIRST = Order(ExecutionLog.timestamp, ExecutionLog.id, descending=False)


@dataclass(frozen=True, slots=True)
class ExecutionDetail:
    """An execution with all that belongs to it. `flow_run` is the last one that carried it, `owed` what its steps
    left to the outbox and is not delivered."""

    execution: Execution
    workflow_name: str
    steps: list[StepExecution]
    flow_run: FlowRun | None
    owed: list[Owed]


async def list_executions(
    session: AsyncSession,
    *,
    project_id: str | None = None,
    workflow_id: UUID | None = None,
    status: str | None = None,
    position: Position | None = None,
    size: int = 50,
) -> Page[tuple[Execution, str]]:
    """Executions with the names of their workflows, newest first; ix_workflow_executions_created_at_id.

    What can be large (trigger data, result) is not read.
    """
    query = (
        select(Execution, Workflow.name)
        .join(Workflow, Workflow.id == Execution.workflow_id)
        .options(defer(Execution.trigger_data, raiseload=True), defer(Execution.result, raiseload=True))
    )
    if project_id is not None:
        query = query.where(Execution.project_id == project_id)
    if workflow_id is not None:
        query = query.where(Execution.workflow_id == workflow_id)
    if status is not None:
        query = query.where(Execution.status == status)
    return await read_page(session, query, NEWEST_FIRST, position, size)


async def find_execution(session: AsyncSession, execution_id: UUID) -> ExecutionDetail:
    """One execution, its steps in their order and its flow run.

    Raises:
        NotFoundError: there is no such execution.
    """
    query = (
        select(Execution, Workflow.name, FlowRun)
        .join(Workflow, Workflow.id == Execution.workflow_id)
        .outerjoin(FlowRun, FlowRun.id == Execution.flow_run_id)
        .where(Execution.id == execution_id)
    )
    found = (await session.execute(query)).one_or_none()
    if found is None:
        raise NotFoundError(f"Execution {execution_id} does not exist.")
    execution, name, flow_run = found
    steps = await session.scalars(
        select(StepExecution)
        .where(StepExecution.execution_id == execution_id)
        .order_by(StepExecution.order, StepExecution.identifier)
    )
    owed = await session.scalars(
        select(Owed)
        .where(Owed.execution_id == execution_id, Owed.status != "DELIVERED")
        .order_by(Owed.created_at, Owed.id)
    )
    return ExecutionDetail(execution, name, list(steps), flow_run, list(owed))


async def lock_execution(session: AsyncSession, execution_id: UUID) -> Execution:
    """One execution, which nobody else changes until the transaction ends.

    Raises:
        NotFoundError: there is no such execution.
    """
    query = select(Execution).where(Execution.id == execution_id).with_for_update()
    execution = await session.scalar(query)
    if execution is None:
        raise NotFoundError(f"Execution {execution_id} does not exist.")
    return execution


async def list_log_lines(
    session: AsyncSession,
    execution_id: UUID,
    *,
    level: str | None = None,
    step: str | None = None,
    position: Position | None = None,
    size: int = 50,
) -> Page[tuple[ExecutionLog, UUID, str]]:
    """Lines of an execution's log with its workflow's id and the type of their step, oldest first.

    A line whose step is not on record has its identifier in place of the type.

    Args:
        step: a step's type or identifier.

    Raises:
        NotFoundError: there is no such execution.
    """
    workflow_id = await session.scalar(select(Execution.workflow_id).where(Execution.id == execution_id))
    if workflow_id is None:
        raise NotFoundError(f"Execution {execution_id} does not exist.")
    step_type = func.coalesce(StepExecution.step_type, ExecutionLog.step_identifier)
    query = (
        select(ExecutionLog, Execution.workflow_id, step_type)
        .join(Execution, Execution.id == ExecutionLog.execution_id)
        .outerjoin(
            StepExecution,
            (StepExecution.execution_id == ExecutionLog.execution_id)
            & (StepExecution.identifier == ExecutionLog.step_identifier),
        )
        .where(ExecutionLog.execution_id == execution_id)
    )
    if level is not None:
        query = query.where(ExecutionLog.level == level)
    if step is not None:
        query = query.where(or_(ExecutionLog.step_identifier == step, StepExecution.step_type == step))
    return await read_page(session, query, OLDEST_LINE_FIRST, position, size)
