"""Windows of time, and the stretches of rollups that make one up: days inside, hours and minutes at its ends."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from automation.errors import RefusedError

LONGEST = timedelta(days=90)
"""The longest window; rollups by the hour and the day are kept that long."""

LENGTHS = {"day": timedelta(days=1), "hour": timedelta(hours=1), "minute": timedelta(minutes=1)}
"""How long a rollup is, by its resolution, the longest first; each begins at a whole multiple of that since 1970."""

_BY_MINUTE = timedelta(hours=46)
"""How far back an end of a window is exact to the minute; minutes are kept for 48 h, and those of its hour are read."""

_SLACK = timedelta(minutes=1)
"""A window may be longer by that: its two ends may come from two looks at the clock."""

EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """From `since` (inclusive) to `until` (exclusive), both timezone-aware.

    Raises:
        RefusedError: it ends before it begins, or is longer than `LONGEST`.
    """

    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        if self.until <= self.since:
            raise RefusedError(f"until: the window ends ({self.until}) before it begins ({self.since})", "until")
        if self.until - self.since > LONGEST + _SLACK:
            raise RefusedError(f"since: the window is longer than {LONGEST.days} days", "since")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rollups of one resolution, from `begin` (inclusive) to `end` (exclusive)."""

    resolution: str
    begin: datetime
    end: datetime


def finest(at: datetime, now: datetime) -> str:
    """The resolution to which a window can begin or end at a time: `minute` or `hour`. Pure."""
    return "minute" if at > now - _BY_MINUTE else "hour"


def stretches(window: Window, now: datetime, bucket: timedelta = LENGTHS["day"]) -> list[Stretch]:
    """The window, its ends rounded outwards to their finest resolution, in as few rollups as can be. Pure.

    Args:
        bucket: whole minutes, of which the window is to be had; each rollup lies within one of them.
    """
    begin = _down(window.since, LENGTHS[finest(window.since, now)])
    end = _up(window.until, LENGTHS[finest(window.until, now)])
    return list(_tiled(begin, end, [name for name, length in LENGTHS.items() if not bucket % length]))


def _tiled(begin: datetime, end: datetime, resolutions: Sequence[str]) -> Iterator[Stretch]:
    if begin == end:
        return
    longest, *finer = resolutions
    first, last = _up(begin, LENGTHS[longest]), _down(end, LENGTHS[longest])
    if first >= last:
        yield from _tiled(begin, end, finer)
        return
    yield from _tiled(begin, first, finer)
    yield Stretch(longest, first, last)
    yield from _tiled(last, end, finer)


def _down(at: datetime, length: timedelta) -> datetime:
    return EPOCH + (at - EPOCH) // length * length


def _up(at: datetime, length: timedelta) -> datetime:
    return EPOCH - (EPOCH - at) // length * length
