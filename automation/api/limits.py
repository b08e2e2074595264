"""How many requests a second: a bucket for each key, and one for each address whose requests are refused.

In the memory of this process. Buckets are counted as times: `due` is when the next request would come if they all
came evenly; whoever is no more than the burst ahead of that may go on.
"""

import time
from collections.abc import Callable, Hashable

_MOST = 10_000
"""Buckets that are kept; the one that was used longest ago goes first, which only forgives its owner."""

_MOMENT = 1e-6
"""Seconds: sums of times are not exact."""

BURST_SECONDS = 5.0
"""A burst is what comes in so many seconds at the full rate."""


class Limit:
    """So many a second for each `who`.

    Args:
        rate: a second, over 0.
        clock: seconds, only ever rising.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause = 1 / rate
        self._clock = clock
        self._due: dict[Hashable, float] = {}

    def knows(self, who: Hashable) -> bool:
        """Whether there is a bucket for them."""
        return who in self._due

    def wait(self, who: Hashable) -> float:
        """Seconds until their next request may go on; 0 if it may now."""
        now = self._clock()
        wait = self._due.get(who, now) + self._pause - now - max(BURST_SECONDS, self._pause)
        return wait if wait > _MOMENT else 0.0

    def take(self, who: Hashable) -> float:
        """Count a request, if it may go on; else the seconds as of `wait`."""
        if wait := self.wait(who):
            return wait
        now = self._clock()
        self._due[who] = max(self._due.pop(who, now), now) + self._pause  # put back as the one used last
        if len(self._due) > _MOST:
            del self._due[next(iter(self._due))]
        return 0.0
