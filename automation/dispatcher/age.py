"""The age of the queue: operators are told when work that is due waits too long before anything begins it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.database import Database
from automation.dispatcher.assign import allowed, flush_parameters
from automation.models import utc_now
from automation.prefect_events import EXECUTION, PROJECT, prefect_event, related, send
from automation.settings import Settings

_LOOK = 10.0
"""Seconds between two looks at the queue."""
_REPEAT = 60.0
"""Seconds between two events while it stays old."""
_RESOURCE = "automation.queue"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Oldest:
    """The execution that has waited longest since it was due."""

    id: UUID
    kind: str
    project_id: str | None
    due_at: datetime


async def oldest(session: AsyncSession, longer_than: timedelta, kind: str | None = None) -> Oldest | None:
    """The oldest execution that has been due for longer than that and that no process has begun, if there is one.

    What has a flow run counts too while no worker has taken it: without workers the queue stands in Prefect.
    What waits for another one of its key, or for a flush, waits as it should and does not count: the one that
    it waits for does, unless that one is at work.

    ix_workflow_executions_due; ix_flow_runs_open and ix_workflow_executions_flow_run_id.

    Args:
        kind: only of this type of workflow.
    """
    columns = "w.id, w.kind, w.project_id, w.due_at"
    conditions, parameters = allowed(), flush_parameters()
    of_kind = "" if kind is None else "AND w.kind = :kind"
    if kind is not None:
        parameters = parameters | {"kind": kind}
    query = text(f"""
        (SELECT {columns} FROM workflow_executions AS w
         WHERE w.status IN ('PENDING', 'RETRYING') AND w.flow_run_id IS NULL
           AND w.due_at < CAST(:late AS timestamptz) AND {conditions} {of_kind}
         ORDER BY w.due_at LIMIT 1)
        UNION ALL
        (SELECT {columns} FROM flow_runs AS r JOIN workflow_executions AS w ON w.flow_run_id = r.id
         WHERE r.ended_at IS NULL AND r.claimed_at IS NULL AND r.state_name <> 'AwaitingRetry'
           AND w.status = 'PENDING' AND w.due_at < CAST(:late AS timestamptz) {of_kind}
         ORDER BY w.due_at LIMIT 1)
        ORDER BY due_at LIMIT 1
    """)  # noqa: S608 (conditions are our own; values are parameters)
    found = (await session.execute(query, {"late": utc_now() - longer_than, **parameters})).tuples().first()
    return Oldest(*found) if found else None


class QueueAge:
    """Looks at the queue now and then; tells when it is too old, again each minute, and when that is over.

    Each service process tells what it sees, by itself.
    """

    def __init__(
        self, database: Database, prefect: PrefectClient, settings: Settings, clock: Callable[[], float] = monotonic
    ) -> None:
        self.database = database
        self.prefect = prefect
        self.limit = timedelta(seconds=settings.queue_age_alert)
        self._clock = clock
        self._looked = self._told = float("-inf")
        self._old_since: float | None = None

    async def look(self) -> None:
        """Look, unless somebody did a moment ago."""
        now = self._clock()
        if now - self._looked < _LOOK:
            return
        self._looked = now
        async with self.database.transaction() as session:
            found = await oldest(session, self.limit)
        if found:
            await self._tell_old(found, now)
        elif self._old_since is not None:
            await self._tell_recovered(now - self._old_since)

    async def _tell_old(self, found: Oldest, now: float) -> None:
        self._old_since = now if self._old_since is None else self._old_since
        if now - self._told < _REPEAT:
            return
        age = round((utc_now() - found.due_at).total_seconds())
        log.warning("Execution %s (%s) has been due for %d s, and nothing has begun it.", found.id, found.kind, age)
        execution = related("execution", f"{EXECUTION}{found.id}", found.kind)
        project = [related("project", PROJECT + found.project_id)] if found.project_id else []
        event = prefect_event(
            f"{_RESOURCE}.old",
            _RESOURCE,
            "Queue",
            labels={"automation.kind": found.kind},
            related=[execution, *project],
            payload={
                "age_seconds": age,
                "limit_seconds": self.limit.total_seconds(),
                "execution_id": str(found.id),
                "kind": found.kind,
                "project_id": found.project_id or "",
            },
        )
        if await send(self.prefect, [event]):
            self._told = now

    async def _tell_recovered(self, seconds: float) -> None:
        log.info("The queue is young again, after %d s.", seconds)
        event = prefect_event(f"{_RESOURCE}.recovered", _RESOURCE, "Queue", payload={"old_for_seconds": round(seconds)})
        if await send(self.prefect, [event]):
            self._old_since = None
