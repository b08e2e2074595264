"""When a cron expression is due: its slots, in UTC, right across daylight saving.

Fields and days are read by `cronsim`, as Debian's cron reads them (day and weekday both restricted: either is enough).
What the clocks do to a time of day is decided here, also as Debian's cron does it:

a time of day (neither minute nor hour begins with `*`)   skipped by the clocks: runs once, right after the jump
                                                          comes twice: runs the first time only
anything else (`*/15 * * * *`, `0 */2 * * *`)             follows real time: not while skipped, and both times

cronsim's own walk through time is not used: it goes by whole hours, and loses slots where the clocks move by half of
one (`*/15 3 * * *` in Australia/Lord_Howe has no 03:00 on 5 October 2025).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from prefect.client.schemas.schedules import CronSchedule
from pydantic import ValidationError

from automation.errors import RefusedError

_DAY = timedelta(days=1)
_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_LONGEST = 200
"""Characters of a cron expression: room for every second minute of the hour by its number."""
_FIRST_WITHIN = timedelta(days=5 * 366)
"""A cron without a slot for so long is a mistake (31 June), not a plan; 29 February comes every four years."""
_NEXT_WITHIN = timedelta(days=9 * 366)
"""The longest pause of a cron that has slots: from 29 February 2096 to the one of 2104."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A cron expression, read. `fixed`: it names times of day, rather than intervals."""

    sim: CronSim
    hours: tuple[int, ...]
    minutes: tuple[int, ...]
    fixed: bool

    def has(self, day: date) -> bool:
        return day.month in self.sim.months and self.sim.match_day(day)


@lru_cache(maxsize=4096)
def _rule(cron: str) -> _Rule:
    minutes, hours = cron.split()[:2]
    sim = CronSim(cron, datetime(2000, 1, 1))  # only its fields are used
    return _Rule(
        sim, tuple(sorted(sim.hours)), tuple(sorted(sim.minutes)), not minutes.startswith("*") and hours[0] != "*"
    )


@lru_cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())


def check_cron(cron: str, timezone: str, field: str) -> None:
    """Refuse what is no schedule.

    Args:
        field: dotted path of the expression; `timezone` stands beside it.

    Raises:
        RefusedError: the timezone is unknown, or the expression is none of five fields, has no slot within five
            years, or is one that Prefect's scheduler does not understand.
    """
    if timezone not in _timezones():
        beside = ".".join((*field.split(".")[:-1], "timezone"))
        raise RefusedError(f"{beside}: {timezone!r} is no timezone; give a name such as 'Europe/Paris'", beside)
    if problem := _problem(cron, timezone):
        raise RefusedError(f"{field}: {cron!r} {problem}", field)


def _problem(cron: str, timezone: str) -> str:
    if len(cron) > _LONGEST or len(cron.split()) != 5:
        return f"has not five fields (minute, hour, day of the month, month, day of the week) in {_LONGEST} characters"
    try:
        _rule(cron)
    except CronSimError as error:
        return f"is no cron expression ({str(error)[:1].lower()}{str(error)[1:]})"
    now = datetime.now(UTC)
    if not slots(cron, timezone, now, now + _FIRST_WITHIN, limit=1):
        return "has no time within five years"
    try:
        CronSchedule(cron=cron, timezone=timezone)
    except ValidationError:
        return "is a form that Prefect's scheduler does not know"
    return ""


def slots(
    cron: str, timezone: str, after: datetime, until: datetime, limit: int = 1000, *, newest: bool = False
) -> list[datetime]:
    """The slots after `after`, up to and including `until`: the first `limit`, or the last ones with `newest`.

    Returns:
        UTC times, oldest first. What it costs grows with `limit` and the number of days, not with the slots left out.
    """
    rule, zone, after, until = _rule(cron), ZoneInfo(timezone), _utc(after), _utc(until)
    days = _days(zone, after, until)
    if newest:
        backwards = (at for day in reversed(days) for at in reversed(_of_day(rule, zone, day, after, until)))
        return list(islice(backwards, limit))[::-1]
    return list(islice(_forwards(rule, zone, days, after, until), limit))


