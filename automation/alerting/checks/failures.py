"""Failures: of a workflow in a row, and for good. What has one cause is one finding, however many it concerns."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from uuid import UUID

from sqlalchemy import text

from automation.alerting.checks.look import Found, Look
from automation.alerting.incidents import Finding
from automation.alerting.rules import DeadLetters, FailuresInARow
from automation.models import Json
from automation.monitoring.fingerprints import fingerprint, step_of, template

_WORKFLOWS = 500
"""Workflows that failed lately and are looked at in one round."""
_COUNTED = 2000
"""Failures in a row that are counted; letters that are looked at, the newest."""
_NAMED = 100
"""Workflows that an incident names, and by which it is known to be over."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """A workflow's latest failure (`count`: of so many), or one dead letter."""

    workflow_id: UUID
    workflow_name: str
    project_id: str | None
    execution_id: UUID
    error_code: str
    step: str
    message: str
    at: datetime
    count: int

    @property
    def told(self) -> str:
        where = f" at {self.step}" if self.step else ""
        return f"{self.error_code}{where}: {self.message}"


# Candidates: ix_dead_letters_created_at. Then for each an index probe: its last success by
# ix_workflow_executions_completed, the failures since by ix_dead_letters_workflow_id_created_at.
_STREAKS = text("""
    WITH candidates AS (
        (SELECT DISTINCT workflow_id AS id FROM dead_letters
         WHERE created_at > CAST(:since AS timestamptz) LIMIT :workflows)
        UNION SELECT unnest(CAST(:known AS uuid[]))
    )
    SELECT w.id, w.name, w.project_id, last.execution_id, last.error_code, last.failed_step,
        left(last.error_message, 2000), last.created_at, streak.count
    FROM candidates
    JOIN workflows AS w ON w.id = candidates.id AND w.is_active AND w.archived_at IS NULL
    LEFT JOIN LATERAL (
        SELECT completed_at FROM workflow_executions
        WHERE workflow_id = w.id AND status = 'COMPLETED' ORDER BY completed_at DESC LIMIT 1
    ) AS success ON true
    CROSS JOIN LATERAL (
        SELECT count(*) FROM (
            SELECT FROM dead_letters AS d
            WHERE d.workflow_id = w.id AND d.created_at > coalesce(success.completed_at, '-infinity') LIMIT :counted
        ) AS since_success
    ) AS streak
    CROSS JOIN LATERAL (
        SELECT * FROM dead_letters AS d WHERE d.workflow_id = w.id ORDER BY d.created_at DESC LIMIT 1
    ) AS last
    WHERE streak.count >= :failures
    ORDER BY last.created_at DESC
""")

# ix_dead_letters_created_at; nobody can redrive those of a workflow that was deleted
_LETTERS = text("""
    SELECT d.workflow_id, w.name, d.project_id, d.execution_id, d.error_code, d.failed_step,
        left(d.error_message, 2000), d.created_at, 1
    FROM dead_letters AS d JOIN workflows AS w ON w.id = d.workflow_id AND w.archived_at IS NULL
    WHERE d.redriven_at IS NULL AND d.created_at > CAST(:since AS timestamptz)
    ORDER BY d.created_at DESC LIMIT :counted
""")


async def failures_in_a_row(look: Look, rule: FailuresInARow) -> Found:
    """Workflows whose last so many executions all failed for good; one that succeeds once is well again."""
    belongs = {UUID(one["id"]): key for key, alert in look.known.items() for one in alert.details.get("workflows", ())}
    parameters = {
        "since": look.since,
        "workflows": _WORKFLOWS,
        "known": list(belongs),
        "counted": _COUNTED,
        "failures": rule.failures,
    }
    failures = [_Failure(*row) for row in await look.session.execute(_STREAKS, parameters)]
    causes: defaultdict[str, list[_Failure]] = defaultdict(list)
    for one in failures:  # what fails on in another way is still the incident that it was
        causes[belongs.get(one.workflow_id) or _cause(one.error_code, one.step, one.message)].append(one)
    threshold = f"{rule.failures} failures in a row"
    return Found([_finding(key, threshold, rule.failures, of, _streak(of)) for key, of in causes.items()])


async def dead_letters(look: Look, rule: DeadLetters) -> Found:
    """Executions that failed for good lately and that nobody has tried again."""
    since = look.now - timedelta(seconds=rule.newer_than_seconds)
    rows = await look.session.execute(_LETTERS, {"since": since, "counted": _COUNTED})
    letters = [_Failure(*row) for row in rows]
    causes = await asyncio.to_thread(_by_cause, letters)
    threshold = f"{rule.at_least} open in {rule.newer_than_seconds / 3600:g} h"
    return Found(
        [
            _finding(key, threshold, rule.at_least, of, _for_good(of))
            for key, of in causes.items()
            if len(of) >= rule.at_least
        ],
        keeps=look.known if len(letters) == _COUNTED else (),
    )


def _by_cause(failures: Iterable[_Failure]) -> dict[str, list[_Failure]]:
    causes: defaultdict[str, list[_Failure]] = defaultdict(list)
    for one in failures:
        causes[_cause(one.error_code, one.step, one.message)].append(one)
    return causes


@lru_cache(maxsize=4096)
def _cause(error_code: str, step: str, message: str) -> str:
    return cause_of(error_code, step, message)


def cause_of(error_code: str, step: str, message: str) -> str:
    """What failures of one cause have in common, as the errors of the insights are grouped."""
    return fingerprint(error_code, step_of(step), template(message))


def _streak(failures: Sequence[_Failure]) -> str:
    last = failures[0]
    count = sum(one.count for one in failures)
    counted = f"{count} times or more" if any(one.count == _COUNTED for one in failures) else f"{count} times"
    if len(failures) == 1:
        return f"{last.workflow_name} failed {counted} in a row: {last.told}"
    return f"{len(failures)} workflows failed in a row, together {counted}; the last, {last.workflow_name}: {last.told}"


def _for_good(failures: Sequence[_Failure]) -> str:
    last = failures[0]
    if len(failures) == 1:
        return f"{last.workflow_name} failed for good: {last.told}"
    return f"{len(failures)} executions failed for good; the last, of {last.workflow_name}: {last.told}"


def _finding(key: str, threshold: str, limit: int, failures: Sequence[_Failure], message: str) -> Finding:
    """Args: failures: of one cause, the latest first."""
    last = failures[0]
    count = sum(one.count for one in failures)
    projects = {one.project_id for one in failures}
    workflows = {one.workflow_id: one for one in reversed(failures)}
    named: list[Json] = [
        {"id": str(one.workflow_id), "name": one.workflow_name, "project_id": one.project_id}
        for one in list(workflows.values())[:_NAMED]
    ]
    return Finding(
        message,
        threshold,
        key,
        value=count,
        limit=limit,
        unit="executions",
        count=count,
        project_id=last.project_id if len(projects) == 1 else None,
        workflow_id=last.workflow_id if len(workflows) == 1 else None,
        execution_id=last.execution_id,
        more={"error_code": last.error_code, "step": last.step, "workflows": named},
    )
