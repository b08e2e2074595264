"""What people ask of alerts and silences, and what the alerting itself asks of them."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from automation.errors import NotFoundError
from automation.models.alert import Alert, AlertState, Sighting, Silence
from automation.models.paging import Order, Page, Position, read_page

NEWEST_FIRST = Order(Alert.created_at, Alert.id, descending=True)
NEWEST_SILENCE_FIRST = Order(Silence.created_at, Silence.id, descending=True)

# spelled out as the partial indexes say it: no plan can take a parameter for that
_OPEN = text("alerts.state IN ('PENDING', 'FIRING')")
_OVER_UNTOLD = text("alerts.state = 'RESOLVED' AND alerts.notified_at IS NOT NULL AND alerts.over_notified_at IS NULL")


async def list_alerts(
    session: AsyncSession,
    *,
    rule: str | None = None,
    severity: str | None = None,
    state: str | None = None,
    project_id: str | None = None,
    is_open: bool | None = None,
    position: Position | None = None,
    size: int = 50,
) -> Page[tuple[Alert]]:
    """Alerts, newest first; ix_alerts_created_at_id, ix_alerts_project_id_created_at, ix_alerts_open.

    Args:
        is_open: those that are on and that nobody has acknowledged, or the others.
    """
    query = select(Alert)
    if rule is not None:
        query = query.where(Alert.rule == rule)
    if severity is not None:
        query = query.where(Alert.severity == severity)
    if state is not None:
        query = query.where(Alert.state == state)
    if project_id is not None:
        query = query.where(Alert.project_id == project_id)
    if is_open is not None:
        still = Alert.resolved_at.is_(None) & Alert.acknowledged_at.is_(None)
        query = query.where(still if is_open else ~still)
    return await read_page(session, query, NEWEST_FIRST, position, size)


async def find_alert(session: AsyncSession, alert_id: UUID) -> Alert:
    """One alert.

    Raises:
        NotFoundError: there is no such alert.
    """
    alert = await session.get(Alert, alert_id)
    if alert is None:
        raise NotFoundError(f"Alert {alert_id} does not exist.")
    return alert


async def lock_alert(session: AsyncSession, alert_id: UUID) -> Alert:
    """One alert, which nobody else changes until the transaction ends.

    Raises:
        NotFoundError: there is no such alert.
    """
    alert = await session.scalar(select(Alert).where(Alert.id == alert_id).with_for_update())
    if alert is None:
        raise NotFoundError(f"Alert {alert_id} does not exist.")
    return alert


async def list_silences(
    session: AsyncSession, *, project_id: str | None = None, position: Position | None = None, size: int = 50
) -> Page[tuple[Silence]]:
    """Silences that are not over, newest first; ix_silences_created_at_id."""
    query = select(Silence).where(Silence.until > func.now())
    if project_id is not None:
        query = query.where(Silence.project_id == project_id)
    return await read_page(session, query, NEWEST_SILENCE_FIRST, position, size)


# --- the alerting's own ------------------------------------------------------------------------------------------

_ANYTHING = text("""
    SELECT now(),
        EXISTS (SELECT FROM sightings),
        EXISTS (
            SELECT FROM alerts WHERE state IN ('PENDING', 'FIRING') AND state = 'FIRING' AND count > notified_count
        ),
        EXISTS (
            SELECT FROM alerts
            WHERE state = 'RESOLVED' AND notified_at IS NOT NULL AND over_notified_at IS NULL
                AND resolved_at > now() - CAST(:tell_for AS interval)
        )
""")


async def anything(session: AsyncSession, tell_for: timedelta) -> tuple[datetime, bool, bool]:
    """What time the database has; whether there are sightings; whether somebody may have to be told of an incident.

    uq_alerts_open, ix_alerts_over_untold.
    """
    now, seen, is_open, is_over = (await session.execute(_ANYTHING, {"tell_for": tell_for})).one()
    return now, seen, is_open or is_over


async def now_there(session: AsyncSession) -> datetime:
    """The database's clock, by which all incidents are timed, whichever process looks."""
    now: datetime = (await session.execute(select(func.now()))).scalar_one()
    return now


async def take_sightings(session: AsyncSession, most: int) -> Sequence[Sighting]:
    """The oldest sightings, which are no more when this transaction commits."""
    oldest = select(Sighting.id).order_by(Sighting.id).limit(most).with_for_update(skip_locked=True)
    taken = delete(Sighting).where(Sighting.id.in_(oldest)).returning(Sighting)
    return sorted(await session.scalars(taken), key=lambda one: one.id)


async def open_alerts(session: AsyncSession) -> dict[str, dict[str, Alert]]:
    """Incidents that are not over, by rule and fingerprint, which nobody else changes meanwhile; uq_alerts_open."""
    found: defaultdict[str, dict[str, Alert]] = defaultdict(dict)
    for one in await session.scalars(select(Alert).where(_OPEN).with_for_update()):
        found[one.rule][one.fingerprint] = one
    return found


async def firing(session: AsyncSession) -> Sequence[Alert]:
    """Incidents that are on, oldest first, which nobody else changes meanwhile; uq_alerts_open."""
    query = select(Alert).where(_OPEN, Alert.state == AlertState.FIRING)
    return (await session.scalars(query.order_by(Alert.created_at).with_for_update(skip_locked=True))).all()


async def over_untold(session: AsyncSession, since: datetime) -> Sequence[Alert]:
    """Incidents that are over since then, and of which people know only that they were on; ix_alerts_over_untold."""
    query = select(Alert).where(_OVER_UNTOLD, Alert.resolved_at > since)
    return (await session.scalars(query.order_by(Alert.resolved_at).with_for_update(skip_locked=True))).all()


async def told_last(session: AsyncSession, things: Collection[tuple[str, str]]) -> dict[tuple[str, str], datetime]:
    """When somebody was told of each thing (rule and fingerprint) last; ix_alerts_told."""
    query = (
        select(Alert.rule, Alert.fingerprint, func.max(Alert.notified_at))
        .where(tuple_(Alert.rule, Alert.fingerprint).in_(things), Alert.notified_at.is_not(None))
        .group_by(Alert.rule, Alert.fingerprint)
    )
    rows = (await session.execute(query)).tuples() if things else ()
    return {(rule, fingerprint): at for rule, fingerprint, at in rows if at}


async def silences_in_force(session: AsyncSession, now: datetime) -> Sequence[Silence]:
    """Silences that are not over; ix_silences_until."""
    return (await session.scalars(select(Silence).where(Silence.until > now))).all()
