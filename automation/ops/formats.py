"""Numbers, durations and times as people read them, by language. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_NARROW = "\u202f"
"""The narrow blank that French puts between thousands and before a sign of per cent."""

_UNITS = ("B", "kB", "MB", "GB", "TB")
NONE = "–"
"""What stands where there is no figure."""


@dataclass(frozen=True, slots=True)
class Format:
    """How a language writes figures."""

    thousands: str
    point: str
    before_percent: str
    day: str

    def number(self, value: float | None, digits: int = 0) -> str:
        """`12,345` or `12 345`; with so many digits behind the point."""
        if value is None:
            return NONE
        plain = f"{value:,.{digits}f}"
        return plain.translate({ord(","): self.thousands, ord("."): self.point})

    def percent(self, share: float | None) -> str:
        """A share of 0 to 1: `98.4 %`. 100 % is said of the whole alone, 0 % of nothing alone."""
        if share is None:
            return NONE
        percent = share * 100
        if 0 < percent < 100:
            percent = min(max(percent, 0.1), 99.9)
        digits = 0 if percent in (0, 100) else 1
        return f"{self.number(percent, digits)}{self.before_percent}%"

    def bytes(self, value: float | None) -> str:
        """`1.5 GB`, in powers of 1,000."""
        if value is None:
            return NONE
        unit = 0
        while value >= 999.5 and unit < len(_UNITS) - 1:
            value, unit = value / 1000, unit + 1
        return f"{self.number(value, 1 if unit and value < 100 else 0)} {_UNITS[unit]}"

    def duration(self, ms: float | None) -> str:
        """Milliseconds in the two largest units that say something: `850 ms`, `1.2 s`, `3 min 04 s`, `2 h 15 min`."""
        if ms is None:
            return NONE
        seconds = ms / 1000
        if ms < 10:
            return f"{self.number(ms, 1)} ms"
        if ms < 999.5:
            return f"{self.number(ms)} ms"
        if seconds < 59.95:
            return f"{self.number(seconds, 1)} s"
        minutes, left = divmod(round(seconds), 60)
        hours, more = divmod(minutes, 60)
        days, rest = divmod(hours, 24)
        if not hours:
            return _two(minutes, "min", left, "s")
        return _two(days, self.day, rest, "h") if days else _two(hours, "h", more, "min")

    def seconds(self, value: float | timedelta | None) -> str:
        """The same of seconds."""
        if isinstance(value, timedelta):
            value = value.total_seconds()
        return self.duration(None if value is None else value * 1000)


def _two(value: int, unit: str, left: int, smaller: str) -> str:
    return f"{value} {unit} {left:02} {smaller}" if left else f"{value} {unit}"


FORMATS = {
    "en": Format(thousands=",", point=".", before_percent="", day="d"),
    "fr": Format(thousands=_NARROW, point=",", before_percent=_NARROW, day="j"),
}


def clock_time(at: datetime, now: datetime) -> str:
    """A time in UTC: of today the time alone, else the date and the minute."""
    at = at.astimezone(UTC)
    return f"{at:%H:%M:%S}" if at.date() == now.astimezone(UTC).date() else f"{at:%Y-%m-%d %H:%M}"


def full_time(at: datetime) -> str:
    """A time in UTC to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
