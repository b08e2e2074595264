"""The same figures for one project, read from its latest executions themselves.

Figures by project would be as many rows as there are projects in each minute. A project's own executions are few, and
stand side by side in an index (ix_workflow_executions_project_id_created_at); where they are many, the latest tell.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.monitoring.errors_seen import Group, grouped
from automation.monitoring.histogram import BOUNDS_MS, BUCKET

MOST = 10_000
"""Executions that tell how a project's workflows went."""
MOST_LOOKED_INTO = 2_000
"""Executions whose steps, or whose failures, are looked into; with 5,000, the page of 90 days took 225 ms."""

_LATEST = """
    SELECT id, kind, status, attempt, created_at, started_at, completed_at FROM workflow_executions
    WHERE project_id = :project_id AND created_at >= :since AND created_at < :until
        AND status IN ('COMPLETED', 'FAILED', 'CANCELLED') AND error_code <> 'SKIPPED'
    ORDER BY created_at DESC LIMIT {most}
"""
_TIMED = f"""
    WITH latest AS MATERIALIZED ({_LATEST.format(most=MOST)}),
    facts AS (
        SELECT 'run' AS measure, completed_at, kind, status,
            CASE WHEN started_at IS NOT NULL THEN completed_at - greatest(started_at, asked_at) END AS took
        FROM latest LEFT JOIN LATERAL (
            SELECT max(a.ended_at) AS asked_at FROM execution_attempts AS a
            WHERE a.execution_id = latest.id AND latest.attempt > 1 AND a.asked_by <> ''
        ) AS again ON true
        UNION ALL SELECT 'done', completed_at, kind, '', completed_at - created_at FROM latest
        WHERE status = 'COMPLETED' AND NOT EXISTS (
            SELECT FROM execution_attempts AS a
            WHERE a.execution_id = latest.id AND latest.attempt > 1 AND a.asked_by <> '')
    ),
    timed AS (
        SELECT measure, completed_at, kind, status,
            CASE WHEN took IS NOT NULL THEN greatest(0, extract(epoch FROM took) * 1000)::double precision END AS ms
        FROM facts
    )
"""  # noqa: S608 (our own text; values are parameters)

_EXECUTIONS = text(f"""
    {_TIMED}
    SELECT measure, kind, status, {BUCKET} AS bucket, count(*), coalesce(sum(ms), 0)
    FROM timed GROUP BY 1, 2, 3, 4
""")  # noqa: S608 (our own text; values are parameters)

_HISTORY = text(f"""
    {_TIMED}
    SELECT date_bin(:part, completed_at, to_timestamp(0)), kind, status, {BUCKET} AS bucket,
        count(*), coalesce(sum(ms), 0)
    FROM timed WHERE measure = 'run' AND completed_at < :until GROUP BY 1, 2, 3, 4
""")  # noqa: S608 (our own text; values are parameters)

_STEPS = text(f"""
    WITH latest AS MATERIALIZED ({_LATEST.format(most=MOST_LOOKED_INTO)}),
    tries AS (
        SELECT l.kind, s.step_type, s.status, s.duration_ms AS ms
        FROM latest AS l JOIN step_executions AS s ON s.execution_id = l.id
        UNION ALL
        SELECT l.kind, s.step_type, a.status, a.duration_ms
        FROM latest AS l
        JOIN step_attempts AS a ON a.execution_id = l.id AND l.attempt > 1
        JOIN step_executions AS s ON s.execution_id = a.execution_id AND s.identifier = a.identifier
    )
    SELECT kind, step_type, CASE status WHEN 'ROLLED_BACK' THEN 'COMPLETED' ELSE status END, {BUCKET} AS bucket,
        count(*), coalesce(sum(ms), 0)
    FROM tries WHERE status IN ('COMPLETED', 'ROLLED_BACK', 'FAILED') GROUP BY 1, 2, 3, 4
""")  # noqa: S608 (our own text; values are parameters)

_ERRORS = text(f"""
    WITH latest AS MATERIALIZED (
        SELECT id, status, coalesce(completed_at, created_at) AS at, error_code, error_message, failed_step
        FROM workflow_executions AS e
        WHERE project_id = :project_id AND created_at >= :since AND created_at < :until
            AND (status = 'FAILED' OR (status = 'RETRYING' OR attempt > 1) AND EXISTS (
                SELECT FROM execution_attempts AS a WHERE a.execution_id = e.id AND a.status = 'FAILED'))
        ORDER BY created_at DESC LIMIT {MOST_LOOKED_INTO}
    )
    SELECT id, at, error_code, left(error_message, 2000), failed_step FROM latest WHERE status = 'FAILED'
    UNION ALL
    SELECT a.execution_id, a.ended_at, a.error_code, left(a.error_message, 2000), a.failed_step
    FROM latest AS l JOIN execution_attempts AS a ON a.execution_id = l.id WHERE a.status = 'FAILED'
""")  # noqa: S608 (our own text; values are parameters)


async def executions(
    session: AsyncSession, project_id: str, since: datetime, until: datetime
) -> Sequence[tuple[Any, ...]]:
    """Rows of measure (`run`, `done`), kind, status, bucket, count, sum in ms."""
    parameters = {"project_id": project_id, "since": since, "until": until, "bounds": list(BOUNDS_MS)}
    return (await session.execute(_EXECUTIONS, parameters)).tuples().all()


async def history(
    session: AsyncSession, project_id: str, since: datetime, until: datetime, part: timedelta
) -> Sequence[tuple[Any, ...]]:
    """Rows of the begin of a part of the time, kind, status, bucket, count, sum in ms: of what ended before `until`."""
    parameters = {"project_id": project_id, "since": since, "until": until, "part": part, "bounds": list(BOUNDS_MS)}
    return (await session.execute(_HISTORY, parameters)).tuples().all()


async def steps(session: AsyncSession, project_id: str, since: datetime, until: datetime) -> Sequence[tuple[Any, ...]]:
    """Rows of kind, step type, status, bucket, count, sum in ms."""
    parameters = {"project_id": project_id, "since": since, "until": until, "bounds": list(BOUNDS_MS)}
    return (await session.execute(_STEPS, parameters)).tuples().all()


async def errors(session: AsyncSession, project_id: str, since: datetime, until: datetime) -> list[Group]:
    """Its failures by their cause, with those of tries that were repeated."""
    rows = (await session.execute(_ERRORS, {"project_id": project_id, "since": since, "until": until})).all()
    return list((await asyncio.to_thread(grouped, [(*row,) for row in rows])).values())
