"""Endings become figures: `endings` are taken away and added to `timings` and to the groups of errors.

One transaction takes a row and counts it, so that each ending counts once, whoever folds and whenever it dies. A row is
there from its transaction's commit on; there is no cursor that a late commit could fall behind.
"""

import asyncio
import logging
from time import monotonic

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.database import Database
from automation.monitoring.errors_seen import note_errors, seen_errors
from automation.monitoring.histogram import BOUNDS_MS, BUCKET

log = logging.getLogger(__name__)

_LOCK = 0x464F_4C44  # "FOLD"
_PAUSE = 5.0
"""Seconds between two looks: what ended stands in the figures so much later."""
_MOST = 5000
"""Endings that one transaction takes: 5 s of a batch run's fastest."""
_TIDY = 3600.0
"""Seconds between two removals of what is too old."""

_KEPT = {
    "timings": "(resolution = 'minute' AND at < now() - interval '2 days')"
    " OR (resolution IN ('hour', 'day') AND at < now() - interval '91 days')",
    "error_counts": "(resolution = 'minute' AND at < now() - interval '2 days')"
    " OR (resolution IN ('hour', 'day') AND at < now() - interval '91 days')",
    "error_groups": "last_seen < now() - interval '91 days'",
    "resource_samples": "at < now() - interval '7 days'",
}
"""What goes, by table."""

_TAKE = text("SELECT id FROM endings ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED")
_TAKEN = text("DELETE FROM endings WHERE id = ANY(CAST(:ids AS bigint[]))")

# An execution that somebody had tried again runs from then on; it was not the event that this end answers.
_EXECUTIONS = """
    facts(measure, at, kind, name, status, took) AS (
        SELECT 'run', ended_at, kind, '', status,
            CASE WHEN started_at IS NOT NULL THEN ended_at - greatest(started_at, asked_at) END
        FROM ended WHERE status <> 'RETRYING'
        UNION ALL SELECT 'done', ended_at, kind, '', '', ended_at - created_at
        FROM ended WHERE status = 'COMPLETED' AND asked_at IS NULL
        UNION ALL SELECT 'stop', ended_at, kind, '', '', ended_at - cancel_requested_at
        FROM ended WHERE status = 'CANCELLED' AND cancel_requested_at IS NOT NULL
        UNION ALL SELECT CASE status WHEN 'FAILED' THEN 'failure' ELSE 'retry' END, ended_at, kind, error_code, '', NULL
        FROM ended WHERE status IN ('FAILED', 'RETRYING')
    )
"""

# the steps of the tries since the ending before
_STEPS = """
    done AS (
        SELECT e.ended_at, e.kind, s.step_type, s.status, s.duration_ms
        FROM ended AS e JOIN step_executions AS s ON s.execution_id = e.execution_id
        WHERE s.attempt > e.after_attempt AND s.attempt <= e.attempt
        UNION ALL
        SELECT e.ended_at, e.kind, s.step_type, a.status, a.duration_ms
        FROM ended AS e
        JOIN step_attempts AS a ON a.execution_id = e.execution_id
        JOIN step_executions AS s ON s.execution_id = a.execution_id AND s.identifier = a.identifier
        WHERE a.attempt > e.after_attempt AND a.attempt <= e.attempt
    ),
    facts(measure, at, kind, name, status, took) AS (
        SELECT 'step', ended_at, kind, step_type,
            CASE status WHEN 'ROLLED_BACK' THEN 'COMPLETED' ELSE status END, duration_ms * interval '1 ms'
        FROM done WHERE status IN ('COMPLETED', 'ROLLED_BACK', 'FAILED')
    )
"""


def _add(facts: str) -> TextClause:
    """Count facts by the minute, and these by the hour, the day and for ever: in one order, so that two that do it at
    once never wait for each other in a ring."""
    return text(f"""
        WITH ended AS (SELECT * FROM endings WHERE id = ANY(CAST(:ids AS bigint[]))),
        {facts},
        lasting AS (
            SELECT measure, date_trunc('minute', at, 'UTC') AS at, kind, name, status,
                CASE WHEN took IS NOT NULL THEN greatest(0, extract(epoch FROM took) * 1000)::double precision END AS ms
            FROM facts
        ),
        minutes AS (
            SELECT measure, at, kind, name, status, {BUCKET} AS bucket, count(*) AS count,
                coalesce(sum(ms), 0) AS total_ms
            FROM lasting GROUP BY measure, at, kind, name, status, bucket
        )
        INSERT INTO timings (resolution, measure, at, kind, name, status, bucket, count, total_ms)
        SELECT r.resolution, measure, r.at, kind, name, status, bucket, sum(count), sum(total_ms)
        FROM minutes AS m, LATERAL (VALUES
            ('minute', m.at), ('hour', date_trunc('hour', m.at, 'UTC')), ('day', date_trunc('day', m.at, 'UTC')),
            ('ever', to_timestamp(0))
        ) AS r(resolution, at)
        GROUP BY r.resolution, measure, r.at, kind, name, status, bucket
        ORDER BY r.resolution, measure, r.at, kind, name, status, bucket
        ON CONFLICT (resolution, measure, at, kind, name, status, bucket)
        DO UPDATE SET count = timings.count + excluded.count, total_ms = timings.total_ms + excluded.total_ms
    """)  # noqa: S608 (our own text; values are parameters)


_ADD_EXECUTIONS, _ADD_STEPS = _add(_EXECUTIONS), _add(_STEPS)


class Folding:
    """Folds what has ended, and removes figures that are too old."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def run(self) -> None:
        """Work until cancelled, while this process holds the lock."""
        connection = await self.database.listen()
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                await asyncio.sleep(_PAUSE)
            tidied = float("-inf")
            while not connection.is_closed():
                await fold_all(self.database)
                if monotonic() - tidied >= _TIDY:
                    async with self.database.transaction() as session:
                        await tidy(session)
                    tidied = monotonic()
                await asyncio.sleep(_PAUSE)
        finally:
            connection.terminate()


async def fold_all(database: Database) -> int:
    """Count everything that has ended; how many endings that were."""
    total, taken = 0, _MOST
    while taken == _MOST:
        async with database.transaction() as session:
            taken = await fold(session)
        total += taken
    return total


async def fold(session: AsyncSession) -> int:
    """Count some of what has ended; how many endings that were."""
    ids = list((await session.scalars(_TAKE, {"most": _MOST})).all())
    if not ids:
        return 0
    parameters = {"ids": ids, "bounds": list(BOUNDS_MS)}
    await session.execute(_ADD_EXECUTIONS, parameters)
    await session.execute(_ADD_STEPS, parameters)
    await note_errors(session, await seen_errors(session, ids))
    await session.execute(_TAKEN, {"ids": ids})
    return len(ids)


async def tidy(session: AsyncSession) -> None:
    """Delete figures that no window reaches any more."""
    for table, over in _KEPT.items():
        await session.execute(text(f"DELETE FROM {table} WHERE {over}"))  # noqa: S608 (our own tables)
