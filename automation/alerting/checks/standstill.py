"""Work that does not go on: nobody takes it, or nobody has been heard of."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import select, text

from automation.alerting.checks.look import Found, Look, seconds
from automation.alerting.incidents import Finding
from automation.alerting.rules import MirrorLag, NoWorker, QueueAge, RunWithoutHeartbeat, ScheduleMissed
from automation.dispatcher.age import oldest
from automation.models import Execution, FlowRun

_LISTED = 20


async def queue_age(look: Look, rule: QueueAge) -> Found:
    """One finding for each type of workflow whose oldest due execution nothing has begun; see `dispatcher.age`."""
    general = look.settings.queue_age_alert if rule.longer_than_seconds is None else rule.longer_than_seconds
    findings = []
    for queue in look.standing.queues:
        limit = rule.of_kind.get(queue.name, general)
        if queue.age_seconds <= limit:
            continue
        found = await oldest(look.session, timedelta(seconds=limit), kind=queue.name)
        if found is None:  # it waits for another one, as it should
            continue
        age = (look.now - found.due_at).total_seconds()
        findings.append(
            Finding(
                f"{queue.name}: {queue.length} wait, the oldest for {seconds(age)}",
                seconds(limit),
                queue.name,
                value=round(age, 1),
                limit=limit,
                unit="seconds",
                count=queue.length,
                project_id=None,
                execution_id=found.id,
                more={"kind": queue.name, "oldest_project_id": found.project_id},
            )
        )
    return Found(findings)


async def no_worker(look: Look, rule: NoWorker) -> Found:
    """No worker has been heard of lately."""
    if any(one.role == "worker" for one in look.standing.processes):
        return Found()
    waiting = sum(queue.length for queue in look.standing.queues)
    message = f"No worker has been heard of; {waiting} executions wait"
    return Found([Finding(message, "one worker", value=0, limit=1, unit="workers")])


async def mirror_lag(look: Look, rule: MirrorLag) -> Found:
    """The mirror has not read Prefect's runs for too long."""
    lag = look.standing.mirror_lag
    if lag is None or lag <= rule.longer_than_seconds:
        return Found()
    return Found(
        [
            Finding(
                f"The mirror last read all of Prefect's runs {seconds(lag)} ago",
                seconds(rule.longer_than_seconds),
                value=round(lag, 1),
                limit=rule.longer_than_seconds,
                unit="seconds",
            )
        ]
    )


# ix_workflow_executions_unsuccessful. A slot that its trigger's limits (throttle, concurrency, …) ended was not missed.
_SKIPPED = text("""
    SELECT e.id, e.workflow_id, w.name, e.project_id, e.error_message
    FROM workflow_executions AS e JOIN workflows AS w ON w.id = e.workflow_id
    WHERE e.status = 'CANCELLED' AND e.created_at > CAST(:since AS timestamptz) AND e.error_code = 'SKIPPED'
        AND e.error_message LIKE 'skipped: its slot %'
    ORDER BY e.created_at DESC LIMIT :listed
""")


@dataclass(frozen=True, slots=True)
class _Skipped:
    """A slot that was given up: its execution, its workflow."""

    id: UUID
    workflow_id: UUID
    name: str
    project_id: str | None
    why: str


async def schedule_missed(look: Look, rule: ScheduleMissed) -> Found:
    """Slots that are past and have no execution, and slots that were given up lately, being too late."""
    overdue = look.standing.schedules_missed
    parameters = {"since": look.now - timedelta(seconds=rule.within_seconds), "listed": _LISTED}
    skipped = [_Skipped(*row) for row in await look.session.execute(_SKIPPED, parameters)]
    count = overdue + len(skipped)
    if not count:
        return Found()
    last = skipped[0] if skipped else None
    told = f"; {last.name}: {last.why.removeprefix('skipped: ')}" if last else ", and nothing has started them"
    return Found(
        [
            Finding(
                f"{count} slots of schedules are past{told}",
                "none",
                value=count,
                limit=0,
                unit="slots",
                count=count,
                project_id=last.project_id if last and len({one.project_id for one in skipped}) == 1 else None,
                workflow_id=last.workflow_id if last else None,
                execution_id=last.id if last else None,
            )
        ]
    )


async def run_without_heartbeat(look: Look, rule: RunWithoutHeartbeat) -> Found:
    """Flow runs whose lease is over and that nobody has ended yet; ix_flow_runs_open. The reaper ends them soon, and
    leaves a sighting of each."""
    run = (FlowRun.name, FlowRun.prefect_id, FlowRun.lease_until, FlowRun.process)
    query = (
        select(*run, Execution.id, Execution.project_id)
        .outerjoin(Execution, Execution.flow_run_id == FlowRun.id)
        .where(FlowRun.ended_at.is_(None), FlowRun.lease_until < look.now)
        .order_by(FlowRun.lease_until)
        .limit(_LISTED)
    )
    rows = (await look.session.execute(query)).tuples().all()
    if not rows:
        return Found()
    name, prefect_id, lease_until, process, execution_id, project_id = rows[0]
    silent = seconds((look.now - lease_until).total_seconds()) if lease_until else "long"
    runs = {row[1] for row in rows}
    return Found(
        [
            Finding(
                f"{len(runs)} runs give no sign of life; {name} ({process or 'by nobody'}) for {silent} past its lease",
                f"its lease, {seconds(look.settings.lease_seconds)}",
                value=len(runs),
                limit=0,
                unit="runs",
                count=len(runs),
                project_id=project_id,
                execution_id=execution_id,
                more={"prefect_run_id": str(prefect_id) if prefect_id else None},
            )
        ]
    )
