"""Signs of life of a process that runs flows, for whoever watches over it.

The engine says when a step must have ended, the process says that its event loop turns. In a child of the warm
worker the two values lie in memory that the worker reads; in any other process nobody does.
"""

import time
from collections.abc import MutableSequence

_BEAT, _DEADLINE = 0, 1

Vitals = MutableSequence[float]
"""[when the event loop turned last, when the step under way must have ended or 0], both on the monotonic clock."""

SIZE = 2

_shared: Vitals = [0.0] * SIZE


def share(shared: Vitals) -> None:
    """From now on this process writes its signs there."""
    global _shared
    _shared = shared


def beat() -> None:
    """The event loop turns."""
    _shared[_BEAT] = time.monotonic()


def step_began(hard_limit: float) -> None:
    """A step begins that must end within so many seconds."""
    _shared[_DEADLINE] = time.monotonic() + hard_limit


def step_ended() -> None:
    """No step is under way."""
    _shared[_DEADLINE] = 0.0


def silence(vitals: Vitals) -> float:
    """Seconds since the event loop turned last; 0 if it has not begun to."""
    return time.monotonic() - vitals[_BEAT] if vitals[_BEAT] else 0.0


def overdue(vitals: Vitals) -> bool:
    """Whether a step is past its hard limit."""
    return 0 < vitals[_DEADLINE] < time.monotonic()
