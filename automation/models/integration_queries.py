"""What people and steps ask of integrations: the list, one of them, the one that a name means."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.errors import NotFoundError
from automation.models.base import Json, utc_now
from automation.models.paging import Order, Page, Position, read_page
from automation.models.records import Integration

NEWEST_FIRST = Order(Integration.created_at, Integration.id, descending=True)


async def list_integrations(
    session: AsyncSession,
    *,
    project_id: str | None = None,
    type: str | None = None,
    is_active: bool | None = None,
    position: Position | None = None,
    size: int = 50,
) -> Page[tuple[Integration]]:
    """Integrations, newest first; ix_integrations_created_at_id."""
    given = {"project_id": project_id, "type": type, "is_active": is_active}
    query = select(Integration).where(
        *(getattr(Integration, name) == value for name, value in given.items() if value is not None)
    )
    return await read_page(session, query, NEWEST_FIRST, position, size)


async def find_integration(session: AsyncSession, id: UUID) -> Integration:
    """One integration.

    Raises:
        NotFoundError: there is none of that id.
    """
    return await _one(session, select(Integration).where(Integration.id == id), id)


async def lock_integration(session: AsyncSession, id: UUID) -> Integration:
    """The same for who changes it; others wait until the commit.

    Raises:
        NotFoundError: there is none of that id.
    """
    return await _one(session, select(Integration).where(Integration.id == id).with_for_update(), id)


async def _one(session: AsyncSession, query: Select[Any], id: UUID) -> Integration:
    found: Integration | None = (await session.scalars(query)).one_or_none()
    if found is None:
        raise NotFoundError(f"Integration {id} does not exist.")
    return found


async def named_integration(session: AsyncSession, reference: str, project_id: str | None) -> Integration | None:
    """The integration that a step of that project means by an id or a name: its own before the platform's;
    uq_integrations_name."""
    visible: ColumnElement[bool] = Integration.project_id.is_(None)
    if project_id:
        visible = or_(visible, Integration.project_id == project_id)
    meant: ColumnElement[bool] = Integration.name == reference
    with suppress(ValueError):
        meant = or_(meant, Integration.id == UUID(reference))
    query = select(Integration).where(visible, meant)
    # an id before a name that looks like it, a project's own before the platform's
    order = (Integration.name == reference, Integration.project_id.is_(None))
    return (await session.scalars(query.order_by(*order).limit(1))).one_or_none()


async def remember_test(session: AsyncSession, id: UUID, seen: Json) -> None:
    """Store what a test has seen; that is no change of the integration."""
    values = {"last_tested_at": utc_now(), "last_test": seen, "updated_at": Integration.updated_at}
    await session.execute(update(Integration).where(Integration.id == id).values(values))
