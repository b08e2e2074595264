"""Degraded performance: executions that take long, and much longer than their workflow usually does."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from automation.alerting.checks.look import Found, Look, seconds
from automation.alerting.incidents import Finding
from automation.alerting.rules import SlowExecutions

_ENOUGH = 20
"""Executions of a workflow that have to be known before their 95th percentile says what is usual."""

# Running ones by ix_workflow_executions_open, ended ones by ix_workflow_executions_slow. What waited for something or
# was tried again took long for another reason. The usual is that of the last hundred that were over an hour before, so
# that what is slow now does not become usual at once; ix_workflow_executions_completed.
_SLOW = text("""
    WITH slow AS (
        SELECT id, workflow_id, project_id, kind, status, started_at,
            extract(epoch FROM CAST(:now AS timestamptz) - started_at) AS seconds
        FROM workflow_executions
        WHERE status IN ('PENDING', 'RUNNING', 'RETRYING', 'WAITING') AND status = 'RUNNING' AND attempt <= 1
            AND started_at < CAST(:now AS timestamptz) - make_interval(secs => :least)
        UNION ALL
        SELECT id, workflow_id, project_id, kind, status, started_at, extract(epoch FROM completed_at - started_at)
        FROM workflow_executions
        WHERE status = 'COMPLETED' AND completed_at - started_at >= interval '1 second' AND attempt <= 1
            AND completed_at - started_at > make_interval(secs => :least)
            AND completed_at > CAST(:since AS timestamptz)
    ),
    candidates AS (
        SELECT * FROM slow
        WHERE NOT EXISTS (SELECT FROM execution_waits WHERE execution_waits.execution_id = slow.id)
    ),
    slowest AS (
        SELECT DISTINCT ON (workflow_id) * FROM candidates ORDER BY workflow_id, seconds DESC LIMIT 200
    )
    SELECT s.id, s.workflow_id, w.name, s.project_id, s.kind, s.status, s.seconds, bound.p95, bound.seconds,
        (SELECT count(*) FROM candidates AS c WHERE c.workflow_id = s.workflow_id AND c.seconds > bound.seconds)
    FROM slowest AS s
    JOIN workflows AS w ON w.id = s.workflow_id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN count(*) >= :enough THEN percentile_cont(0.95) WITHIN GROUP (ORDER BY took) END AS p95
        FROM (
            SELECT extract(epoch FROM completed_at - started_at) AS took FROM workflow_executions AS e
            WHERE e.workflow_id = s.workflow_id AND e.status = 'COMPLETED' AND e.started_at IS NOT NULL
                AND e.completed_at < s.started_at - interval '1 hour'
            ORDER BY e.completed_at DESC LIMIT 100
        ) AS past
    ) AS usual
    CROSS JOIN LATERAL (
        SELECT usual.p95,
            greatest(CAST(:least AS double precision), usual.p95 * CAST(:times AS double precision)) AS seconds
    ) AS bound
    WHERE s.seconds > bound.seconds
""")


@dataclass(frozen=True, slots=True)
class _Slow:
    """The slowest execution of a workflow, all in seconds; `of_it`: how many of its executions are over its limit."""

    id: UUID
    workflow_id: UUID
    workflow_name: str
    project_id: str | None
    kind: str
    status: str
    seconds: float
    usual: float | None
    limit: float
    of_it: int

    def message(self) -> str:
        took = "has been running for" if self.status == "RUNNING" else "took"
        usual = "" if self.usual is None else f"; 95 of 100 take less than {seconds(self.usual)}"
        return f"{self.workflow_name} {took} {seconds(float(self.seconds))}{usual}"


async def slow_executions(look: Look, rule: SlowExecutions) -> Found:
    """What runs, or ended lately, and took too long; one finding for each type of workflow."""
    parameters = {
        "now": look.now,
        "since": look.now - timedelta(seconds=rule.within_seconds),
        "least": rule.longer_than_seconds,
        "times": rule.times_usual_p95,
        "enough": _ENOUGH,
    }
    kinds: defaultdict[str, list[_Slow]] = defaultdict(list)
    for row in await look.session.execute(_SLOW, parameters):
        one = _Slow(*row)
        kinds[one.kind].append(one)
    return Found([_finding(rule, kind, slow) for kind, slow in kinds.items()])


def _finding(rule: SlowExecutions, kind: str, slow: list[_Slow]) -> Finding:
    worst = max(slow, key=lambda one: one.seconds)
    threshold = seconds(rule.longer_than_seconds)
    if rule.times_usual_p95 is not None:
        threshold += f", and {rule.times_usual_p95:g} × the workflow's usual 95th percentile"
    projects = {one.project_id for one in slow}
    count = sum(one.of_it for one in slow)
    others = f" ({count} executions of {kind} are slow)" if count > 1 else ""
    return Finding(
        f"{worst.message()}{others}",
        threshold,
        kind,
        value=round(float(worst.seconds), 3),
        limit=round(worst.limit, 3),
        unit="seconds",
        count=count,
        project_id=worst.project_id if len(projects) == 1 else None,
        workflow_id=worst.workflow_id if len(slow) == 1 else None,
        execution_id=worst.id,
        more={"kind": kind},
    )
