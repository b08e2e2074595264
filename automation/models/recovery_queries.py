"""Dead letters and deliveries: writing and closing dead letters in bulk, and the lists that people ask for."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.errors import NotFoundError
from automation.models.base import utc_now
from automation.models.execution import Execution, Status
from automation.models.paging import Order, Page, Position, read_page
from automation.models.recovery import DeadLetter, Delivery
from automation.models.workflow import Workflow

NEWEST_LETTER_FIRST = Order(DeadLetter.created_at, DeadLetter.execution_id, descending=True)
NEWEST_DELIVERY_FIRST = Order(Delivery.created_at, Delivery.id, descending=True)

_BURY = text("""
    INSERT INTO dead_letters (
        execution_id, workflow_id, project_id, kind, failed_step, error_code, error_message, created_at, redriven_by
    )
    SELECT id, workflow_id, project_id, kind, failed_step, error_code, error_message, CAST(:now AS timestamptz), ''
    FROM workflow_executions WHERE id = ANY(CAST(:ids AS uuid[])) AND status = 'FAILED'
    ON CONFLICT (execution_id) DO UPDATE SET
        failed_step = excluded.failed_step, error_code = excluded.error_code, error_message = excluded.error_message,
        created_at = excluded.created_at, redriven_at = NULL, redriven_by = ''
""")


@dataclass(frozen=True, slots=True)
class Letters:
    """Which dead letters are meant; what is None does not narrow."""

    project_id: str | None = None
    kind: str | None = None
    error_code: str | None = None
    ids: Collection[UUID] | None = None

    def clauses(self) -> list[ColumnElement[bool]]:
        found = [
            getattr(DeadLetter, name) == value
            for name in ("project_id", "kind", "error_code")
            if (value := getattr(self, name)) is not None
        ]
        return found if self.ids is None else [*found, DeadLetter.execution_id.in_(self.ids)]


async def dead_letter(session: AsyncSession, ids: Collection[UUID]) -> None:
    """Those of these executions that are FAILED now are dead letters; one that was redriven before is open again.

    What they ended as must have been flushed.
    """
    if ids:
        await session.execute(_BURY, {"ids": list(ids), "now": utc_now()})


async def close_letter(session: AsyncSession, execution_id: UUID, by: str) -> None:
    """An execution is tried again; nothing happens if it is no dead letter."""
    await session.execute(
        update(DeadLetter)
        .where(DeadLetter.execution_id == execution_id, DeadLetter.redriven_at.is_(None))
        .values(redriven_at=utc_now(), redriven_by=by[:200])
        .execution_options(synchronize_session=False)
    )


async def list_letters(
    session: AsyncSession,
    letters: Letters,
    *,
    redriven: bool = False,
    position: Position | None = None,
    size: int = 50,
) -> Page[tuple[DeadLetter, str, str]]:
    """Dead letters that are open (or were redriven) with their workflow's name and their execution's status,
    newest first; ix_dead_letters_created_at."""
    query = (
        select(DeadLetter, Workflow.name, Execution.status)
        .join(Execution, Execution.id == DeadLetter.execution_id)
        .join(Workflow, Workflow.id == DeadLetter.workflow_id)
        .where(DeadLetter.redriven_at.is_not(None) if redriven else DeadLetter.redriven_at.is_(None))
        .where(*letters.clauses())
    )
    return await read_page(session, query, NEWEST_LETTER_FIRST, position, size)


async def require_letter(session: AsyncSession, execution_id: UUID) -> None:
    """Raises NotFoundError when this execution is no dead letter, open or redriven."""
    if await session.get(DeadLetter, execution_id) is None:
        raise NotFoundError(f"Execution {execution_id} is no dead letter.")


def _redrivable(letters: Letters) -> tuple[ColumnElement[bool], ...]:
    """Open ones whose execution can be tried again: not those of a workflow that was deleted."""
    return (
        DeadLetter.redriven_at.is_(None),
        Execution.status == Status.FAILED,
        Workflow.archived_at.is_(None),
        *letters.clauses(),
    )


async def lock_redrivable(session: AsyncSession, letters: Letters, most: int) -> Sequence[UUID]:
    """Executions of open dead letters, the oldest first, that nobody else is changing; ix_dead_letters_created_at."""
    query = (
        select(Execution.id)
        .join(DeadLetter, DeadLetter.execution_id == Execution.id)
        .join(Workflow, Workflow.id == Execution.workflow_id)
        .where(*_redrivable(letters))
        .order_by(DeadLetter.created_at, DeadLetter.execution_id)
        .limit(most)
        .with_for_update(of=Execution, skip_locked=True)
    )
    return (await session.scalars(query)).all()


async def count_redrivable(session: AsyncSession, letters: Letters) -> int:
    """How many dead letters could be redriven."""
    query = (
        select(func.count())
        .select_from(DeadLetter)
        .join(Execution, Execution.id == DeadLetter.execution_id)
        .join(Workflow, Workflow.id == Execution.workflow_id)
        .where(*_redrivable(letters))
    )
    return await session.scalar(query) or 0


async def list_deliveries(
    session: AsyncSession,
    *,
    status: str | None = None,
    type: str | None = None,
    project_id: str | None = None,
    execution_id: UUID | None = None,
    position: Position | None = None,
    size: int = 50,
) -> Page[tuple[Delivery]]:
    """Deliveries, newest first; ix_deliveries_created_at_id, ix_deliveries_execution_id,
    ix_deliveries_project_id_created_at."""
    query = select(Delivery)
    if status is not None:
        query = query.where(Delivery.status == status)
    if type is not None:
        query = query.where(Delivery.type == type)
    if project_id is not None:
        query = query.where(Delivery.project_id == project_id)
    if execution_id is not None:
        query = query.where(Delivery.execution_id == execution_id)
    return await read_page(session, query, NEWEST_DELIVERY_FIRST, position, size)


async def lock_delivery(session: AsyncSession, delivery_id: UUID) -> Delivery:
    """One delivery, which nobody else changes until the transaction ends.

    Raises:
        NotFoundError: there is no such delivery.
    """
    delivery = await session.scalar(select(Delivery).where(Delivery.id == delivery_id).with_for_update())
    if delivery is None:
        raise NotFoundError(f"Delivery {delivery_id} does not exist.")
    return delivery