def count_slots(cron: str, timezone: str, after: datetime, until: datetime) -> int:
    """How many slots there are after `after`, up to and including `until`; a per-minute cron over years is no work."""
    rule, zone, after, until = _rule(cron), ZoneInfo(timezone), _utc(after), _utc(until)
    count = 0
    for day in _days(zone, after, until):
        start = _plain_start(zone, day)
        if start is not None and after < start and start + _DAY <= until:
            count += len(rule.hours) * len(rule.minutes) if rule.has(day) else 0
        else:
            count += len(_of_day(rule, zone, day, after, until))
    return count


def is_slot(cron: str, timezone: str, at: datetime) -> bool:
    """Whether this very moment is a slot."""
    return slots(cron, timezone, at - timedelta(microseconds=1), at) == [at]


def next_slot(cron: str, timezone: str, after: datetime) -> datetime:
    """The first slot after `after`.

    Raises:
        ValueError: there is none; `check_cron` lets no such cron pass.
    """
    for slot in slots(cron, timezone, after, after + _NEXT_WITHIN, limit=1):
        return slot
    raise ValueError(f"{cron!r} has no time within nine years of {after:%Y-%m-%d}")


def slot_execution_id(trigger_id: UUID, slot: datetime) -> UUID:
    """The id of the one execution that a trigger's slot may have."""
    return uuid5(trigger_id, _utc(slot).isoformat())


def _utc(at: datetime) -> datetime:
    """The same moment as a plain datetime; Prefect's are pendulum's, which calculate in their own way."""
    at = at.astimezone(UTC)
    return datetime(at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond, UTC)


def _days(zone: ZoneInfo, after: datetime, until: datetime) -> list[date]:
    first, last = after.astimezone(zone).date(), until.astimezone(zone).date()
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _forwards(rule: _Rule, zone: ZoneInfo, days: list[date], after: datetime, until: datetime) -> Iterator[datetime]:
    for day in days:
        yield from _of_day(rule, zone, day, after, until)


def _of_day(rule: _Rule, zone: ZoneInfo, day: date, after: datetime, until: datetime) -> list[datetime]:
    """The slots of a local day that lie in the window, oldest first."""
    if not rule.has(day):
        return []
    start = _plain_start(zone, day)
    if start is None:
        midnight = datetime(day.year, day.month, day.day)  # what a wall clock shows
        local = (midnight + timedelta(hours=hour, minutes=minute) for hour in rule.hours for minute in rule.minutes)
        return sorted({at for time in local for at in _instants(time, zone, rule.fixed) if after < at <= until})
    first, last = (after - start) // _HOUR, (until - start) // _HOUR
    return [
        at
        for hour in rule.hours
        if first <= hour <= last
        for minute in rule.minutes
        if after < (at := start + timedelta(hours=hour, minutes=minute)) <= until
    ]


@lru_cache(maxsize=4096)
def _plain_start(zone: ZoneInfo, day: date) -> datetime | None:
    """When a local day begins, in UTC; None when the clocks change on it."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
    tomorrow = midnight + _DAY  # wall clock: midnight again
    return midnight.astimezone(UTC) if midnight.utcoffset() == tomorrow.utcoffset() else None


def _instants(local: datetime, zone: ZoneInfo, fixed: bool) -> list[datetime]:
    """When a wall clock shows this time on a day on which the clocks change, as far as a run is wanted then."""
    first, second = _both(local, zone)
    if first <= second:
        return [first] if fixed or first == second else [first, second]
    while fixed and first > second:  # skipped: on to the first minute that the clocks do show
        local += _MINUTE
        first, second = _both(local, zone)
    return [first] if fixed else []


def _both(local: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The same moment twice; two if the time comes twice; if it is skipped, the second lies before the first."""
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return first, second
