"""Deleted projects are cleared away: the loop that removes, bit by bit, all that was theirs.

`project_deletions` is the job. Every part can be done again: killed at any point, the next process goes on.
"""

import asyncio
import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import sqlalchemy.exc
from prefect.client.orchestration import PrefectClient
from sqlalchemy import delete, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

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
    DedupeKey,
    Delivery,
    Event,
    Execution,
    ExecutionLog,
    FlowRun,
    Integration,
    Owed,
    Project,
    ProjectDeletion,
    Sighting,
    Silence,
    Timer,
    Trigger,
    TriggerState,
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


_ROWS: tuple[tuple[type[Any], InstrumentedAttribute[Any]], ...] = (
    (Execution, Execution.created_at),
    (Delivery, Delivery.created_at),
    (Owed, Owed.created_at),
    (Sighting, Sighting.id),
    (Alert, Alert.created_at),
    (Silence, Silence.created_at),
    (Timer, Timer.created_at),
    (Activity, Activity.id),
    (ExecutionLog, ExecutionLog.id),
    (Event, Event.received_at),
)
"""Tables that name a project without referring to it, and in which order they are cleared; of an execution its steps,
attempts, waits, log lines and its dead letter go with it."""


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
        for model, order in _ROWS:
            of_project = model.project_id == project_id
            counts.update(await delete_in_batches(self.database, model, of_project, order))
        async with self.database.transaction() as session:
            reason = await _finish(session, deletion, dict(counts))
        if not reason:
            log.info("Project %s is gone: %s", one_line(project_id), dict(counts))
        return reason

    async def _delete_flow_runs(self, project_id: str) -> int:
        gone = await delete_project_runs(project_id)
        carried = select(Execution.flow_run_id).where(Execution.project_id == project_id)
        async with self.database.transaction() as session:
            await session.execute(
                delete(FlowRun).where(
                    FlowRun.prefect_id.in_(gone) | (FlowRun.id.in_(carried) & (FlowRun.mode == "single"))
                )
            )
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


async def _finish(session: AsyncSession, deletion: ProjectDeletion, counts: dict[str, int]) -> str:
    """The project's row goes, with its workflows, triggers and what they remember, and with what came meanwhile; its
    keys are revoked. Why it has to wait, or nothing."""
    project_id, now = deletion.project_id, utc_now()
    # whoever stores an event begins with that: they end before us, or find a project that is not there any more
    await session.execute(text("SET LOCAL lock_timeout = '2s'"))
    await session.execute(text("LOCK TABLE events IN SHARE MODE"))
    if reason := await _still_at_work(session, project_id):
        return reason
    await _forget(session, project_id)
    for model, _ in _ROWS:
        await session.execute(delete(model).where(model.project_id == project_id))
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
    return ""


async def _forget(session: AsyncSession, project_id: str) -> None:
    """What triggers of the platform remember of a project: their keys begin with its id (intake/decide.py)."""
    for model in (TriggerState, DedupeKey):
        mine = [
            (model.key == begin) | model.key.startswith(f"{begin}:", autoescape=True)
            for begin in (project_id, f"seen:{project_id}")
        ]
        of_platform = select(Trigger.id).where(Trigger.project_id.is_(None))
        await session.execute(
            delete(model)
            .where(model.trigger_id.in_(of_platform), or_(*mine))
            .execution_options(synchronize_session=False)
        )


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
