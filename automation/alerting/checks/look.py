"""What a check is given, and what it answers."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from automation.alerting.incidents import Finding
from automation.models import Alert
from automation.monitoring.now import Now
from automation.settings import Settings


@dataclass(frozen=True, slots=True)
class Look:
    """One look of one rule.

    Attributes:
        now: by the database's clock.
        since: what ended or failed before it, an earlier look has seen.
        standing: what stands now.
        known: the rule's incidents that are not over, by fingerprint.
    """

    session: AsyncSession
    settings: Settings
    now: datetime
    since: datetime
    standing: Now
    known: Mapping[str, Alert]


@dataclass(frozen=True, slots=True)
class Found:
    """What is wrong now; `keeps` are those of the known fingerprints that could not be looked at: they are not over."""

    findings: Sequence[Finding] = ()
    keeps: Collection[str] = ()


Check = Callable[[Look, Any], Awaitable[Found]]
"""`async (look, rule) -> Found`; the rule is of the type that the check is for."""


def percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def seconds(value: float) -> str:
    """`0.4 s`, `75 s`, `12 min`, `5.0 h`."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"
