"""When somebody who was away is tried again."""

from dataclasses import dataclass

FIRST, LONGEST = 5.0, 300.0
"""Seconds before the first try and at most; each wait is twice the one before."""


def backoff(failures: int, asked_for: float | None = None) -> float:
    """Seconds until the next try after so many in a row have failed; not sooner than the other side asks for."""
    return max(min(LONGEST, FIRST * 2.0 ** min(failures - 1, 16)), asked_for or 0.0)


@dataclass(slots=True)
class Pace:
    """How one neighbour answers: while it is away, one try at a time, at `next_try` on the monotonic clock."""

    failures: int = 0
    next_try: float = 0.0

    def failed(self, now: float, asked_for: float | None = None) -> float:
        """Note a failure; the seconds until the next try. Of several that were under way at once, one counts."""
        if now >= self.next_try:
            self.failures += 1
            self.next_try = now + backoff(self.failures, asked_for)
        return self.next_try - now

    def worked(self) -> None:
        """Note a success."""
        self.failures, self.next_try = 0, 0.0
