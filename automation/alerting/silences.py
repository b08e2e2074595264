"""Who looks after an incident, and what nobody wants to hear of for a while. For the API and the operations pages.

Each is a step of the caller's transaction, with its row in the audit.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from automation.audit import Actor, note
from automation.errors import NotFoundError, RefusedError
from automation.models import Alert, Json, Silence, utc_now
from automation.models.alert_queries import lock_alert

LONGEST = timedelta(days=90)
"""What is silenced for longer is better switched off in the rules."""


async def acknowledge(
    session: AsyncSession, actor: Actor, alert_id: UUID, *, by: str | None = None, comment: str = ""
) -> Alert:
    """Say that somebody looks after an incident; said again, the first one stays with a new comment.

    Args:
        by: who says so, as the holder of the key knows.

    Raises:
        NotFoundError: there is no such alert.
    """
    alert = await lock_alert(session, alert_id)
    before = {"acknowledged_by": alert.acknowledged_by, "comment": alert.comment}
    if alert.acknowledged_at is None:
        alert.acknowledged_at = utc_now()
        alert.acknowledged_by = _who(actor, by)
    alert.comment = comment or alert.comment
    after = {"acknowledged_by": alert.acknowledged_by, "comment": alert.comment}
    await note(session, actor, "acknowledge", "alert", alert_id, alert.project_id, before, after)
    return alert


async def silence(
    session: AsyncSession,
    actor: Actor,
    alert_id: UUID,
    until: datetime,
    *,
    only: str | None = None,
    by: str | None = None,
    comment: str = "",
) -> Silence:
    """Nobody is told of this incident, or of the next of its rule about the same thing, until then.

    Args:
        only: the project that the actor's key is for; people are told all the same when it concerns others, too.

    Raises:
        NotFoundError: there is no such alert.
        RefusedError: `until` is past, or more than 90 days away.
    """
    alert = await lock_alert(session, alert_id)
    return await silence_all(
        session,
        actor,
        until,
        rule=alert.rule,
        fingerprint=alert.fingerprint,
        project_id=only,
        by=by,
        comment=comment,
    )


async def silence_all(
    session: AsyncSession,
    actor: Actor,
    until: datetime,
    *,
    rule: str | None = None,
    fingerprint: str | None = None,
    project_id: str | None = None,
    by: str | None = None,
    comment: str = "",
) -> Silence:
    """Nobody is told until then of what a rule sees, or of what concerns a project, or of both; None does not narrow.

    Raises:
        RefusedError: `until` is past, or more than 90 days away.
    """
    now = utc_now()
    if not now < until <= now + LONGEST:
        raise RefusedError(f"until: expected a time within the next {LONGEST.days} days, got {until}", "until")
    made = Silence(
        rule=rule,
        fingerprint=fingerprint,
        project_id=project_id,
        until=until,
        comment=comment,
        created_at=now,
        created_by=_who(actor, by),
    )
    session.add(made)
    await session.flush()
    await note(session, actor, "create", "silence", made.id, project_id, None, _shown(made))
    return made


async def unsilence(session: AsyncSession, actor: Actor, silence_id: UUID) -> None:
    """End a silence now.

    Raises:
        NotFoundError: there is no such silence.
    """
    found = await session.get(Silence, silence_id, with_for_update=True)
    if found is None:
        raise NotFoundError(f"Silence {silence_id} does not exist.")
    await note(session, actor, "delete", "silence", silence_id, found.project_id, _shown(found), None)
    await session.delete(found)


def silenced_until(alert: Alert, silences: Sequence[Silence], now: datetime) -> datetime | None:
    """Until when nobody is told of an alert, or None; pure."""
    return max((one.until for one in silences if one.until > now and _names(one, alert)), default=None)


def _names(one: Silence, alert: Alert) -> bool:
    return (
        one.rule in (None, alert.rule)
        and one.fingerprint in (None, alert.fingerprint)
        and one.project_id in (None, alert.project_id)
    )


def _who(actor: Actor, by: str | None) -> str:
    return actor.name if by is None else f"{actor.name}: {by}"


def _shown(one: Silence) -> Json:
    return {
        "rule": one.rule,
        "fingerprint": one.fingerprint,
        "until": one.until.isoformat(),
        "comment": one.comment,
        "created_by": one.created_by,
    }
