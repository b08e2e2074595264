"""What people ask of workflows: the list, and one of them with its steps and triggers."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from automation.errors import NotFoundError
from automation.models.paging import Order, Page, Position, read_page
from automation.models.recovery import WorkflowVersion
from automation.models.workflow import Workflow, WorkflowStep

NEWEST_FIRST = Order(Workflow.created_at, Workflow.id, descending=True)
NEWEST_VERSION_FIRST = Order(WorkflowVersion.created_at, WorkflowVersion.version, descending=True)


async def list_workflows(
    session: AsyncSession,
    *,
    project_id: str | None = None,
    kind: str | None = None,
    is_active: bool | None = None,
    archived: bool = False,
    position: Position | None = None,
    size: int = 50,
) -> Page[tuple[Workflow]]:
    """Workflows, newest first: those that are there, or those that are archived."""
    query = select(Workflow).where(Workflow.archived_at.is_not(None) if archived else Workflow.archived_at.is_(None))
    if project_id is not None:
        query = query.where(Workflow.project_id == project_id)
    if kind is not None:
        query = query.where(Workflow.kind == kind)
    if is_active is not None:
        query = query.where(Workflow.is_active == is_active)
    return await read_page(session, query, NEWEST_FIRST, position, size)


async def find_workflow(session: AsyncSession, workflow_id: UUID) -> Workflow:
    """One workflow with its steps and triggers.

    Raises:
        NotFoundError: there is no such workflow.
    """
    query = (
        select(Workflow)
        .options(selectinload(Workflow.steps), selectinload(Workflow.triggers))
        .where(Workflow.id == workflow_id)
    )
    workflow = await session.scalar(query)
    if workflow is None:
        raise NotFoundError(f"Workflow {workflow_id} does not exist.")
    return workflow


async def list_versions(
    session: AsyncSession, workflow_id: UUID, position: Position | None, size: int
) -> Page[tuple[WorkflowVersion]]:
    """The versions of a workflow that are stored, newest first."""
    query = select(WorkflowVersion).where(WorkflowVersion.workflow_id == workflow_id)
    return await read_page(session, query, NEWEST_VERSION_FIRST, position, size)


async def steps_of(session: AsyncSession, workflow_id: UUID) -> list[WorkflowStep]:
    """The steps of a workflow, in their order."""
    query = select(WorkflowStep).where(WorkflowStep.workflow_id == workflow_id)
    rows = await session.scalars(query.order_by(WorkflowStep.order, WorkflowStep.identifier))
    return list(rows.all())


async def lock_workflow(session: AsyncSession, workflow_id: UUID) -> Workflow:
    """One workflow with its steps and triggers, which nobody else changes until the transaction ends.

    Executions may still be made of it meanwhile (FOR NO KEY UPDATE lets their foreign key pass).

    Raises:
        NotFoundError: there is no such workflow.
    """
    await session.execute(select(Workflow.id).where(Workflow.id == workflow_id).with_for_update(key_share=True))
    return await find_workflow(session, workflow_id)
