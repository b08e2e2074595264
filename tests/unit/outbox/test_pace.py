"""When a neighbour that is away is tried again."""

import pytest

from automation.outbox.pace import Pace, backoff


@pytest.mark.parametrize(("failures", "seconds"), [(1, 5), (2, 10), (3, 20), (6, 160), (7, 300), (5000, 300)])
def test_the_wait_doubles_from_five_seconds_to_five_minutes(failures: int, seconds: float) -> None:
    assert backoff(failures) == seconds


def test_a_neighbour_that_asks_for_a_longer_wait_gets_it() -> None:
    assert backoff(1, 60) == 60
    assert backoff(7, 60) == 300


def test_of_tries_that_fail_together_one_counts() -> None:
    pace = Pace()
    assert [pace.failed(100.0) for _ in range(8)] == [5.0] * 8
    assert pace.failed(105.0) == 10.0


def test_a_success_begins_anew() -> None:
    pace = Pace()
    pace.failed(100.0)
    pace.worked()
    assert pace.next_try == 0.0
    assert pace.failed(200.0) == 5.0
