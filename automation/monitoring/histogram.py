"""Durations as counts in buckets of fixed bounds, and percentiles of them. Pure.

The bounds are the preferred numbers of ISO 3 (R10), ten a decade, from 1 ms to 10,000 s: each is about 26 % above the
one before, so that a percentile, which is placed within its bucket, is off by 13 % at most in the middle of one. Counts
and means are exact. Stored figures hang on the bounds: who changes them has to begin anew.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from math import exp, log

_R10 = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0)

BOUNDS_MS: tuple[float, ...] = (*(step * 10.0**decade for decade in range(7) for step in _R10), 1e7)
"""Upper bounds in ms, inclusive; what is longer has the bucket `len(BOUNDS_MS)`."""

NONE = -1
"""The bucket of what has no duration."""

BUCKET = """CASE WHEN ms IS NULL THEN -1
    ELSE width_bucket(ms, CAST(:bounds AS double precision[]))
        - (ms = ANY(CAST(:bounds AS double precision[])))::int END"""
"""The bucket of a duration `ms` in SQL; `:bounds` are `BOUNDS_MS`."""


@dataclass(slots=True)
class Histogram:
    """Durations as counts by bucket; `total_ms` is the sum of those that have one."""

    counts: Counter[int] = field(default_factory=Counter)
    total_ms: float = 0.0

    def add(self, bucket: int, count: int, total_ms: float) -> None:
        self.counts[bucket] += count
        self.total_ms += total_ms

    def include(self, other: "Histogram") -> None:
        self.counts.update(other.counts)
        self.total_ms += other.total_ms

    @property
    def count(self) -> int:
        """All of them, with those that have no duration."""
        return self.counts.total()

    @property
    def timed(self) -> int:
        """Those that have a duration."""
        return self.counts.total() - self.counts[NONE]

    @property
    def mean_ms(self) -> float | None:
        return self.total_ms / self.timed if self.timed else None

    def percentile(self, share: float) -> float | None:
        """The duration in ms that `share` (0 to 1) of them do not exceed; None of nothing.

        What is beyond the last bound counts as the last bound.
        """
        rank, below = share * self.timed, 0
        for bucket in sorted(self.counts):
            number = self.counts[bucket]
            if bucket == NONE or not number:
                continue
            if below + number >= rank:
                return _within(bucket, (rank - below) / number)
            below += number
        return None

    def cumulated(self, bounds_ms: Collection[float]) -> list[int]:
        """How many do not exceed each of `bounds_ms`, which are some of ours, in their order."""
        sums, below = [], 0
        for bucket, bound in enumerate(BOUNDS_MS):
            below += self.counts[bucket]
            if bound in bounds_ms:
                sums.append(below)
        return sums


def merged(several: Iterable[Histogram]) -> Histogram:
    """All of them as one."""
    result = Histogram()
    for one in several:
        result.include(one)
    return result


def _within(bucket: int, share: float) -> float:
    """A place in a bucket; on a scale of logarithms, as the bounds are."""
    if bucket >= len(BOUNDS_MS):
        return BOUNDS_MS[-1]
    upper = BOUNDS_MS[bucket]
    if bucket == 0:
        return upper * share
    lower = BOUNDS_MS[bucket - 1]
    return exp(log(lower) + share * (log(upper) - log(lower)))
