"""When the worker asks again."""

from automation.worker.pace import LONGEST, SOON, SOON_LISTENING, next_pause


def test_after_work_it_asks_again_soon_and_less_soon_where_events_would_tell() -> None:
    assert next_pause(LONGEST, found=True, listening=False) == SOON
    assert next_pause(LONGEST, found=True, listening=True) == SOON_LISTENING


def test_without_work_it_asks_ever_more_seldom_up_to_a_limit() -> None:
    pauses = [0.0]
    for _ in range(12):
        pauses.append(next_pause(pauses[-1], found=False, listening=False))

    assert pauses[1] == SOON
    assert pauses == sorted(pauses)
    assert pauses[-2:] == [LONGEST, LONGEST]


def test_when_the_events_stop_it_does_not_wait_out_a_long_pause() -> None:
    assert next_pause(0.0, found=False, listening=False) < next_pause(0.0, found=False, listening=True)
