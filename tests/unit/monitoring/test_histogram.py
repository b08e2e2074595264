"""Durations in buckets: what is exact, and how far a percentile may be off."""

import random
from bisect import bisect_left
from itertools import pairwise
from statistics import quantiles

import pytest

from automation.monitoring.histogram import BOUNDS_MS, NONE, Histogram, merged


def histogram(durations: list[float]) -> Histogram:
    made = Histogram()
    for one in durations:
        made.add(bisect_left(BOUNDS_MS, one), 1, one)
    return made


def test_bounds_rise_evenly_from_a_millisecond_to_ten_thousand_seconds() -> None:
    assert (BOUNDS_MS[0], BOUNDS_MS[-1], len(BOUNDS_MS)) == (1.0, 1e7, 71)
    steps = [after / before for before, after in pairwise(BOUNDS_MS)]
    assert min(steps) > 1.24
    assert max(steps) < 1.29


@pytest.mark.parametrize("share", [0.01, 0.5, 0.95, 0.99])
def test_a_percentile_is_off_by_less_than_a_bucket(share: float) -> None:
    chance = random.Random(7)
    durations = [chance.lognormvariate(5, 1.5) for _ in range(5000)]

    found = histogram(durations).percentile(share)
    exact = quantiles(durations, n=100, method="inclusive")[round(share * 100) - 1]
    assert found is not None
    assert exact / 1.26 < found < exact * 1.26


def test_counts_and_means_are_exact() -> None:
    made = histogram([1.0, 2.0, 6.0])
    made.add(NONE, 4, 0.0)
    assert (made.count, made.timed, made.mean_ms) == (7, 3, 3.0)


def test_nothing_has_no_percentile_and_what_is_beyond_the_last_bound_counts_as_it() -> None:
    assert Histogram().percentile(0.5) is None
    without = Histogram()
    without.add(NONE, 3, 0.0)
    assert (without.percentile(0.5), without.mean_ms) == (None, None)
    assert histogram([1e9]).percentile(0.5) == BOUNDS_MS[-1]


def test_a_bound_belongs_to_its_own_bucket() -> None:
    assert histogram([1000.0, 1000.1]).cumulated((1000.0, 2500.0)) == [1, 2]


def test_merging_leaves_the_parts_as_they_were() -> None:
    one, other = histogram([1.0]), histogram([1.0, 50.0])
    assert merged((one, other)).count == 3
    assert (one.count, other.count) == (1, 2)
