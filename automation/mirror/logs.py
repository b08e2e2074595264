"""Copying Prefect's log lines of our runs into `workflow_execution_logs`, each exactly once."""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    LogFilter,
    LogFilterFlowRunId,
    LogFilterTimestamp,
)
from prefect.client.schemas.objects import Log
from prefect.client.schemas.sorting import LogSort
from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from automation.database import Database
from automation.models import Execution, ExecutionLog, FlowRun, StepExecution, utc_now
from automation.steps import one_line

LATE = timedelta(seconds=60)
"""A run's log is read until so long after its end: Prefect sends log lines in batches, and late."""
_BEHIND = timedelta(seconds=10)
"""Every reading begins so far before the last one, for lines that were sent out of order."""
_PAGE = 200
_RUNS = 100
OWN_SUFFIX = ".step"
"""Logger name of the lines that the engine has written into our table itself."""

_Run = tuple[UUID, UUID, datetime | None, datetime | None]


async def copy(database: Database, client: PrefectClient) -> int:
    """Read the logs of open and just ended runs; the number of new lines."""
    async with database.transaction() as session:
        runs = await _readable(session)
    new = 0
    for start in range(0, len(runs), _RUNS):
        new += await _copy_runs(database, client, runs[start : start + _RUNS])
    return new


async def _readable(session: AsyncSession) -> list[_Run]:
    """Runs that may still have unread lines; ix_flow_runs_open and ix_flow_runs_logs_open."""
    query = select(FlowRun.id, FlowRun.prefect_id, FlowRun.logs_read_at, FlowRun.ended_at).where(
        FlowRun.prefect_id.is_not(None),
        ~FlowRun.logs_done,
        or_(FlowRun.claimed_at.is_not(None), FlowRun.state != "SCHEDULED"),
    )
    return [(a, b, c, d) for a, b, c, d in (await session.execute(query)).tuples() if b]


async def _copy_runs(database: Database, client: PrefectClient, runs: Sequence[_Run]) -> int:
    began = utc_now()
    by_prefect_id = {prefect_id: id_ for id_, prefect_id, _, _ in runs}
    read = [read_at for _, _, read_at, _ in runs]
    since = min(at for at in read if at) - _BEHIND if all(read) else None
    chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=list(by_prefect_id)))
    if since:
        chosen.timestamp = LogFilterTimestamp(after_=since)
    new = offset = 0
    while True:
        page = await client.read_logs(log_filter=chosen, limit=_PAGE, offset=offset, sort=LogSort.TIMESTAMP_ASC)
        async with database.transaction() as session:
            new += await _store(session, page, by_prefect_id)
        if len(page) < _PAGE:
            break
        offset += _PAGE
    async with database.transaction() as session:
        await _note_read(session, runs, began)
    return new


async def _note_read(session: AsyncSession, runs: Sequence[_Run], at: datetime) -> None:
    ids = [id_ for id_, _, _, _ in runs]
    await session.execute(update(FlowRun).where(FlowRun.id.in_(ids)).values(logs_read_at=at))
    done = [id_ for id_, _, _, ended_at in runs if ended_at and ended_at + LATE < at]
    if done:
        await session.execute(
            update(FlowRun).where(FlowRun.id.in_(done), FlowRun.ended_at.is_not(None)).values(logs_done=True)
        )


async def _store(session: AsyncSession, lines: Sequence[Log], rows: dict[UUID, UUID]) -> int:
    """Insert the lines that are not ours already; Prefect's log id is unique."""
    lines = [line for line in lines if not line.name.endswith(OWN_SUFFIX)]
    if not lines:
        return 0
    steps = await _steps(session, [line.task_run_id for line in lines if line.task_run_id])
    executions = await _executions(session, [rows[line.flow_run_id] for line in lines if line.flow_run_id])
    values = [_row(line, rows, steps, executions) for line in lines]
    statement = insert(ExecutionLog).values(values).on_conflict_do_nothing(index_elements=["prefect_log_id"])
    return len((await session.execute(statement.returning(ExecutionLog.id))).all())


async def _steps(session: AsyncSession, task_run_ids: Sequence[UUID]) -> dict[UUID, list[Any]]:
    """Steps by the task run that ran them; one task run of a batch run ran a step of many executions."""
    query = select(
        StepExecution.task_run_id, StepExecution.execution_id, StepExecution.step_id, StepExecution.identifier
    ).where(StepExecution.task_run_id.in_(task_run_ids))
    found: dict[UUID, list[Any]] = {}
    for row in (await session.execute(query)).all():
        found.setdefault(row.task_run_id, []).append(row)
    return found


async def _executions(session: AsyncSession, flow_run_ids: Sequence[UUID]) -> dict[UUID, list[Any]]:
    query = select(Execution.flow_run_id, Execution.id, Execution.project_id).where(
        Execution.flow_run_id.in_(flow_run_ids)
    )
    found: dict[UUID, list[Any]] = {}
    for row in (await session.execute(query)).all():
        found.setdefault(row.flow_run_id, []).append(row)
    return found


def _row(
    line: Log, rows: dict[UUID, UUID], steps: dict[UUID, list[Any]], executions: dict[UUID, list[Any]]
) -> dict[str, Any]:
    assert line.flow_run_id is not None
    flow_run_id = rows[line.flow_run_id]
    carried = executions.get(flow_run_id, [])
    execution = carried[0] if len(carried) == 1 else None
    done = steps.get(line.task_run_id, []) if line.task_run_id else []
    step = done[0] if len(done) == 1 else None
    return {
        "execution_id": execution.id if execution else None,
        "flow_run_id": flow_run_id,
        "project_id": execution.project_id if execution else None,
        "step_id": step.step_id if step else None,
        "step_identifier": done[0].identifier if done else "",
        "timestamp": line.timestamp,
        "level": logging.getLevelName(line.level),
        "message": one_line(line.message),
        "details": {},
        "prefect_log_id": line.id,
    }
