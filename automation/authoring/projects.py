"""Deleting a project: at once nothing of it runs any more; what is left of it, automation/erasure.py clears away."""

from uuid import uuid4

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.audit import Actor
from automation.authoring.calling_off import call_off
from automation.authoring.triggers import lock, tell
from automation.authoring.write import archive
from automation.models import Execution, ProjectDeletion, Status, Timer, Workflow, utc_now
from automation.models.project_queries import open_deletion, require_project
from automation.settings import Settings


async def delete_project(
    session: AsyncSession, project_id: str, settings: Settings, actor: Actor
) -> tuple[ProjectDeletion, bool]:
    """Have a project deleted: its workflows are archived, what waits is called off, and what runs is told to stop.

    Returns:
        The deletion, and whether it begins now; if not, somebody has asked for it before.

    Raises:
        NotFoundError: there is no such project.
    """
    await require_project(session, project_id, lock=True)
    known = await open_deletion(session, project_id)
    if known is not None:
        return known, False
    deletion = ProjectDeletion(
        id=uuid4(), project_id=project_id, key_id=actor.key_id, requested_by=actor.name, last_error="", deleted={}
    )
    session.add(deletion)
    await stop_project(session, project_id, settings)
    await session.flush()
    return deletion, True


async def stop_project(session: AsyncSession, project_id: str, settings: Settings) -> None:
    """See to it that nothing of a project runs, nor will; what runs now stops as soon as its step can be stopped.

    That is also what workflows of the platform do for it.
    """
    active = select(Workflow.id).where(Workflow.project_id == project_id, Workflow.archived_at.is_(None))
    for workflow_id in (await session.scalars(active.order_by(Workflow.id))).all():
        await archive(session, await lock(session, workflow_id), settings)
        await tell(session, workflow_id)
    await session.execute(delete(Timer).where(Timer.project_id == project_id, Timer.status == "WAITING"))
    of_project = Execution.project_id == project_id
    await call_off(session, of_project, "its project was deleted", settings)
    await session.execute(
        update(Execution)
        .where(of_project, Execution.status == Status.RUNNING, Execution.cancel_requested_at.is_(None))
        .values(cancel_requested_at=utc_now())
        .execution_options(synchronize_session=False)
    )
