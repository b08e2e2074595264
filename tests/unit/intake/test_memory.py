"""What a throttle remembers: a window that slides exactly."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from automation.intake.memory import State

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ARRIVALS = st.lists(st.integers(0, 30), max_size=60).map(
    lambda pauses: [sum(pauses[: n + 1]) for n in range(len(pauses))]
)


def new() -> State:
    return State((uuid4(), ""), [], {})


def most_in_a_window(times: list[datetime], length: timedelta) -> int:
    return max((sum(first <= one < first + length for one in times) for first in times), default=0)


@given(ARRIVALS, st.integers(1, 5), st.integers(1, 60))
def test_no_window_holds_more_than_the_limit_and_none_is_dropped_that_had_room(
    arrivals: list[int], limit: int, seconds: int
) -> None:
    state, fired = new(), []
    for arrival in arrivals:
        now = BEGIN + timedelta(seconds=arrival)
        has_room = sum(now - timedelta(seconds=seconds) < one for one in fired) < limit
        turn = state.next_turn(limit, seconds, now)
        assert (turn == now) is has_room
        if has_room:
            state.take_turn(turn, limit)
            fired.append(turn)

    assert most_in_a_window(fired, timedelta(seconds=seconds)) <= limit
    assert len(state.fired) <= limit


@given(ARRIVALS, st.integers(1, 5), st.integers(1, 60))
def test_a_queue_gives_each_the_earliest_turn_in_the_order_of_their_coming(
    arrivals: list[int], limit: int, seconds: int
) -> None:
    state, turns = new(), list[datetime]()
    for arrival in arrivals:
        now = BEGIN + timedelta(seconds=arrival)
        turn = state.next_turn(limit, seconds, now)
        state.take_turn(turn, limit)
        earliest = max(now, turns[-limit] + timedelta(seconds=seconds)) if len(turns) >= limit else now
        assert turn == earliest
        turns.append(turn)

    assert turns == sorted(turns)
    assert most_in_a_window(turns, timedelta(seconds=seconds)) <= limit


def test_values_that_an_event_lacks_are_forgotten() -> None:
    state = new()
    state.see({"data": {"a": 1, "b": None}}, ("data.a", "data.b", "data.c"))
    assert state.seen == {"data.a": 1, "data.b": None}
    state.see({"data": {"b": 2}}, ("data.a", "data.b"))
    assert state.seen == {"data.b": 2}
