"""Who is told of an incident, when, and in which words.

Telling is writing: a message for each channel into the outbox, which delivers it, and a delivery for the signed
webhook, all in the transaction that notes that it was told. So each is told once, by whichever process, and a channel
that is away gets it when it is back (within a day).
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from automation.alerting.links import Links, links_of
from automation.alerting.rules import Rule, Rules
from automation.alerting.silences import silenced_until
from automation.callback.tell import DELIVERIES_CHANNEL
from automation.foundation import texts
from automation.foundation.mail import is_address
from automation.foundation.notify import Channel, Notice, admin_channels, person_channels, team_channels
from automation.models import Alert, AlertState, Delivery, Json, Owed, Project, Silence
from automation.models.alert_queries import firing, over_untold, silences_in_force, told_last
from automation.models.channels import OWED_CHANNEL
from automation.redaction import redact_text
from automation.settings import Settings
from automation.steps import one_line

TOO_LATE = timedelta(days=1)
"""Nobody is told of what is so old."""

FIRING, RESOLVED = "alert.firing", "alert.resolved"


async def tell_due(session: AsyncSession, rules: Rules, settings: Settings, now: datetime) -> int:
    """Tell of what fires, and of what is over, as far as it is due; how many messages that were."""
    on, over = await firing(session), await over_untold(session, now - TOO_LATE)
    if not on and not over:
        return 0
    silences = await silences_in_force(session, now)
    told = await told_last(session, {(one.rule, one.fingerprint) for one in on})
    due = [one for one in on if _is_due(one, rules, settings, silences, told.get((one.rule, one.fingerprint)), now)]
    ended = [one for one in over if _may_be_told(one, rules, silences, now)]
    links = await links_of(session, [*due, *ended], rules, settings)
    for alert in due:
        await _tell_firing(session, alert, rules, settings, links[alert.id], now)
    for alert in ended:
        await _tell_over(session, alert, settings, links[alert.id], now)
    return len(due) + len(ended)


def _is_due(
    alert: Alert,
    rules: Rules,
    settings: Settings,
    silences: Sequence[Silence],
    last: datetime | None,
    now: datetime,
) -> bool:
    """Whether people are to be told now that it fires.

    Once, and not too soon after they were told of the same thing. What is noticed on the spot is told again when the
    cooldown is over and it went on meanwhile, unless somebody looks after it.
    """
    rule = rules.enabled().get(alert.rule)
    if rule is None or not _may_be_told(alert, rules, silences, now):
        return False
    cooldown = settings.admin_notify_cooldown if rule.cooldown_seconds is None else rule.cooldown_seconds
    if last is not None and now < last + timedelta(seconds=cooldown):
        return False
    went_on = rule.type == "sightings" and alert.count > alert.notified_count and alert.acknowledged_at is None
    return alert.notified_count == 0 or went_on


def _may_be_told(alert: Alert, rules: Rules, silences: Sequence[Silence], now: datetime) -> bool:
    """Whether neither a silence nor the quiet hours stand against it; those end, and then it is told."""
    return not rules.are_quiet(alert.severity, now) and silenced_until(alert, silences, now) is None


async def _tell_firing(
    session: AsyncSession, alert: Alert, rules: Rules, settings: Settings, links: Links, now: datetime
) -> None:
    rule = rules.rules[alert.rule]
    message = _admins_message(alert, rule, links)
    reached: list[Json] = []
    for name in rules.channels_of(rule):
        if name == "owner":
            reached += await _tell_owner(session, alert, alert.project_id, settings, now, over=False)
        else:
            for channel in admin_channels(settings) if name == "admins" else team_channels(settings):
                await _owe(session, alert, FIRING, channel, Notice(*message, idempotency_key=""), now)
                reached.append({"channel": channel.key})
    await _deliver(session, alert, FIRING, settings, now)
    alert.recipients = [*alert.recipients, *(one for one in reached if one not in alert.recipients)]
    alert.notified_count = alert.count
    if reached or settings.alert_webhook_url:
        alert.notified_at = now


async def _tell_over(session: AsyncSession, alert: Alert, settings: Settings, links: Links, now: datetime) -> None:
    """Tell those who were told that it was on, as far as their channels still exist."""
    message = _over_message(alert, links)
    known = {one.key: one for one in (*admin_channels(settings), *team_channels(settings))}
    for key in {one["channel"] for one in alert.recipients if "to" not in one}:
        if key in known:
            await _owe(session, alert, RESOLVED, known[key], Notice(*message, idempotency_key=""), now)
    for project_id in {one["project_id"] for one in alert.recipients if "to" in one}:
        await _tell_owner(session, alert, project_id, settings, now, over=True)
    await _deliver(session, alert, RESOLVED, settings, now)
    alert.over_notified_at = now


# --- the messages ------------------------------------------------------------------------------------------------


def _admins_message(alert: Alert, rule: Rule, links: Links) -> tuple[str, str]:
    """Subject and body of what administrators read at three in the morning."""
    held_back = alert.count - alert.notified_count
    lines = [
        one_line(alert.details.get("body", "")),  # which may come from a page: it adds no lines of its own to ours
        f"{rule.title}. Threshold: {alert.details.get('threshold') or 'none'}.",
        f"Seen since {_time(alert.created_at)}" + (f", {held_back} of this kind." if held_back > 1 else "."),
        f"What to do: {rule.todo}",
        *_where(alert, links),
        f"Alert: {links.alert}",
    ]
    return f"{alert.severity}: {alert.message}", "\n\n".join(filter(None, lines))


def _over_message(alert: Alert, links: Links) -> tuple[str, str]:
    lasted = f"From {_time(alert.fired_at or alert.created_at)} to {_time(alert.resolved_at)}."
    lines = [lasted, *_where(alert, links), f"Alert: {links.alert}"]
    return f"Over: {alert.message}", "\n\n".join(lines)


def _where(alert: Alert, links: Links) -> Iterable[str]:
    if alert.project_id:
        yield f"Project: {alert.project_id}"
    if links.execution:
        yield f"Execution {alert.execution_id}: {links.execution}"
    if links.prefect_run:
        yield f"Prefect's run: {links.prefect_run}"
    yield f"Runbook: {links.runbook}"


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "–"


# --- the channels ------------------------------------------------------------------------------------------------


async def _tell_owner(
    session: AsyncSession, alert: Alert, project_id: str | None, settings: Settings, now: datetime, *, over: bool
) -> list[Json]:
    """Tell the owner of the project that an incident is about, if it is about one alone; who that was."""
    project = await session.get(Project, project_id) if project_id else None
    if project is None:
        return []
    address = project.owner_email if is_address(project.owner_email) else ""
    workflows = alert.details.get("workflows") or [{}]
    subject, body = texts.incident(
        settings.language,
        over=over,
        project=project.name or project.id,
        workflow=str(workflows[0].get("name", "")),
        count=alert.count,
    )
    notice = Notice(subject, body, "", to=address, person_id=project.owner_id, project_id=project.id)
    reached: list[Json] = []
    for channel in person_channels(settings, address):
        await _owe(session, alert, RESOLVED if over else FIRING, channel, notice, now)
        reached.append({"channel": channel.key, "to": address, "project_id": project.id})
    return reached


async def _owe(session: AsyncSession, alert: Alert, what: str, channel: Channel, notice: Notice, now: datetime) -> None:
    """A message for one channel, once; the outbox is woken when the transaction commits."""
    key = f"{what}:{alert.id}:{alert.count}:{channel.key}"
    request = asdict(notice) | {
        "subject": redact_text(notice.subject),
        "body": redact_text(notice.body),
        "idempotency_key": key,
        "expires_at": (now + TOO_LATE).isoformat(),
    }
    values = {
        "id": uuid4(),
        "idempotency_key": key,
        "neighbour": channel.key,
        "project_id": notice.project_id or None,
        "step": "alert",
        "request": request,
        "created_at": now,
    }
    await session.execute(insert(Owed).values(values).on_conflict_do_nothing())
    await session.execute(select(func.pg_notify(OWED_CHANNEL, "")))


async def _deliver(session: AsyncSession, alert: Alert, what: str, settings: Settings, now: datetime) -> None:
    """A signed webhook of it, where somebody wants one; see `automation.callback`."""
    if not settings.alert_webhook_url:
        return
    key = f"alert:{alert.id}:{AlertState.RESOLVED if what == RESOLVED else AlertState.FIRING}:{alert.count}"
    values = {
        "id": uuid4(),
        "key": key,
        "type": what,
        "alert_id": alert.id,
        "execution_id": alert.execution_id,
        "project_id": alert.project_id,
        "due_at": now,
        "created_at": now,
    }
    await session.execute(insert(Delivery).values(values).on_conflict_do_nothing())
    await session.execute(select(func.pg_notify(DELIVERIES_CHANNEL, "")))
