"""Deleting what is older than its retention, in batches, from our tables and from Prefect.

Nothing that has not ended is ever deleted, whatever its age, and no statement holds its locks for more
than one batch. Prefect's own events go by its vacuum, which `automation up` sets to the same age.
"""

import asyncio
import logging
from collections import Counter
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, cast
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterParentTaskRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from sqlalchemy import ColumnElement, CursorResult, delete, exists, func, inspect, select, text, tuple_
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from automation.database import Database
from automation.models import (
    FINAL,
    Activity,
    Alert,
    AlertState,
    AuditEntry,
    Base,
    DedupeKey,
    Delivery,
    Event,
    Execution,
    ExecutionLog,
    FlowRun,
    IdempotencyKey,
    Owed,
    Sighting,
    Silence,
    Timer,
    TriggerState,
    utc_now,
)
from automation.models.access import IDEMPOTENCY
from automation.settings import WORK_POOL

log = logging.getLogger(__name__)

BATCH = 1000
PREFECT_BATCH = 50  # what Prefect's bulk_delete takes at most

LOCKED = "55P03"
"""PostgreSQL's code for a lock that could not be had in time."""

_REST = 1.0
"""Longest rest in seconds after a batch, else as long as the batch was: half of the disk is for who works at night."""

_PATIENCE = text("SET LOCAL lock_timeout = '1s'")
"""What hangs on a row that goes may be held by somebody; then the batch is given up, and what it held is free."""

_DELETED = text("SELECT relname, n_tup_del FROM pg_stat_xact_user_tables WHERE n_tup_del > 0")

_LONGEST_WINDOW = timedelta(days=30)
"""The longest `per_seconds` of a throttle, which counts by what triggers remember."""


async def delete_rows(database: Database, before: datetime) -> Counter[str]:
    """Delete what is older than `before`: ended executions (with steps and logs), flow runs, activities, alerts that
    are over, silences, and deliveries and effects of the outbox that are not under way any more.

    Returns:
        Rows deleted, by table, with those that went along with others, as steps do with their execution.
    """
    # completed later than created: the first condition is what the index on created_at serves
    old_execution = (
        (Execution.created_at < before)
        & (func.coalesce(Execution.completed_at, Execution.created_at) < before)
        & Execution.status.in_(FINAL)
    )
    # a flow run stays while an execution that stays, or a line of its log, refers to it
    old_flow_run = (
        (FlowRun.ended_at < before)
        & ~exists().where(Execution.flow_run_id == FlowRun.id)
        & ~exists().where(ExecutionLog.flow_run_id == FlowRun.id, ExecutionLog.execution_id.is_not(None))
    )
    over = (Alert.created_at < before) & (Alert.state == AlertState.RESOLVED) & (Alert.resolved_at < before)
    delivered = (Delivery.created_at < before) & (Delivery.status != "PENDING")
    had = (Owed.created_at < before) & (Owed.status != "OWED")
    return await _delete_each(
        database,
        (Execution, old_execution, Execution.created_at),
        (FlowRun, old_flow_run, FlowRun.ended_at),
        # ids rise with time, and created_at alone has no index
        (Activity, Activity.created_at < before, Activity.id),
        (Delivery, delivered, Delivery.created_at),
        (Owed, had, Owed.created_at),
        (Alert, over, Alert.created_at),
        (Sighting, Sighting.at < before, Sighting.id),
        (Silence, Silence.until < before, Silence.until),
    )


async def delete_events(database: Database, before: datetime) -> Counter[str]:
    """Delete events older than `before`, and what triggers remember of them: ended timers, dedupe keys, states; and
    what is no longer answered again under an `Idempotency-Key`.

    Returns:
        As `delete_rows`.
    """
    ended = (Timer.status != "WAITING") & (Timer.ended_at < before)
    answered = IdempotencyKey.created_at < utc_now() - IDEMPOTENCY
    forgotten = TriggerState.updated_at < min(before, utc_now() - _LONGEST_WINDOW)
    return await _delete_each(
        database,
        (Event, Event.received_at < before, Event.received_at),
        (Timer, ended, Timer.ended_at),
        (DedupeKey, DedupeKey.created_at < before, DedupeKey.created_at),
        (TriggerState, forgotten, TriggerState.updated_at),
        (IdempotencyKey, answered, IdempotencyKey.created_at),
    )


