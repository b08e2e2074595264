"""Copying Prefect's log lines of our runs into `workflow_execution_logs`, each exactly once."""

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
from automation.logs.lines import level_name
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


async def copy(database: Database, client: PrefectClient) -> None:
    """Read the logs of open and just ended runs: all of a run's log at first and at last, else what is new."""
    began = utc_now()
    async with database.transaction() as session:
        runs = await _readable(session)
    known = [run for run in runs if run[2] and not _is_last(run, began)]
    for some in (known, [run for run in runs if run not in known]):
        for start in range(0, len(some), _RUNS):
            await _copy_runs(database, client, some[start : start + _RUNS], began, tail=some is known)


async def _readable(session: AsyncSession) -> list[_Run]:
    """Runs that may still have unread lines; ix_flow_runs_open and ix_flow_runs_logs_open."""
    query = select(FlowRun.id, FlowRun.prefect_id, FlowRun.logs_read_at, FlowRun.ended_at).where(
        FlowRun.prefect_id.is_not(None),
        ~FlowRun.logs_done,
        or_(FlowRun.claimed_at.is_not(None), FlowRun.state != "SCHEDULED"),
    )
    return [(a, b, c, d) for a, b, c, d in (await session.execute(query)).tuples() if b]


def _is_last(run: _Run, now: datetime) -> bool:
    """Whether this is the run's last reading, which finds also what Prefect got long after it was logged."""
    ended_at = run[3]
    return ended_at is not None and ended_at + LATE < now


async def _copy_runs(
    database: Database, client: PrefectClient, runs: Sequence[_Run], began: datetime, *, tail: bool
) -> None:
    by_prefect_id = {prefect_id: id_ for id_, prefect_id, _, _ in runs}
    chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=list(by_prefect_id)))
    if tail:
        chosen.timestamp = LogFilterTimestamp(after_=min(at for _, _, at, _ in runs if at) - _BEHIND)
    offset = 0
    while True:
        page = await client.read_logs(log_filter=chosen, limit=_PAGE, offset=offset, sort=LogSort.TIMESTAMP_ASC)
        async with database.transaction() as session:
            await _store(session, page, by_prefect_id)
        if len(page) < _PAGE:
            break
        offset += _PAGE
    async with database.transaction() as session:
        await _note_read(session, runs, began)


async def _note_read(session: AsyncSession, runs: Sequence[_Run], at: datetime) -> None:
    ids = [id_ for id_, _, _, _ in runs]
    await session.execute(update(FlowRun).where(FlowRun.id.in_(ids)).values(logs_read_at=at))
    done = [run[0] for run in runs if _is_last(run, at)]
    if done:
        await session.execute(
            update(FlowRun).where(FlowRun.id.in_(done), FlowRun.ended_at.is_not(None)).values(logs_done=True)
        )


async def _store(session: AsyncSession, lines: Sequence[Log], rows: dict[UUID, UUID]) -> None:
    """Insert the lines that are not ours already; Prefect's log id is unique.

    A line that came while its step was at work gets the step when that is on record.
    """
    lines = [line for line in lines if not line.name.endswith(OWN_SUFFIX)]
    if not lines:
        return
    steps = await _steps(session, [line.task_run_id for line in lines if line.task_run_id])
    executions = await _executions(session, [rows[line.flow_run_id] for line in lines if line.flow_run_id])
    values = [_row(line, rows, steps, executions) for line in lines]
    statement = insert(ExecutionLog).values(values)
    new = statement.excluded
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=[ExecutionLog.prefect_log_id],
            set_={"step_id": new.step_id, "step_identifier": new.step_identifier},
            where=(ExecutionLog.step_identifier == "") & (new.step_identifier != ""),
        )
    )


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
        "level": level_name(line.level),
        "message": one_line(line.message),
        "details": {},
        "prefect_log_id": line.id,
    }
