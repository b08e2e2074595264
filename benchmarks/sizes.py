"""How much is measured: the sizes that count, and small ones to try the benchmark itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """
    Attributes:
        idle, stock_idle: events of a closed loop, ours and Celery's, and the stock worker's.
        seconds: least length of a burst, and of single runs.
        pilot, singles: pages and single runs that are sent first, to learn how many that takes.
        stock_runs: runs of the stock worker, of which it takes two seconds for each.
        edits, storm_pages, storms: a storm, and how many of them there are; the median counts.
        reads_per_second, reads_for: requests that only read, and for how many seconds.
        history, rounds: past executions, and how often everything is measured beside them.
    """

    idle: int = 20
    stock_idle: int = 10
    seconds: float = 15.0
    pilot: int = 1000
    edits: int = 2000
    storm_pages: int = 200
    storms: int = 3
    singles: int = 10
    stock_runs: int = 12
    reads_per_second: int = 200
    reads_for: float = 30.0
    history: int = 1_000_000
    rounds: int = 20


SMOKE = Sizes(
    idle=5, stock_idle=2, seconds=2.0, pilot=200, edits=400, storm_pages=40, storms=1, singles=4, stock_runs=3,
    reads_per_second=50, reads_for=3.0, history=20_000, rounds=5,
)  # fmt: skip
"""Two minutes for everything; the figures mean nothing."""