async def delete_audit(database: Database, before: datetime) -> Counter[str]:
    """Delete what the audit has of before.

    Returns:
        As `delete_rows`.
    """
    return await _delete_each(database, (AuditEntry, AuditEntry.at < before, AuditEntry.at))


_Chosen = tuple[type[Base], ColumnElement[bool], InstrumentedAttribute[Any]]


async def _delete_each(database: Database, *chosen: _Chosen) -> Counter[str]:
    deleted: Counter[str] = Counter()
    for model, rows, order in chosen:
        deleted += await delete_in_batches(database, model, rows, order)
    return deleted


async def delete_in_batches(
    database: Database, model: type[Base], chosen: ColumnElement[bool], order: InstrumentedAttribute[Any]
) -> Counter[str]:
    """Delete the chosen rows, each batch in a transaction of its own that leaves alone what others hold.

    Returns:
        Rows deleted, by table: of the model's, and of those whose rows went along.
    """
    key = inspect(model).primary_key
    # a CTE with a lock is computed once; as a plain sub-select the planner may repeat it and pass the limit
    batch = select(*key).where(chosen).order_by(order).limit(BATCH).with_for_update(of=model, skip_locked=True).cte()
    statement = delete(model).where(tuple_(*key).in_(select(*batch.c))).execution_options(synchronize_session=False)
    total: Counter[str] = Counter()
    while True:
        began = monotonic()
        try:
            async with database.transaction() as session:
                await session.execute(_PATIENCE)
                before = await _deleted_so_far(session)
                deleted = cast(CursorResult[Any], await session.execute(statement)).rowcount
                total += await _deleted_so_far(session) - before
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != LOCKED:
                raise
            log.warning("Some of %s is in use; the rest of what is too old stays until next time.", model.__tablename__)
            return total
        if deleted < BATCH:
            return total
        await asyncio.sleep(min(monotonic() - began, _REST))


async def _deleted_so_far(session: AsyncSession) -> Counter[str]:
    """Rows by table that this connection has deleted; PostgreSQL forgets some of it only between transactions."""
    return Counter(dict((await session.execute(_DELETED)).tuples().all()))


async def delete_prefect_runs(before: datetime, work_pool: str = WORK_POOL) -> int:
    """Delete the flow runs of a work pool that ended before `before` from Prefect, with their logs.

    Runs of other pools are not ours to delete. A run with a parent goes after the parent, as in Prefect's
    own vacuum. Prefect removes the logs of a deleted run by itself, in the background.

    Returns:
        Runs deleted.

    Raises:
        httpx.HTTPError: Prefect's server could not be reached or refused (counts as NETWORK).
    """
    ended = FlowRunFilter(
        end_time=FlowRunFilterEndTime(before_=before),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=sorted(TERMINAL_STATES))),
        parent_task_run_id=FlowRunFilterParentTaskRunId(is_null_=True),
    )
    return len(await _delete_runs(ended, work_pool))


async def delete_project_runs(project_id: str, work_pool: str = WORK_POOL) -> list[UUID]:
    """Delete all flow runs that carried executions of a project, and have ended, from Prefect, with their logs.

    Batch runs, which carry executions of many projects, stay until they are too old.

    Returns:
        Prefect's ids of the runs.

    Raises:
        httpx.HTTPError: as `delete_prefect_runs`.
    """
    ended = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[f"project:{project_id}"]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=sorted(TERMINAL_STATES))),
    )
    return await _delete_runs(ended, work_pool)


async def _delete_runs(chosen: FlowRunFilter, work_pool: str) -> list[UUID]:
    ours = WorkPoolFilter(name=WorkPoolFilterName(any_=[work_pool]))
    gone: list[UUID] = []
    async with get_client() as client:
        while runs := await client.read_flow_runs(flow_run_filter=chosen, work_pool_filter=ours, limit=PREFECT_BATCH):
            # the state once more, since a run may have been started again in between
            these = chosen.model_copy(update={"id": FlowRunFilterId(any_=[run.id for run in runs])})
            answer = await client.request(
                "POST",
                "/flow_runs/bulk_delete",  # type: ignore[arg-type]  # the client's list of routes lacks it
                json={"flow_runs": these.model_dump(mode="json", exclude_unset=True), "limit": PREFECT_BATCH},
            )
            deleted = [UUID(id_) for id_ in answer.json()["deleted"]]
            gone += deleted
            if not deleted:
                break
    return gone
