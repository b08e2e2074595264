"""What people ask of alerts: the list, and one that somebody looks after."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from automation.errors import NotFoundError
from automation.models.paging import Order, Page, Position, read_page
from automation.models.records import Alert

NEWEST_FIRST = Order(Alert.created_at, Alert.id, descending=True)


async def list_alerts(
    session: AsyncSession,
    *,
    rule: str | None = None,
    severity: str | None = None,
    project_id: str | None = None,
    is_open: bool | None = None,
    position: Position | None = None,
    size: int = 50,
) -> Page[tuple[Alert]]:
    """Alerts, newest first; ix_alerts_created_at_id, ix_alerts_project_id_created_at, ix_alerts_open.

    Args:
        is_open: those that nobody has acknowledged and that are not over, or the others.
    """
    query = select(Alert)
    if rule is not None:
        query = query.where(Alert.rule == rule)
    if severity is not None:
        query = query.where(Alert.severity == severity)
    if project_id is not None:
        query = query.where(Alert.project_id == project_id)
    if is_open is not None:
        still = Alert.resolved_at.is_(None) & Alert.acknowledged_at.is_(None)
        query = query.where(still if is_open else ~still)
    return await read_page(session, query, NEWEST_FIRST, position, size)


async def lock_alert(session: AsyncSession, alert_id: UUID) -> Alert:
    """One alert, which nobody else changes until the transaction ends.

    Raises:
        NotFoundError: there is no such alert.
    """
    alert = await session.scalar(select(Alert).where(Alert.id == alert_id).with_for_update())
    if alert is None:
        raise NotFoundError(f"Alert {alert_id} does not exist.")
    return alert
