"""When an execution will be done."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.engine.estimate import Standing, estimated_completion, longest_path

NOW = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)


def ahead(identifier: str, *after: str, status: str = "PENDING", ran: float | None = None, **more: bool) -> Standing:
    started = None if ran is None else NOW - timedelta(seconds=ran)
    return Standing(identifier, frozenset(after), status, started, **more)


def seconds_of(*steps: Standing, medians: dict[str, float], begins: float = 0) -> float | None:
    at = estimated_completion(steps, medians, NOW, NOW + timedelta(seconds=begins))
    return None if at is None else (at - NOW).total_seconds()


def test_steps_one_after_the_other_take_their_sum() -> None:
    assert seconds_of(ahead("a"), ahead("b", "a"), medians={"a": 10, "b": 5}) == 15


def test_of_steps_side_by_side_the_longest_way_counts() -> None:
    steps = (ahead("a"), ahead("b", "a"), ahead("c", "a"), ahead("d", "b"), ahead("e", "c", "d"))

    assert seconds_of(*steps, medians={"a": 1, "b": 2, "c": 30, "d": 4, "e": 5}) == 36


def test_what_is_over_takes_no_time_and_needs_no_past() -> None:
    steps = (
        ahead("a", status="COMPLETED"),
        ahead("b", "a", status="SKIPPED"),
        ahead("c", "a", status="FAILED", is_required=False),
        ahead("d", "a", "b", "c"),
    )

    assert seconds_of(*steps, medians={"d": 7}) == 7


def test_a_running_step_counts_what_is_left_of_its_median() -> None:
    running = ahead("a", status="RUNNING", ran=4)

    assert seconds_of(running, ahead("b", "a"), medians={"a": 10, "b": 5}) == 11


def test_a_step_that_takes_longer_than_ever_is_done_at_any_moment() -> None:
    running = ahead("a", status="RUNNING", ran=400)

    assert seconds_of(running, ahead("b", "a"), medians={"a": 10, "b": 5}) == 5


def test_a_required_step_that_failed_is_to_be_done_again() -> None:
    assert seconds_of(ahead("a", status="FAILED"), medians={"a": 10}, begins=90) == 100


def test_a_step_without_a_past_makes_no_estimate() -> None:
    assert seconds_of(ahead("a"), ahead("b"), medians={"a": 10}) is None


def test_what_was_due_long_ago_begins_now() -> None:
    assert seconds_of(ahead("a"), medians={"a": 10}, begins=-3600) == 10


@pytest.mark.parametrize("after", [{"a": frozenset("b"), "b": frozenset("a")}, {"a": frozenset("z")}])
def test_steps_that_can_never_run_have_no_end(after: dict[str, frozenset[str]]) -> None:
    assert longest_path(after, {"a": 1.0, "b": 1.0}) is None


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, frozenset[str]], dict[str, float]]:
    """Up to eight steps, each of which may wait for those before it, given in any order."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 8)))]
    after = {
        name: frozenset(draw(st.sets(st.sampled_from(names[:place])))) if place else frozenset()
        for place, name in enumerate(names)
    }
    seconds = {name: float(draw(st.integers(0, 1000))) for name in names}
    return {name: after[name] for name in draw(st.permutations(names))}, seconds


@given(graphs())
def test_no_chain_of_steps_is_longer_and_one_is_as_long(
    graph: tuple[dict[str, frozenset[str]], dict[str, float]],
) -> None:
    after, seconds = graph

    def chains(name: str) -> list[float]:
        return [seconds[name] + rest for other in after[name] for rest in chains(other)] or [seconds[name]]

    assert longest_path(after, seconds) == max(length for name in after for length in chains(name))


@given(graphs(), st.data())
def test_what_is_done_only_brings_the_end_nearer(
    graph: tuple[dict[str, frozenset[str]], dict[str, float]], data: st.DataObject
) -> None:
    after, seconds = graph
    done = data.draw(st.sampled_from(sorted(after)))

    before, now = longest_path(after, seconds), longest_path(after, seconds | {done: 0.0})

    assert before is not None
    assert now is not None
    assert 0 <= now <= before <= sum(seconds.values())
