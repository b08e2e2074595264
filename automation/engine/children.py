"""Executions that a step of another one starts, and waits for."""

from uuid import UUID, uuid5

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.engine.plan import Item
from automation.intake.create import Wanted, create_executions
from automation.models import Execution, Workflow, utc_now
from automation.settings import get_settings
from automation.steps import Waiting

DEEPEST = 5
"""How deep executions may start each other."""


async def start(session: AsyncSession, parent: Item, identifier: str, waiting: Waiting) -> UUID:
    """Start the workflow that a step waits for; run again, the step finds the execution that it has started."""
    assert waiting.workflow_id is not None
    workflow = await session.get_one(Workflow, waiting.workflow_id)
    id_ = uuid5(parent.execution_id, f"{identifier}:{parent.generation}:{parent.attempt}")
    if await session.get(Execution, id_) is not None:
        return id_
    wanted = Wanted(
        id=id_,
        workflow_id=workflow.id,
        project_id=workflow.project_id or parent.project.id or None,
        kind=workflow.kind,
        trigger_type="API_CALL",
        trigger_data={"project_id": workflow.project_id or parent.project.id, "input": waiting.input},
        occurred_at=utc_now(),
        by_name=True,
        parent_id=parent.execution_id,
        parent_step=identifier,
        depth=parent.depth + 1,
        origin=parent.origin,
    )
    await create_executions(session, [wanted], get_settings())
    return id_


_ANCESTORS = text("""
    WITH RECURSIVE line(id, parent_id, workflow_id) AS (
        SELECT id, parent_id, workflow_id FROM workflow_executions WHERE id = CAST(:id AS uuid)
        UNION ALL
        SELECT e.id, e.parent_id, e.workflow_id FROM workflow_executions AS e JOIN line ON e.id = line.parent_id
    )
    SELECT workflow_id FROM line
""")


async def ancestors(session: AsyncSession, execution_id: UUID) -> list[UUID]:
    """The workflows of an execution and of those that it was started by, from the inside out."""
    return list((await session.execute(_ANCESTORS, {"id": execution_id})).scalars())


_DESCENDANTS = text("""
    WITH RECURSIVE below(id) AS (
        SELECT id FROM workflow_executions WHERE parent_id = ANY(CAST(:ids AS uuid[]))
        UNION ALL
        SELECT e.id FROM workflow_executions AS e JOIN below ON e.parent_id = below.id
    )
    SELECT id FROM below
""")


async def descendants(session: AsyncSession, ids: list[UUID]) -> list[UUID]:
    """The executions that these have started, and those that they have; ix_workflow_executions_parent_id."""
    return list((await session.execute(_DESCENDANTS, {"ids": ids})).scalars())


async def of(session: AsyncSession, execution_id: UUID) -> list[UUID]:
    """The executions that one has started."""
    query = select(Execution.id).where(Execution.parent_id == execution_id).order_by(Execution.created_at)
    return list((await session.scalars(query)).all())
