"""Workflow definitions as the engine runs them, kept per process and version.

An execution is bound to the version that its workflow has at its first claim, and finishes on it. A process reads a
version once; the first to do so stores it in `workflow_versions`, where it stays when the workflow is changed.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from automation.engine.options import split
from automation.engine.plan import Plan, PlannedStep, make_plan, predecessors
from automation.errors import RefusedError, StepError, ValidationError
from automation.models import Json, Workflow, WorkflowStep, WorkflowVersion
from automation.retries import Rule, parse_rules
from automation.templates import has_templates

_KEPT = 5000
"""Definitions kept in a process, the least lately used go."""

Key = tuple[UUID, int]
"""A workflow and a version of it."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A version of a workflow. One whose steps cannot be planned has an empty plan and the reason."""

    version: int
    name: str
    plan: Plan
    retry: dict[str, Rule] = field(default_factory=dict)
    error: StepError | None = None


_cache: OrderedDict[Key, Definition] = OrderedDict()


async def definitions_of(session: AsyncSession, keys: set[Key]) -> dict[Key, Definition]:
    """These versions of workflows; of one that nobody has stored in time, what the workflow is now."""
    unknown = keys - _cache.keys()
    new = await _read(session, unknown) if unknown else {}
    for key in keys & _cache.keys():
        _cache.move_to_end(key)
    found = {key: new.get(key) or _cache[key] for key in keys}
    while len(_cache) > _KEPT:
        _cache.popitem(last=False)
    return found


async def _read(session: AsyncSession, keys: set[Key]) -> dict[Key, Definition]:
    """These versions, of which those are kept that were stored before: what is stored now may yet be undone."""
    columns = (WorkflowVersion.workflow_id, WorkflowVersion.version, WorkflowVersion.definition)
    query = select(*columns).where(tuple_(WorkflowVersion.workflow_id, WorkflowVersion.version).in_(keys))
    rows = (await session.execute(query)).tuples()
    stored = {(id_, version): define(version, definition) for id_, version, definition in rows}
    _cache.update(stored)
    missing = keys - stored.keys()
    if missing:
        present = await snapshots(session, {id_ for id_, _ in missing})
        return stored | {key: define(key[1], present[key[0]]) for key in missing}
    return stored


async def snapshots(session: AsyncSession, ids: set[UUID]) -> dict[UUID, Json]:
    """What these workflows are now, stored as their present versions."""
    steps: dict[UUID, list[WorkflowStep]] = {id_: [] for id_ in ids}
    # the share lock keeps steps and version of one workflow together while they are read
    query = select(Workflow.id, Workflow.version, Workflow.name, Workflow.config).where(Workflow.id.in_(ids))
    rows = (await session.execute(query.order_by(Workflow.id).with_for_update(read=True))).tuples().all()
    for step in (await session.execute(select(WorkflowStep).where(WorkflowStep.workflow_id.in_(ids)))).scalars():
        steps[step.workflow_id].append(step)
    found = {id_: _snapshot(name, config, steps[id_]) for id_, _, name, config in rows}
    if rows:
        values = [{"workflow_id": id_, "version": version, "definition": found[id_]} for id_, version, _, _ in rows]
        await session.execute(insert(WorkflowVersion).values(values).on_conflict_do_nothing())
    return found


def _snapshot(name: str, config: Json, steps: Sequence[WorkflowStep]) -> Json:
    return {
        "name": name,
        "config": config,
        "steps": [
            {
                "id": str(step.id),
                "identifier": step.identifier,
                "step_type": step.step_type,
                "order": step.order,
                "depends_on": list(step.depends_on),
                "config": step.config,
                "conditions": step.conditions,
                "is_required": step.is_required,
            }
            for step in sorted(steps, key=lambda step: (step.order, step.identifier))
        ],
    }


def define(version: int, snapshot: Json) -> Definition:
    """The definition of a stored version."""
    orders = {step["identifier"]: step["order"] for step in snapshot["steps"]}
    try:
        planned = [_planned(step, orders) for step in snapshot["steps"]]
        retry = parse_rules(snapshot["config"].get("retry", {}), "config.retry")
        return Definition(version, snapshot["name"], make_plan(planned), retry)
    except StepError as error:
        return Definition(version, snapshot["name"], Plan(()), error=error)
    except RefusedError as error:
        return Definition(version, snapshot["name"], Plan(()), error=ValidationError(str(error)))


def alone(definition: Definition, identifier: str) -> Definition:
    """A definition of nothing but one step, which waits for no other and whose failure is the execution's."""
    steps = [step for step in definition.plan.steps if step.identifier == identifier]
    if not steps:
        error = definition.error or ValidationError(f"The workflow has no step {identifier!r} any more.")
        return replace(definition, plan=Plan(()), error=error)
    return replace(definition, plan=Plan((replace(steps[0], after=frozenset(), is_required=True),)))


def _planned(step: Json, orders: dict[str, Any]) -> PlannedStep:
    options, config = split(step["config"], f"steps.{step['identifier']}.config")
    return PlannedStep(
        id=UUID(step["id"]),
        identifier=step["identifier"],
        step_type=step["step_type"],
        order=step["order"],
        config=config,
        is_required=step["is_required"],
        after=predecessors(step["identifier"], step["order"], step["depends_on"], orders),
        conditions=step["conditions"],
        options=options,
        templated=has_templates(config),
    )
