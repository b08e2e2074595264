"""Which cron slots fire, and which are skipped: one rule for Prefect's run of a slot and for the catch-up. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from automation.triggers.slots import count_slots, slots
from automation.triggers.types import ScheduledConfig

LEEWAY = timedelta(seconds=20)
"""A slot is not missed before: Prefect's run of it needs a second to start, and longer on a machine under load."""
LISTED = 100
"""Skipped slots of one trigger that are recorded after an outage; of those before, only the number."""
AT_ONCE = 1000
"""Missed slots of one trigger that fire in one round; the next round goes on."""

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Missed:
    """Slots that are over: those to `fire` and the newest of those to `skip`, oldest first; `unlisted` came before."""

    fire: list[datetime]
    skip: list[datetime]
    unlisted: int = 0


def why_skip(config: ScheduledConfig, slot: datetime, now: datetime) -> str:
    """Why a slot does not fire (any more), or "" when it does."""
    if config.catch_up == "skip" and slot < _grace_began(config, now):
        late = (now - slot).total_seconds()
        return f"skipped: its slot {_told(slot)} was {late:.0f} s ago, its grace is {config.grace_seconds:g} s"
    if config.catch_up == "latest" and (newer := slots(config.cron, config.timezone, slot, now, limit=1, newest=True)):
        return f"skipped: its slot {_told(slot)} was missed, and only the latest is caught up with, {_told(newer[0])}"
    return ""


def missed(config: ScheduledConfig, after: datetime, now: datetime) -> Missed:
    """The slots after `after` whose time is over."""
    until = now - LEEWAY
    border = min(max(after, _border(config, after, now)), until)
    fire = slots(config.cron, config.timezone, border, until, limit=AT_ONCE)
    if border <= after:
        return Missed(fire, [])
    skip = slots(config.cron, config.timezone, after, border, limit=LISTED, newest=True)
    if len(skip) < LISTED:
        return Missed(fire, skip)
    return Missed(fire, skip, count_slots(config.cron, config.timezone, after, skip[0]) - 1)


def _border(config: ScheduledConfig, after: datetime, now: datetime) -> datetime:
    """Slots up to here are skipped, later ones fire."""
    if config.catch_up == "skip":
        return _grace_began(config, now) - _TICK
    if config.catch_up == "latest":
        latest = slots(config.cron, config.timezone, after, now, limit=1, newest=True)
        return latest[0] - _TICK if latest else after
    return after


def in_grace(config: ScheduledConfig, slot: datetime, now: datetime) -> bool:
    """Whether a slot is so young that a run of it that is on its way is waited for."""
    return slot >= _grace_began(config, now)


def _grace_began(config: ScheduledConfig, now: datetime) -> datetime:
    return now - timedelta(seconds=config.grace_seconds)


def _told(slot: datetime) -> str:
    return f"{slot.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
