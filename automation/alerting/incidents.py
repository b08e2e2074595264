"""What is found becomes incidents: PENDING → FIRING → RESOLVED, by the clock of the database.

All state is in the table `alerts`, so that a restart, or another process that goes on, neither forgets an incident nor
tells of it again.
"""

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from automation.alerting.rules import Rule
from automation.models import Alert, AlertState, Json
from automation.redaction import redact, redact_text
from automation.steps import one_line

log = logging.getLogger(__name__)

GAP = timedelta(seconds=60)
"""Nobody looked for longer than that (an outage, a clock that was set): what is PENDING begins anew then, since nobody
knows whether it was there all the time."""

MOST = 50
"""Open incidents of one rule; more are not begun, since nobody reads them, and somebody is told already."""
_LONGEST = 500
"""Characters of a message."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a rule finds wrong now.

    Attributes:
        fingerprint: what of all that the rule watches it is; at most 200 characters.
        message: what was seen, with its figures; control characters and secrets are taken out.
        threshold: from when on it is wrong, in words.
        value, limit, unit: the same as figures, where it is one.
        count: how many there are of what was found.
        more: what else people and programs may want to know.
    """

    message: str
    threshold: str
    fingerprint: str = ""
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    count: int = 1
    project_id: str | None = None
    workflow_id: UUID | None = None
    execution_id: UUID | None = None
    more: Json = field(default_factory=dict)

    @property
    def details(self) -> Json:
        figures: Json = {"value": self.value, "limit": self.limit, "unit": self.unit}
        shown: Json = redact({"threshold": self.threshold, **(figures if self.value is not None else {}), **self.more})
        return shown


async def follow(
    session: AsyncSession,
    name: str,
    rule: Rule,
    known: Mapping[str, Alert],
    findings: Sequence[Finding],
    now: datetime,
    *,
    elsewhere: Collection[str] = (),
    keeps: Collection[str] = (),
) -> set[str]:
    """Bring the incidents of a rule in line with what it has found just now.

    Args:
        known: its incidents that are not over, by fingerprint.
        elsewhere: fingerprints that another rule has now: their incidents here end without a word.
        keeps: fingerprints that could not be looked at, so that they are not over.

    Returns:
        The fingerprints of those that are not over now.
    """
    found = {finding.fingerprint: finding for finding in findings if finding.fingerprint not in elsewhere}
    new = [finding for fingerprint, finding in found.items() if fingerprint not in known]
    room = max(0, MOST - len(known))
    session.add_all(begun(name, rule, finding, now) for finding in new[:room])
    if len(new) > room:
        log.warning("The rule %s has %d incidents already; not told: %s", name, MOST, clean(new[room].message))
    open_ = {finding.fingerprint for finding in new[:room]}
    for fingerprint, alert in known.items():
        if fingerprint in found:
            seen(alert, rule, found[fingerprint], now)
            open_.add(fingerprint)
        elif fingerprint in elsewhere:
            await end_without_a_word(session, alert, now)
        elif fingerprint in keeps or not unseen(alert, rule, now):
            open_.add(fingerprint)
        else:
            await _end(session, alert, now)
    return open_


def sighted(
    session: AsyncSession,
    name: str,
    rule: Rule,
    known: Mapping[str, Alert],
    findings: Iterable[Finding],
    now: datetime,
) -> None:
    """Add what was noticed on the spot to the incidents of a rule, each `count` to that of before: it fires at once,
    since it has happened."""
    rule = rule.model_copy(update={"for_seconds": 0})
    room = MOST - len(known)
    for finding in findings:
        alert = known.get(finding.fingerprint)
        if alert is not None:
            before, project_id = alert.count, alert.project_id
            seen(alert, rule, finding, now)
            alert.count = before + finding.count
            alert.project_id = project_id if project_id == finding.project_id else None
        elif room > 0:
            session.add(begun(name, rule, finding, now))
            room -= 1


async def end_without_a_word(session: AsyncSession, alert: Alert, now: datetime) -> None:
    """It is over as far as its rule is concerned; nobody is told."""
    alert.over_notified_at = now
    await _end(session, alert, now)


async def _end(session: AsyncSession, alert: Alert, now: datetime) -> None:
    if alert.state == AlertState.PENDING:  # nothing has happened as far as anybody knows
        await session.delete(alert)
    else:
        alert.state = AlertState.RESOLVED
        alert.resolved_at = now
        log.info("Over: %s (%s)", clean(alert.message), alert.rule)


# --- pure, but for the row that they are given -------------------------------------------------------------------


def begun(name: str, rule: Rule, finding: Finding, now: datetime) -> Alert:
    """A new incident: PENDING, or FIRING at once if the rule does not wait."""
    alert = Alert(rule=name, fingerprint=finding.fingerprint, state=AlertState.PENDING, created_at=now, count=0)
    alert.last_seen_at = now
    seen(alert, rule, finding, now)
    return alert


def seen(alert: Alert, rule: Rule, finding: Finding, now: datetime) -> None:
    """An incident is still there: it may fire now."""
    if alert.state == AlertState.PENDING and now - alert.last_seen_at > GAP:
        alert.created_at = now
    alert.severity = rule.severity
    alert.message = clean(finding.message)
    alert.details = finding.details
    alert.count = finding.count
    alert.project_id = finding.project_id
    alert.workflow_id = finding.workflow_id
    alert.execution_id = finding.execution_id
    alert.last_seen_at = now
    if alert.state == AlertState.PENDING and now - alert.created_at >= timedelta(seconds=rule.for_seconds):
        alert.state = AlertState.FIRING
        alert.fired_at = now
        log.warning("%s: %s (%s)", alert.severity, alert.message, alert.rule)


def unseen(alert: Alert, rule: Rule, now: datetime) -> bool:
    """Whether an incident that was not found is over: one that never fired is at once."""
    quiet = now - alert.last_seen_at
    return alert.state == AlertState.PENDING or quiet >= timedelta(seconds=rule.resolve_after_seconds)


def clean(text: str) -> str:
    """A text for people: in one line, without secrets, not too long."""
    short = one_line(redact_text(text))
    return short if len(short) <= _LONGEST else short[: _LONGEST - 1] + "…"
