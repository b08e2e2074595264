"""The signs of life of a process that runs flows."""

from collections.abc import Iterator

import pytest

from automation.engine import vitals


@pytest.fixture
def shared() -> Iterator[vitals.Vitals]:
    """What this process writes its signs to."""
    shared = [0.0] * vitals.SIZE
    vitals.share(shared)
    yield shared
    vitals.share([0.0] * vitals.SIZE)


def test_a_process_that_has_not_begun_is_neither_silent_nor_overdue(shared: vitals.Vitals) -> None:
    assert vitals.silence(shared) == 0
    assert not vitals.overdue(shared)


def test_silence_grows_until_the_next_beat(shared: vitals.Vitals) -> None:
    vitals.beat()
    shared[0] -= 60  # it was a minute ago
    assert vitals.silence(shared) >= 60
    vitals.beat()
    assert vitals.silence(shared) < 60


def test_a_step_is_overdue_past_its_limit_and_not_once_it_has_ended(shared: vitals.Vitals) -> None:
    vitals.step_began(60)
    assert not vitals.overdue(shared)
    shared[1] -= 60  # a minute later
    assert vitals.overdue(shared)
    vitals.step_ended()
    assert not vitals.overdue(shared)
