"""Deleted projects are cleared away: the loop that removes, bit by bit, all that was theirs.

`project_deletions` is the job. Every part can be done again: killed at any point, the next process goes on.
"""

import asyncio
import logging
import shutil
from collections import Counter
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx
import sqlalchemy.exc
from prefect.client.orchestration import PrefectClient
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.audit import note
from automation.authoring.projects import stop_project
from automation.database import Database
from automation.errors import AutomationError
from automation.integrations import write as integrations
from automation.maintenance import delete_in_batches, delete_project_runs
from automation.models import (
    OPEN,
    Activity,
    Alert,
    ApiKey,
    Delivery,
    Event,
    Execution,
    ExecutionLog,
    FlowRun,
    Integration,
    Owed,
    Project,
    ProjectDeletion,
    Workflow,
    WorkflowDeployment,
    utc_now,
)
from automation.runtime import remote
from automation.settings import Settings
from automation.steps import one_line

log = logging.getLogger(__name__)

_LOCK = 0x4741_4E45  # "GONE"
_PAUSE = 1.0
"""Seconds between two looks."""
_FAULTS = (AutomationError, httpx.HTTPError, OSError, asyncpg.PostgresError, sqlalchemy.exc.SQLAlchemyError)


class Erasure:
    """Clears deleted projects away, the oldest deletion first; one that cannot go on does not hold up the others."""

    def __init__(self, database: Database, prefect: PrefectClient, settings: Settings) -> None:
        self.database = database
        self.prefect = prefect
        self.settings = settings

    async def run(self) -> None:
        """Work until cancelled, while this process holds the lock."""
        connection = await self.database.listen()
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                await asyncio.sleep(_PAUSE)
            while not connection.is_closed():
                await self.round()
                await asyncio.sleep(_PAUSE)
        finally:
            connection.terminate()

    async def round(self) -> None:
        """Take every deletion as far as it can go now."""
        wanted = select(ProjectDeletion).where(ProjectDeletion.completed_at.is_(None))
        async with self.database.transaction() as session:
            deletions = (await session.scalars(wanted.order_by(ProjectDeletion.requested_at))).all()
        for one in deletions:
            try:
                reason = await self._erase(one)
            except _FAULTS as error:
                reason = one_line(str(error)) or type(error).__name__
                log.warning("Project %s cannot be cleared away at the moment: %s", one_line(one.project_id), reason)
            if reason != one.last_error:
                await self._remember(one.id, reason)

    async def _erase(self, deletion: ProjectDeletion) -> str:
        """Clear a project away; why it has to wait, or nothing when it is gone."""
        project_id = deletion.project_id
        async with self.database.transaction() as session:
            await stop_project(session, project_id, self.settings)
            reason = await _still_at_work(session, project_id)
        if reason:
            return reason
        counts = Counter(prefect_flow_runs=await self._delete_flow_runs(project_id))
        await self._delete_integrations(project_id)
        if self.settings.runtime_url:
            await remote.delete_project(self.settings, project_id)
        # pages may be kept here from before there was a RUNTIME_URL
        await asyncio.to_thread(_delete_folder, self.settings.runtime_root / project_id)
        for model in (Execution, Delivery, Owed, Alert):
            of_project = model.project_id == project_id
            counts.update(await delete_in_batches(self.database, model, of_project, model.created_at))
        for table, order in ((Activity, Activity.id), (ExecutionLog, ExecutionLog.id), (Event, Event.received_at)):
            of_project = table.project_id == project_id
            counts.update(await delete_in_batches(self.database, table, of_project, order))
        async with self.database.transaction() as session:
            await _finish(session, deletion, dict(counts))
        log.info("Project %s is gone: %s", one_line(project_id), dict(counts))
        return ""

    async def _delete_flow_runs(self, project_id: str) -> int:
        gone = await delete_project_runs(project_id)
        async with self.database.transaction() as session:
            await session.execute(delete(FlowRun).where(FlowRun.prefect_id.in_(gone)))
        return len(gone)

    async def _delete_integrations(self, project_id: str) -> None:
        """One by one, since the credentials of each go with it."""
        while True:
            async with self.database.transaction() as session:
                query = select(Integration).where(Integration.project_id == project_id).limit(1)
                row = await session.scalar(query.with_for_update())
                if row is None:
                    return
                await integrations.delete(session, self.prefect, row)

    async def _remember(self, id_: UUID, reason: str) -> None:
        async with self.database.transaction() as session:
            await session.execute(
                update(ProjectDeletion).where(ProjectDeletion.id == id_).values(last_error=reason[:2000])
            )


async def _still_at_work(session: AsyncSession, project_id: str) -> str:
    """What has to end before rows and files can go."""
    running = select(func.count()).where(Execution.project_id == project_id, Execution.status.in_(OPEN))
    if number := await session.scalar(running) or 0:
        return f"{number} executions have not stopped yet"
    deployed = select(func.count()).select_from(WorkflowDeployment).join(Workflow)
    if number := await session.scalar(deployed.where(Workflow.project_id == project_id)) or 0:
        return f"{number} deployments of its workflows are still in Prefect"
    return ""


async def _finish(session: AsyncSession, deletion: ProjectDeletion, counts: dict[str, int]) -> None:
    """The project's row goes, and with it its workflows, triggers and what they remember; so do its keys."""
    project_id, now = deletion.project_id, utc_now()
    await session.execute(delete(Event).where(Event.project_id == project_id))  # what came in the meantime
    await session.execute(delete(Project).where(Project.id == project_id))
    await session.execute(
        update(ApiKey).where(ApiKey.project_id == project_id, ApiKey.revoked_at.is_(None)).values(revoked_at=now)
    )
    await session.execute(
        update(ProjectDeletion)
        .where(ProjectDeletion.id == deletion.id)
        .values(completed_at=now, last_error="", deleted=counts)
    )
    await note(session, _Asked(deletion), "erase", "project", project_id, project_id, None, counts)


class _Asked:
    """Who has asked for a deletion, as the audit knows them."""

    def __init__(self, deletion: ProjectDeletion) -> None:
        self.key_id = deletion.key_id
        self.name = deletion.requested_by


def _delete_folder(folder: Path) -> None:
    if folder.is_symlink():  # to a larger disk, say
        _delete_folder(folder.resolve())
        folder.unlink(missing_ok=True)
    elif folder.is_dir():
        shutil.rmtree(folder)
