"""When the worker asks Prefect for work again, if no event wakes it sooner."""

# Seconds. The events that wake us may be lost, and a slot that another worker or a queue's limit frees makes
# none: so soon after work we look again quickly. A question costs Prefect's server 18 ms.
SOON = 0.1
SOON_LISTENING = 1.0
LONGEST = 15.0
_GROWTH = 2.0


def next_pause(previous: float, *, found: bool, listening: bool) -> float:
    """Seconds until the next question.

    Args:
        previous: the pause before this question; 0 at the start.
        found: whether this question was answered with work.
        listening: whether Prefect's events reach us.
    """
    shortest = SOON_LISTENING if listening else SOON
    if found:
        return shortest
    return min(max(previous * _GROWTH, shortest), LONGEST)
