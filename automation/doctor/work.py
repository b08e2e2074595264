"""The work itself: does it go on, is the record true, does nothing wait for ever?"""

from datetime import timedelta

from sqlalchemy import text

from automation.dispatcher.age import oldest
from automation.doctor.findings import Findings, failed, listed, ok, warning
from automation.doctor.patient import Patient
from automation.monitoring.now import standing
from automation.schedules.wanted import wanted

_BEHIND = 60.0
"""Seconds that the mirror may lie behind: it reads each second, and a busy Prefect takes some."""

_MIRRORED = text("SELECT min(position) FROM mirror_cursors WHERE name IN ('started', 'ended')")

# ix_flow_runs_open, ix_workflow_executions_open. The reaper, and the mirror, have some seconds to see it.
_STUCK = text("""
    SELECT e.id FROM workflow_executions AS e JOIN flow_runs AS r ON r.id = e.flow_run_id
    WHERE e.status IN ('PENDING', 'RUNNING', 'RETRYING', 'WAITING') AND (
        (r.ended_at IS NULL AND r.lease_until < CAST(:late AS timestamptz))
        OR (r.ended_at < CAST(:late AS timestamptz) AND e.status IN ('PENDING', 'RUNNING'))
    )
    ORDER BY e.created_at
""")

_DEPLOYED = text("SELECT workflow_id FROM workflow_deployments")


async def mirror(patient: Patient) -> Findings:
    """Whether the record is up to date with Prefect."""
    todo = "is the service running, and Prefect's server? service.log says what the mirror says"
    async with patient.session() as session:
        position = await session.scalar(_MIRRORED)
    if position is None:
        return warning("Prefect's runs have never been read", todo)
    lag = (patient.now() - position).total_seconds()
    if lag > _BEHIND:
        return failed(f"it last read all of Prefect's runs {lag:.0f} s ago", todo)
    return ok(f"it read all of Prefect's runs {max(lag, 0):.0f} s ago")


async def executions(patient: Patient) -> Findings:
    """Whether an execution is unfinished that nobody works on: its run has ended, or gives no sign of life."""
    late = patient.now() - timedelta(seconds=2 * patient.settings.lease_seconds)
    async with patient.session() as session:
        stuck = list(await session.scalars(_STUCK, {"late": late}))
    if stuck:
        return failed(
            f"{len(stuck)} are unfinished though nobody works on them: {listed(stuck, 3)}",
            "start the service: its mirror ends them, or has them tried again; if it runs, automation mirror verify",
        )
    return ok("nothing is stuck")


async def queue(patient: Patient) -> Findings:
    """Whether work that is due is begun."""
    limit = patient.settings.queue_age_alert
    async with patient.session() as session:
        found = await oldest(session, timedelta(seconds=limit))
    if found is None:
        return ok(f"nothing has been due for more than {limit:g} s")
    age = (patient.now() - found.due_at).total_seconds()
    return failed(
        f"execution {found.id} ({found.kind}) has been due for {age:.0f} s and nothing has begun it",
        "mend what failed above (service, worker, work-pool, work-queues); if nothing did, add workers",
    )


async def missed(patient: Patient) -> Findings:
    """Whether the slots of schedules are started, and each scheduled workflow has its deployment."""
    async with patient.session() as session:
        slots = (await standing(session)).schedules_missed
        scheduled = await wanted(session)
        deployed = set(await session.scalars(_DEPLOYED))
    if slots:
        return failed(
            f"{slots} schedules have a slot that is past and that nothing has started",
            "start the service: it catches up as the trigger's catch_up says; service.log says what hinders it",
        )
    if bare := [one.workflow_id for one in scheduled.values() if one.workflow_id not in deployed]:
        return warning(
            f"{len(bare)} scheduled workflows have no deployment in Prefect: {listed(bare, 3)}",
            "start the service, which makes them; service.log says what hinders it",
        )
    return ok(f"no slot is past; {len(scheduled)} workflows have a deployment of their own")
