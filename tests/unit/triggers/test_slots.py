"""Cron slots across daylight saving, 2025–2027, against an independent library and by brute force over minutes."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect._vendor.croniter import croniter

from automation.errors import RefusedError
from automation.triggers.slots import check_cron, count_slots, is_slot, next_slot, slot_execution_id, slots

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ZONES = ("Europe/Paris", "America/New_York", "Australia/Lord_Howe")
FROM, TO = datetime(2025, 1, 1, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)

RARE = (
    "30 9 * * *", "30 2 * * *", "15 2 * * *", "45 1 * * *", "0 3 * * *", "0 0 * * 0", "30 2 * * SUN", "0 12 1 * *",
    "30 2 29 2 *", "0 6 L * *", "30 1 * * 7", "0 4 * 3,10 1-5", "0 8 13 * 5", "59 23 * * *", "0 0 * * *",
)  # fmt: skip
OFTEN = (
    "* * * * *", "0 * * * *", "*/15 * * * *", "*/15 2 * * *", "*/15 3 * * *", "0 */2 * * *", "30 */2 * * *",
    "15,45 1,2,3 * * *", "0,30 2 * * *", "5-20/5 1-3 * * *", "7 0-23 * * *", "*/20 1-2 * * SUN",
)  # fmt: skip


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """The first minutes, in UTC, after the clocks of a zone were changed."""
    found, offset = [], None
    at = FROM
    while at < TO:
        now = at.astimezone(ZoneInfo(zone)).utcoffset()
        if offset is not None and now != offset:
            minute = at - HOUR
            while minute.astimezone(ZoneInfo(zone)).utcoffset() == offset:
                minute += MINUTE
            found.append(minute)
        offset, at = now, at + HOUR
    return tuple(found)


def matches(cron: str) -> Any:
    """Whether a wall clock's time is one of the expression's, by the fields as the independent library reads them."""
    minutes, hours, days, months, weekdays = ([] if "*" in field else field for field in croniter.expand(cron)[0])

    def match(time: datetime) -> bool:
        last = "l" in days and (time + DAY).day == 1
        day, weekday = not days or time.day in days or last, not weekdays or time.isoweekday() % 7 in weekdays
        either = day or weekday if days and weekdays else day and weekday
        return bool(
            (not minutes or time.minute in minutes)
            and (not hours or time.hour in hours)
            and (not months or time.month in months)
            and either
        )

    return match


def as_debian_runs_them(cron: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    """Minute by minute: what names a time of day runs for every minute that the wall clock shows or skips, once."""
    match, interval = matches(cron), cron.startswith("*") or cron.split()[1].startswith("*")
    found = []
    at = after.replace(second=0, microsecond=0)
    shown = wall(at, zone)
    while (at := at + MINUTE) <= until:
        now = wall(at, zone)
        if interval:
            due = match(now)
        else:
            due = any(match(time) for time in minutes_between(shown, now))
            shown = max(shown, now)
        if due:
            found.append(at)
    return found


def wall(at: datetime, zone: str) -> datetime:
    return at.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def minutes_between(after: datetime, until: datetime) -> Iterator[datetime]:
    while (after := after + MINUTE) <= until:
        yield after


@pytest.mark.parametrize("zone", ZONES)
def test_the_clocks_of_the_fixtures_change_twice_a_year(zone: str) -> None:
    assert len([at for at in changes(zone) if at.year < 2028]) == 6


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", RARE)
def test_slots_of_three_years_are_those_of_an_independent_library_where_the_clocks_do_not_change(
    cron: str, zone: str
) -> None:
    changed = {wall(at, zone).date() for at in changes(zone)}
    found = [wall(at, zone) for at in slots(cron, zone, FROM, TO, limit=10_000)]
    # naive: the library's own ways with daylight saving are others than Debian's
    expected, times = [], croniter(cron, wall(FROM, zone))
    while (time := times.get_next(datetime)) <= wall(TO, zone):
        expected.append(time)

    assert [time for time in found if time.date() not in changed] == [
        time for time in expected if time.date() not in changed
    ]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", RARE + OFTEN)
def test_around_every_change_of_the_clocks_slots_are_as_debian_would_run_them(cron: str, zone: str) -> None:
    for change in changes(zone):
        after, until = change - 14 * HOUR, change + 14 * HOUR
        assert slots(cron, zone, after, until, limit=2000) == as_debian_runs_them(cron, zone, after, until)


@pytest.mark.parametrize(
    ("cron", "zone", "day", "times"),
    [
        # skipped: once, right after the jump
        ("30 2 * * *", "Europe/Paris", date(2026, 3, 29), ["03:00+0200"]),
        ("30 2 * * *", "America/New_York", date(2026, 3, 8), ["03:00-0400"]),
        ("15 2 * * *", "Australia/Lord_Howe", date(2026, 10, 4), ["02:30+1100"]),
        ("0,30 2 * * *", "Europe/Paris", date(2026, 3, 29), ["03:00+0200"]),
        ("*/15 2 * * *", "Europe/Paris", date(2026, 3, 29), []),
        # twice: once, the first time
        ("30 2 * * *", "Europe/Paris", date(2026, 10, 25), ["02:30+0200"]),
        ("30 1 * * *", "America/New_York", date(2026, 11, 1), ["01:30-0400"]),
        ("45 1 * * *", "Australia/Lord_Howe", date(2026, 4, 5), ["01:45+1100"]),
        # what begins with a star follows real time
        ("30 1-3 * * *", "Europe/Paris", date(2026, 10, 25), ["01:30+0200", "02:30+0200", "03:30+0100"]),
        ("*/30 1 * * *", "Australia/Lord_Howe", date(2026, 4, 5), ["01:00+1100", "01:30+1100", "01:30+1030"]),
        ("*/20 3 * * *", "Australia/Lord_Howe", date(2025, 10, 5), ["03:00+1100", "03:20+1100", "03:40+1100"]),
    ],
)  # fmt: skip
def test_a_time_that_the_clocks_skip_or_repeat(cron: str, zone: str, day: date, times: list[str]) -> None:
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    found = slots(cron, zone, midnight.astimezone(UTC) - MINUTE, (midnight + DAY).astimezone(UTC) - MINUTE)
    assert [at.astimezone(ZoneInfo(zone)).strftime("%H:%M%z") for at in found] == times


def test_an_hourly_job_runs_every_real_hour_of_the_long_day_and_the_short_one() -> None:
    for day, hours in ((datetime(2026, 10, 24, 22, tzinfo=UTC), 25), (datetime(2026, 3, 28, 23, tzinfo=UTC), 23)):
        found = slots("0 * * * *", "Europe/Paris", day - MINUTE, day + hours * HOUR - MINUTE)
        assert found == [day + n * HOUR for n in range(hours)]


def test_a_day_that_a_country_left_out_runs_once_on_the_next() -> None:
    found = slots("0 9 * * *", "Pacific/Apia", datetime(2011, 12, 29, 12, tzinfo=UTC), datetime(2012, 1, 1, tzinfo=UTC))
    assert [wall(at, "Pacific/Apia").isoformat(" ", "minutes") for at in found] == [
        "2011-12-29 09:00", "2011-12-31 00:00", "2011-12-31 09:00", "2012-01-01 09:00",
    ]  # fmt: skip


fields = st.tuples(
    st.sampled_from(["*", "*/15", "*/7", "0", "30", "0,30", "59", "10-50/20"]),
    st.sampled_from(["*", "*/2", "*/3", "0", "1", "2", "3", "1,2", "0-4", "23"]),
    st.sampled_from(["*", "*/2", "1", "29", "28-31", "5,8"]),
    st.sampled_from(["*", "3", "4,10", "*/2"]),
    st.sampled_from(["*", "0", "7", "1-5", "SUN", "6,0"]),
).map(" ".join)
# where Debian reads a day that begins with a star as both, the library reads either
same_days = fields.filter(lambda cron: "*/" not in cron.split()[2] or cron.split()[4] == "*")
zones = st.sampled_from(ZONES)


@given(cron=same_days, zone=zones, which=st.integers(0, 5), offset=st.integers(-600, 600), length=st.integers(1, 900))
def test_no_slot_is_missing_or_doubled_whatever_the_window(
    cron: str, zone: str, which: int, offset: int, length: int
) -> None:
    change = changes(zone)[which]
    start, end = change - 900 * MINUTE, change + 1500 * MINUTE
    everything = as_debian_runs_them(cron, zone, start, end)
    after = change + offset * MINUTE
    until = min(after + length * MINUTE, end)
    expected = [at for at in everything if after < at <= until]

    found = slots(cron, zone, after, until, limit=5000)

    assert found == expected
    assert slots(cron, zone, after, until, limit=5000, newest=True) == expected
    assert slots(cron, zone, after, until, limit=3) == expected[:3]
    assert slots(cron, zone, after, until, limit=3, newest=True) == expected[-3:]
    assert count_slots(cron, zone, after, until) == len(expected)
    if expected:
        assert next_slot(cron, zone, after) == expected[0]


@given(cron=fields, zone=zones, which=st.integers(0, 5), offset=st.integers(-600, 600))
def test_a_moment_is_a_slot_if_and_only_if_it_is_listed(cron: str, zone: str, which: int, offset: int) -> None:
    at = changes(zone)[which] + offset * MINUTE
    assert is_slot(cron, zone, at) is (at in slots(cron, zone, at - HOUR, at + HOUR))
    assert not is_slot(cron, zone, at + timedelta(seconds=1))


def test_times_as_prefect_has_them_count_too() -> None:
    nine = pendulum.datetime(2026, 3, 30, 9, tz="Europe/Paris")
    assert is_slot("0 9 * * *", "Europe/Paris", nine)
    assert not is_slot("0 9 * * *", "UTC", nine)
    trigger = uuid4()
    assert slot_execution_id(trigger, nine) == slot_execution_id(trigger, datetime(2026, 3, 30, 7, tzinfo=UTC))


def test_a_window_excludes_its_beginning_and_includes_its_end() -> None:
    nine, ten = datetime(2026, 1, 5, 9, tzinfo=UTC), datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert slots("0 * * * *", "UTC", nine, ten) == [ten]
    assert slots("0 * * * *", "UTC", ten, ten) == []
    assert slots("0 * * * *", "UTC", ten, nine) == []


def test_the_slots_of_a_long_outage_are_counted_without_being_listed() -> None:
    until = datetime(2026, 7, 1, tzinfo=UTC)
    after = until - 365 * DAY
    assert count_slots("* * * * *", "Europe/Paris", after, until) == 365 * 24 * 60
    last = slots("* * * * *", "Europe/Paris", after, until, limit=2, newest=True)
    assert last == [until - MINUTE, until]


def test_the_next_slot_may_be_years_away() -> None:
    assert next_slot("0 0 29 2 *", "UTC", datetime(2096, 3, 1, tzinfo=UTC)) == datetime(2104, 2, 29, tzinfo=UTC)


def test_day_and_weekday_both_restricted_mean_either_and_with_a_star_both() -> None:
    february = datetime(2026, 1, 31, 23, tzinfo=UTC), datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert [at.day for at in slots("0 0 13 * 5", "UTC", *february)] == [6, 13, 20, 27]
    assert [at.day for at in slots("0 0 */7 * 0", "UTC", *february)] == [1, 8, 15, 22]


@pytest.mark.parametrize(
    ("cron", "reason"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("*/10 * * * * *", "five fields"),
        ("@daily", "five fields"),
        ("1," * 5000 + "1 * * * *", "five fields"),
        ("61 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("*/0 * * * *", "bad minute"),
        ("0 0 31 4,6 *", "bad day-of-month"),
        ("0 0 * * FRI#6", "bad day-of-week"),
        ("0 0 * * 5L", "Prefect's scheduler"),
        ("é * * * *", "bad minute"),
    ],
)
def test_a_cron_that_is_none_is_refused_with_the_reason(cron: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason) as refused:
        check_cron(cron, "UTC", "triggers.0.config.cron")
    assert refused.value.field == "triggers.0.config.cron"
    assert repr(cron) in str(refused.value)


@pytest.mark.parametrize("timezone", ["Paris", "", "../../etc/passwd", "europe/paris", "+02:00"])
def test_a_timezone_that_does_not_exist_is_refused(timezone: str) -> None:
    with pytest.raises(RefusedError, match="no timezone") as refused:
        check_cron("0 9 * * *", timezone, "config.cron")
    assert refused.value.field == "config.timezone"


@pytest.mark.parametrize("cron", ["0 2 * * *", "*/5 8-18 * * MON-FRI", "0 0 L * *", "0 9 * jan,jul 1#1", "0 0 29 2 *"])
def test_a_cron_with_slots_is_taken(cron: str) -> None:
    check_cron(cron, "Australia/Lord_Howe", "config.cron")


def test_a_slot_has_one_execution_id_whatever_the_timezone_of_its_writing() -> None:
    trigger, slot = uuid4(), datetime(2026, 1, 15, 2, tzinfo=UTC)
    assert slot_execution_id(trigger, slot) == slot_execution_id(trigger, slot.astimezone(ZoneInfo("Europe/Paris")))
    assert slot_execution_id(trigger, slot) != slot_execution_id(uuid4(), slot)
    assert slot_execution_id(trigger, slot) != slot_execution_id(trigger, slot + MINUTE)
