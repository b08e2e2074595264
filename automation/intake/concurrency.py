"""`concurrency` = `drop` or `replace`: which executions of a key are open, and ending them. SQL only."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.models import Execution, Status, utc_now

Key = tuple[UUID, str]
"""A workflow, and a key of it."""

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM unnest(CAST(:names AS text[])) AS name")
_OPEN = text("""
    SELECT e.workflow_id, e.key, e.id FROM workflow_executions AS e
    JOIN unnest(CAST(:workflows AS uuid[]), CAST(:keys AS text[])) AS wanted(workflow_id, key)
      ON wanted.workflow_id = e.workflow_id AND wanted.key = e.key
    WHERE e.status IN ('PENDING', 'RUNNING', 'RETRYING', 'WAITING')
    ORDER BY e.created_at
""")


async def open_executions(session: AsyncSession, keys: Iterable[Key]) -> dict[Key, list[UUID]]:
    """The open executions of these keys, oldest first; until the transaction ends nobody else asks for the same keys.

    ix_workflow_executions_workflow_id_key_created_at.
    """
    wanted = sorted(keys)
    await session.execute(_LOCK, {"names": [f"concurrency:{workflow_id}:{key}" for workflow_id, key in wanted]})
    rows = await session.execute(
        _OPEN, {"workflows": [workflow_id for workflow_id, _ in wanted], "keys": [key for _, key in wanted]}
    )
    found: dict[Key, list[UUID]] = {}
    for workflow_id, key, id_ in rows.tuples():
        found.setdefault((workflow_id, key), []).append(id_)
    return found


async def replace_open(session: AsyncSession, ids: Sequence[UUID], *, by: UUID) -> Sequence[UUID]:
    """End what waits, and ask the engine to stop what runs: a newer execution takes their place; which those are."""
    chosen = (  # locked as `create_executions` takes them, so that nothing changes between the two statements
        select(Execution.id)
        .where(Execution.id.in_(ids))
        .order_by(Execution.workflow_id, Execution.key, Execution.created_at)
        .with_for_update(key_share=True)
    )
    locked = (await session.scalars(chosen)).all()
    now = utc_now()
    waiting = (
        update(Execution)
        .where(Execution.id.in_(locked), Execution.status.in_((Status.PENDING, Status.RETRYING, Status.WAITING)))
        .values(status=Status.CANCELLED, completed_at=now, error_message=f"replaced by {by}, a newer execution")
    )
    running = (
        update(Execution)
        .where(Execution.id.in_(locked), Execution.status == Status.RUNNING, Execution.cancel_requested_at.is_(None))
        .values(cancel_requested_at=now)
    )
    for statement in (waiting, running):
        await session.execute(statement.execution_options(synchronize_session=False))
    return locked
