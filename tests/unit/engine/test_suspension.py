"""How a run that begins again came to do so, by the states that it was in."""

import pytest
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry, Cancelling, Failed, Pending, Running, Scheduled, Suspended

from automation.engine.suspension import left_in

BEGUN: list[State[None]] = [Scheduled(), Pending(), Running()]
LATE: State[None] = Scheduled(name="Late")
RESUMING: State[None] = Scheduled(name="Resuming")


@pytest.mark.parametrize(
    ("past", "name"),
    [
        ([], None),
        (BEGUN, None),
        ([Scheduled(), LATE, Pending(), Running()], None),
        ([*BEGUN, Suspended(), RESUMING, Pending(), Running()], "Suspended"),
        ([*BEGUN, Suspended(), RESUMING, LATE, Pending(), Scheduled(), Pending(), Running()], "Suspended"),
        ([*BEGUN, Suspended(), RESUMING, Pending(), Running(), Cancelling()], "Suspended"),
        ([*BEGUN, Failed(), AwaitingRetry(), Pending(), Running()], "Failed"),
        ([*BEGUN, Failed(), AwaitingRetry(), Pending(), Running(), AwaitingRetry(), Pending(), Running()], "Running"),
        ([*BEGUN, Suspended(), Scheduled(), Pending(), Running(), Scheduled(), Pending(), Running()], "Running"),
    ],
)  # fmt: skip
def test_it_was_left_in_the_state_before_it_was_scheduled_anew(past: list[State[None]], name: str | None) -> None:
    found = left_in(past)

    assert (found and found.name) == name
