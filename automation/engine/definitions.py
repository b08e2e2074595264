"""Workflow definitions as the engine runs them, kept per process and version.

A claim reads the versions of the workflows that it is about (one statement, by primary key); only a version
that this process has not seen costs a read of the definition. So an edit reaches the very next execution,
which a cache that waits to be told could not promise.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from automation.engine.plan import Plan, PlannedStep, make_plan, predecessors
from automation.errors import StepError
from automation.models import Workflow, WorkflowStep
from automation.templates import has_templates

_KEPT = 5000
"""Definitions kept in a process, the least lately used go."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A version of a workflow. One whose steps cannot be planned has an empty plan and the reason."""

    version: int
    name: str
    plan: Plan
    error: StepError | None = None


_cache: OrderedDict[UUID, Definition] = OrderedDict()


async def definitions_of(session: AsyncSession, ids: set[UUID]) -> dict[UUID, Definition]:
    """The present definitions of these workflows."""
    rows = await session.execute(select(Workflow.id, Workflow.version).where(Workflow.id.in_(ids)))
    versions = dict(rows.tuples().all())
    stale = [id_ for id_, version in versions.items() if not _has(id_, version)]
    if stale:
        await _read(session, stale)
    for id_ in versions:
        _cache.move_to_end(id_)
    found = {id_: _cache[id_] for id_ in versions}
    while len(_cache) > _KEPT:
        _cache.popitem(last=False)
    return found


def _has(workflow_id: UUID, version: int) -> bool:
    known = _cache.get(workflow_id)
    return known is not None and known.version == version


async def _read(session: AsyncSession, ids: Sequence[UUID]) -> None:
    steps: dict[UUID, list[WorkflowStep]] = {}
    for step in (await session.execute(select(WorkflowStep).where(WorkflowStep.workflow_id.in_(ids)))).scalars():
        steps.setdefault(step.workflow_id, []).append(step)
    query = select(Workflow.id, Workflow.version, Workflow.name).where(Workflow.id.in_(ids))
    for id_, version, name in (await session.execute(query)).tuples():
        _cache[id_] = define(version, name, steps.get(id_, []))


def define(version: int, name: str, steps: Sequence[WorkflowStep]) -> Definition:
    """The definition of a workflow's stored steps."""
    orders = {step.identifier: step.order for step in steps}
    planned = [
        PlannedStep(
            id=step.id,
            identifier=step.identifier,
            step_type=step.step_type,
            order=step.order,
            config=step.config,
            is_required=step.is_required,
            after=predecessors(step.identifier, step.order, step.depends_on, orders),
            templated=has_templates(step.config),
        )
        for step in steps
    ]
    try:
        return Definition(version, name, make_plan(planned))
    except StepError as error:
        return Definition(version, name, Plan(()), error)
