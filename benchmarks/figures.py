"""What is computed from measurements: percentiles, the ratios of the table, and whether each is met. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

Measured = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the table: `above / below`, each a (system, key), against two limits.

    Attributes:
        at_least: whether more is better.
    """

    key: str
    text: str
    above: tuple[str, str]
    below: tuple[str, str]
    must: float
    aim: float
    at_least: bool = True

    def ratio(self, measured: Mapping[str, Measured | None]) -> float | None:
        """The ratio, or None where one of the two could not be measured."""
        above, below = (_read(measured, place) for place in (self.above, self.below))
        return above / below if above is not None and below else None

    def meets(self, value: float, limit: float) -> bool:
        return value >= limit if self.at_least else value <= limit


FIGURES = (
    Figure("burst_vs_celery", "burst, ours ÷ Celery",
           ("ours", "burst_per_second"), ("celery", "burst_per_second"), 2, 4),
    Figure("storm_vs_celery", "storm, Celery ÷ ours",
           ("celery", "storm_seconds"), ("ours", "storm_seconds"), 1.8, 3),
    Figure("cpu_vs_celery", "CPU per execution in the burst, ours ÷ Celery",
           ("ours", "cpu_ms_per_execution"), ("celery", "cpu_ms_per_execution"), 0.8, 0.4, at_least=False),
    Figure("idle_vs_stock", "idle p50 in a batch run, stock ÷ ours",
           ("stock", "idle_p50_ms"), ("ours", "idle_p50_ms"), 60, 130),
    Figure("idle_vs_celery", "idle p50 in a batch run, ours ÷ Celery",
           ("ours", "idle_p50_ms"), ("celery", "idle_p50_ms"), 5, 1.5, at_least=False),
    Figure("cold_vs_stock", "cold p50, stock ÷ ours",
           ("stock", "idle_p50_ms"), ("ours", "cold_p50_ms"), 12, 20),
    Figure("single_vs_stock", "single runs per second, ours ÷ stock",
           ("ours", "singles_per_second"), ("stock", "runs_per_second"), 6, 10),
)  # fmt: skip

HISTORY_LIMIT = 1.5
"""How much slower anything may be with a million past executions than with an empty table."""

LONGEST_MS = {"metrics": 100.0, "page": 200.0}
"""What a scrape of the metrics and an operations page may take beside them, by how the operation's name begins."""


def ratios(measured: Mapping[str, Measured | None]) -> dict[str, float | None]:
    """Every ratio by its key; None where a system could not be measured."""
    found = {figure.key: figure.ratio(measured) for figure in FIGURES}
    return {key: None if value is None else round(value, 3) for key, value in found.items()}


def latency(seconds: Sequence[float], prefix: str) -> dict[str, float]:
    """`{prefix}_p50_ms` and `{prefix}_p95_ms` of at least two measurements."""
    cuts = quantiles(seconds, n=20, method="inclusive")
    return {f"{prefix}_p50_ms": round(cuts[9] * 1000, 2), f"{prefix}_p95_ms": round(cuts[18] * 1000, 2)}


def longest_ms(operation: str) -> float | None:
    """What an operation may take beside a million past executions; None where only the ratio counts."""
    return next((limit for name, limit in LONGEST_MS.items() if operation.startswith(name)), None)


def lost(measured: Mapping[str, Measured | None]) -> int:
    """Everything that a check found wrong, of all systems that were measured."""
    return sum(sum(one["lost"].values()) for one in measured.values() if one)


def _read(measured: Mapping[str, Measured | None], place: tuple[str, str]) -> float | None:
    system, key = place
    found = measured.get(system)
    value = found.get(key) if found else None
    return None if value is None else float(value)
