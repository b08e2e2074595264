"""What runs now, how far it has come, and when it will be done: in a few statements for all of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from automation.api.execution_answers import standing_of
from automation.engine.estimate import estimated_completion
from automation.models import Execution, Json, Status, StepExecution, Workflow, WorkflowVersion, utc_now
from automation.models.execution_queries import has_status, median_seconds

SHOWN = 20
"""Executions that are shown; a batch run takes 500 at a time."""
PAST_RUNS = 20
"""Runs of each workflow that say how long the rest will take: a fifth of what one execution's own page looks at."""


@dataclass(frozen=True, slots=True)
class Running:
    """An execution that runs.

    Attributes:
        fraction: 0 to 1: the steps that are over, and what those under way say of themselves; None before the first.
        step, message: what is under way, and what it says of itself.
        done_at: when it will be done by what its steps took before; None when that is not known.
    """

    id: UUID
    workflow_name: str
    project_id: str | None
    kind: str
    key: str | None
    started_at: datetime | None
    cancel_requested_at: datetime | None
    fraction: float | None
    step: str
    message: str
    done_at: datetime | None


async def running(session: AsyncSession, project_id: str | None) -> list[Running]:
    """What runs, the longest first, at most `SHOWN`; ix_workflow_executions_open, then by primary and unique keys."""
    query = (
        select(Execution, Workflow.name)
        .join(Workflow, Workflow.id == Execution.workflow_id)
        .options(defer(Execution.trigger_data, raiseload=True), defer(Execution.result, raiseload=True))
        .where(has_status(Status.RUNNING))
        .order_by(Execution.started_at, Execution.id)
        .limit(SHOWN)
    )
    if project_id is not None:
        query = query.where(Execution.project_id == project_id)
    found = (await session.execute(query)).tuples().all()
    executions = [one for one, _ in found]
    recorded = await _recorded(session, [one.id for one in executions])
    planned = await _planned(session, executions)
    identifiers = {step["identifier"] for steps in planned.values() for step in steps}
    medians = await median_seconds(session, {one.workflow_id for one in executions}, identifiers, runs=PAST_RUNS)
    return [
        _running(one, name, recorded[one.id], planned.get(one.id, ()), medians[one.workflow_id]) for one, name in found
    ]


def _running(
    one: Execution, name: str, recorded: Sequence[StepExecution], planned: Sequence[Json], medians: dict[str, float]
) -> Running:
    standing = standing_of(planned, recorded)
    working = [step for step in recorded if step.status == Status.RUNNING]
    part = sum(step.progress or 0.0 for step in working)
    over = sum(step.is_over for step in standing)
    waits = any(step.status == Status.WAITING for step in recorded) or one.cancel_requested_at is not None
    done_at = estimated_completion(standing, medians, utc_now(), one.due_at) if standing and not waits else None
    return Running(
        id=one.id,
        workflow_name=name,
        project_id=one.project_id,
        kind=one.kind,
        key=one.key,
        started_at=one.started_at,
        cancel_requested_at=one.cancel_requested_at,
        fraction=min(1.0, (over + part) / len(standing)) if standing else None,
        step=", ".join(step.identifier for step in working),
        message=next((step.progress_message for step in working if step.progress_message), ""),
        done_at=done_at,
    )


async def _recorded(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, list[StepExecution]]:
    """Their steps without results and without the items of a FOR_EACH; uq_step_executions_execution_id."""
    query = (
        select(StepExecution)
        .options(defer(StepExecution.result, raiseload=True))
        .where(StepExecution.execution_id.in_(ids), ~StepExecution.identifier.contains("["))
        .order_by(StepExecution.order, StepExecution.identifier)
    )
    found: dict[UUID, list[StepExecution]] = {id_: [] for id_ in ids}
    for step in await session.scalars(query):
        found[step.execution_id].append(step)
    return found


async def _planned(session: AsyncSession, executions: Sequence[Execution]) -> dict[UUID, list[Json]]:
    """The steps that they run, by their versions."""
    wanted = {(one.workflow_id, one.workflow_version) for one in executions if one.workflow_version is not None}
    place = tuple_(WorkflowVersion.workflow_id, WorkflowVersion.version)
    versions = {
        (one.workflow_id, one.version): one.definition["steps"]
        for one in await session.scalars(select(WorkflowVersion).where(place.in_(wanted)))
    }
    return {
        one.id: [
            step
            for step in versions.get((one.workflow_id, one.workflow_version or 0), ())
            if one.only_step in ("", step["identifier"])
        ]
        for one in executions
    }
