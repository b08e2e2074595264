from datetime import UTC, datetime, timedelta

import pytest

from automation.ops.formats import FORMATS, clock_time

EN, FR = FORMATS["en"], FORMATS["fr"]


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, "–"), (0, "0.0 ms"), (3.14, "3.1 ms"), (850.4, "850 ms"), (1234, "1.2 s"), (59_949, "59.9 s"),
        (59_990, "1 min"), (184_000, "3 min 04 s"), (1_800_000, "30 min"), (8_100_000, "2 h 15 min"),
        (3_600_000, "1 h"), (273_600_000, "3 d 04 h"),
    ],
)  # fmt: skip
def test_a_duration_is_told_in_two_units_at_most(ms: float | None, text: str) -> None:
    assert EN.duration(ms) == text


def test_figures_are_written_as_the_language_does() -> None:
    assert EN.number(1234567) == "1,234,567"
    assert FR.number(1234567) == "1\u202f234\u202f567"
    assert FR.number(1234.5, 1) == "1\u202f234,5"
    assert EN.percent(0.984) == "98.4%"
    assert FR.percent(0.984) == "98,4\u202f%"


@pytest.mark.parametrize(
    ("share", "text"), [(1, "100%"), (0.99999, "99.9%"), (0, "0%"), (0.00001, "0.1%"), (None, "–")]
)
def test_all_is_said_of_all_alone_and_nothing_of_nothing(share: float | None, text: str) -> None:
    assert EN.percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (174_400_000, "174 MB"), (5e12, "5.0 TB")]
)
def test_bytes_have_a_unit_that_can_be_read(value: float, text: str) -> None:
    assert EN.bytes(value) == text


def test_a_time_of_today_needs_no_date() -> None:
    now = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)

    assert clock_time(now, now) == "10:30:00"
    assert clock_time(now - timedelta(days=1), now) == "2026-01-14 10:30"
