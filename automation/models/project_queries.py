"""What people ask of projects: the list, and one of them with what is going on in it."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from automation.errors import ConflictError, NotFoundError
from automation.models.event import Event
from automation.models.execution import OPEN, Execution
from automation.models.paging import Order, Page, Position, read_page
from automation.models.project import Project, ProjectDeletion
from automation.models.workflow import Workflow

NEWEST_FIRST = Order(Project.created_at, Project.id, descending=True)


async def list_projects(
    session: AsyncSession, *, id: str | None = None, position: Position | None = None, size: int = 50
) -> Page[tuple[Project]]:
    """Projects, newest first; ix_projects_created_at_id. With `id` that one alone."""
    query = select(Project)
    if id is not None:
        query = query.where(Project.id == id)
    return await read_page(session, query, NEWEST_FIRST, position, size)


@dataclass(frozen=True, slots=True)
class ProjectDetail:
    """A project with what is going on in it.

    Attributes:
        workflows: those that are not deleted.
        last_event: without its data; None when none is kept.
        deletion: None unless it is being deleted.
    """

    project: Project
    workflows: int
    open_executions: int
    last_event: Event | None
    deletion: ProjectDeletion | None


async def find_project(session: AsyncSession, project_id: str) -> ProjectDetail:
    """One project; ix_workflows_project_id_kind, ix_workflow_executions_open, ix_events_project_id_received_at,
    uq_project_deletions_open.

    Raises:
        NotFoundError: there is no such project.
    """
    project = await require_project(session, project_id)
    workflows = select(func.count()).where(Workflow.project_id == project_id, Workflow.archived_at.is_(None))
    going_on = select(func.count()).where(Execution.project_id == project_id, Execution.status.in_(OPEN))
    last = (
        select(Event)
        .options(defer(Event.data, raiseload=True), defer(Event.decisions, raiseload=True))
        .where(Event.project_id == project_id)
        .order_by(Event.received_at.desc())
        .limit(1)
    )
    return ProjectDetail(
        project=project,
        workflows=await session.scalar(workflows) or 0,
        open_executions=await session.scalar(going_on) or 0,
        last_event=await session.scalar(last),
        deletion=await open_deletion(session, project_id),
    )


async def require_project(session: AsyncSession, project_id: str, *, lock: bool = False) -> Project:
    """One project.

    Args:
        lock: nobody else changes it, or adds anything to it, until the transaction ends.

    Raises:
        NotFoundError: there is no such project.
    """
    storable = "\0" not in project_id
    found = await session.get(Project, project_id, with_for_update=lock or None) if storable else None
    if found is None:
        raise NotFoundError(f"Project {project_id} does not exist.")
    return found


async def open_deletion(session: AsyncSession, project_id: str) -> ProjectDeletion | None:
    """That a project is being deleted."""
    query = select(ProjectDeletion).where(
        ProjectDeletion.project_id == project_id, ProjectDeletion.completed_at.is_(None)
    )
    found: ProjectDeletion | None = await session.scalar(query)
    return found


async def refuse_deleted(session: AsyncSession, project_id: str) -> None:
    """Refuse to add something to a project that is being deleted; who would delete it waits until this is committed.

    Raises:
        ConflictError: it is.
    """
    project = select(Project.id).where(Project.id == project_id)
    await session.execute(project.with_for_update(read=True, key_share=True))
    if await open_deletion(session, project_id) is not None:
        raise ConflictError(f"Project {project_id} is being deleted; when it is gone, it can begin anew.")
