"""Windows as stretches of rollups: nothing twice, nothing missed, and as few as can be."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.monitoring.windows import LENGTHS, LONGEST, Window, finest, stretches

NOW = datetime(2026, 3, 20, 14, 37, 21, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}+00:00")


def read(since: datetime, until: datetime, bucket: timedelta = DAY) -> list[tuple[str, datetime, datetime]]:
    return [(one.resolution, one.begin, one.end) for one in stretches(Window(since, until), NOW, bucket)]


def test_a_day_until_now_is_hours_with_minutes_at_its_ends() -> None:
    assert read(NOW - DAY, NOW) == [
        ("minute", at("03-19T14:37"), at("03-19T15:00")),
        ("hour", at("03-19T15:00"), at("03-20T14:00")),
        ("minute", at("03-20T14:00"), at("03-20T14:38")),
    ]


def test_a_month_is_days_with_hours_at_its_ends_and_minutes_where_they_are_kept() -> None:
    assert read(NOW - 30 * DAY, NOW) == [
        ("hour", at("02-18T14:00"), at("02-19T00:00")),
        ("day", at("02-19T00:00"), at("03-20T00:00")),
        ("hour", at("03-20T00:00"), at("03-20T14:00")),
        ("minute", at("03-20T14:00"), at("03-20T14:38")),
    ]


def test_a_window_long_past_is_rounded_outwards_to_hours() -> None:
    assert read(at("01-05T10:20"), at("01-05T10:40")) == [("hour", at("01-05T10:00"), at("01-05T11:00"))]


def test_parts_of_a_day_are_never_read_from_a_whole_one() -> None:
    assert read(at("02-01T00:00"), at("03-01T00:00"), HOUR * 12) == [("hour", at("02-01T00:00"), at("03-01T00:00"))]
    assert read(at("02-01T00:00"), at("03-01T00:00"), DAY * 2) == [("day", at("02-01T00:00"), at("03-01T00:00"))]
    assert read(at("03-20T10:00"), at("03-20T12:00"), MINUTE * 30) == [("minute", at("03-20T10:00"), at("03-20T12:00"))]


@given(
    since=st.datetimes(datetime(2025, 12, 1), datetime(2026, 3, 20, 14), timezones=st.just(UTC)),
    length=st.timedeltas(timedelta(seconds=1), LONGEST),
    bucket=st.sampled_from([MINUTE, MINUTE * 5, MINUTE * 90, HOUR, HOUR * 3, HOUR * 36, DAY, DAY * 7]),
)
def test_any_window_is_covered_once_by_rollups_that_lie_in_one_bucket_each(
    since: datetime, length: timedelta, bucket: timedelta
) -> None:
    window = Window(since, since + length)
    found = stretches(window, NOW, bucket)

    assert all(before.end == after.begin for before, after in pairwise(found))
    for edge, outer in ((window.since, found[0].begin), (window.until, found[-1].end)):
        assert abs(outer - edge) < LENGTHS[finest(edge, NOW)]
    assert found[0].begin <= window.since < window.until <= found[-1].end
    for one in found:
        unit = LENGTHS[one.resolution]
        assert bucket % unit == timedelta(0)
        assert one.begin < one.end
        assert all((edge - datetime(1970, 1, 1, tzinfo=UTC)) % unit == timedelta(0) for edge in (one.begin, one.end))


def test_minutes_are_read_only_while_they_are_kept() -> None:
    for ago in (45, 46, 47, 48):
        for minutes in range(0, 60, 7):
            until = NOW - timedelta(hours=ago, minutes=minutes)
            for one in stretches(Window(until - DAY, until), NOW):
                assert one.resolution != "minute" or one.begin > NOW - 2 * DAY


@pytest.mark.parametrize("zone", ["+05:45", "-11:00"])
def test_a_window_s_zone_does_not_matter(zone: str) -> None:
    there = datetime.fromisoformat(f"2026-03-20T10:00:00{zone}")
    assert read(there - 9 * DAY, there) == read((there - 9 * DAY).astimezone(UTC), there.astimezone(UTC))
