from datetime import UTC, datetime, timedelta

import pytest

from automation.ops.plots import columns, line, means, nice_top


@pytest.mark.parametrize(
    ("values", "top"),
    [([], 1), ([None], 1), ([0], 1), ([1], 1), ([3, 1], 5), ([7], 10), ([12, None], 20), ([0.03], 0.05), ([450], 500)],
)
def test_an_axis_ends_at_a_round_number_above_all_values(values: list[float | None], top: float) -> None:
    assert nice_top(values) == pytest.approx(top)


def test_what_was_measured_now_and_then_stands_at_its_time() -> None:
    since = datetime(2026, 1, 15, 10, tzinfo=UTC)
    points = [(since + timedelta(seconds=at), value) for at, value in ((60, 1.0), (90, 3.0), (119, None), (240, 5.0))]

    assert means(points, since, timedelta(minutes=1), 5) == [None, 2.0, None, None, 5.0]


def test_a_line_goes_through_the_middle_of_each_bucket() -> None:
    assert line([0, 10], top=10) == "M250.0 100.0L750.0 0.0"


def test_where_nothing_ended_a_line_has_a_gap() -> None:
    assert line([5, 5, None, 5, 5], top=10).count("M") == 2


def test_a_single_value_between_gaps_can_be_seen() -> None:
    assert line([None, 5, None], top=10).endswith("H600.0")


def test_the_parts_of_a_bar_stand_one_upon_the_other() -> None:
    below, above = columns([[("completed", 3), ("failed", 1), ("cancelled", 0)]], top=4)

    assert (below.name, below.y, below.height) == ("completed", 25, 75)
    assert (above.name, above.y, above.height) == ("failed", 0, 25)
