"""The tables that are printed."""

from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import FIGURES, HISTORY_LIMIT, longest_ms
from benchmarks.reads import LIMIT_MS

Result = dict[str, Any]

_MEASURED = (
    ("idle p50, ms", "idle_p50_ms"),
    ("idle p95, ms", "idle_p95_ms"),
    ("cold p50, ms", "cold_p50_ms"),
    ("cold p95, ms", "cold_p95_ms"),
    ("burst, executions/s", "burst_per_second"),
    ("storm, s", "storm_seconds"),
    ("CPU per execution, ms", "cpu_ms_per_execution"),
    ("single runs/s", "singles_per_second"),
    ("stock runs/s", "runs_per_second"),
    ("memory at rest, MB", "memory_mb"),
)


def show(result: Result, console: Console) -> None:
    """What was measured, the ratios beside their limits, what was lost, and what a million past executions cost."""
    console.print(_systems(result))
    console.print(_ratios(result))
    if result["reads"]:
        console.print(_reads(result["reads"]))
    wrong = {name: found["lost"] for name in ("ours", "celery", "stock", "reads") if (found := result[name])}
    if result["lost"]:
        console.print("What was lost, or is wrong:", wrong, style="red")
    if result["history"]:
        console.print(_history(result["history"]))
        for one in result["history"]["scans"]:
            console.print(f"sequential scan: {one}", style="red")


def _systems(result: Result) -> Table:
    systems = ("ours", "celery", "stock")
    table = Table("measured", *systems, title="Measured")
    for text, key in _MEASURED:
        values = [(result[one] or {}).get(key) for one in systems]
        if any(value is not None for value in values):
            table.add_row(text, *("–" if value is None else f"{value:g}" for value in values))
    return table


def _ratios(result: Result) -> Table:
    table = Table("figure", "key", "ratio", "must", "", "aim", "", title="Ratios")
    for one in FIGURES:
        value, sign = result["ratios"][one.key], "≥" if one.at_least else "≤"
        table.add_row(
            one.text, one.key, "–" if value is None else f"{value:.2f}",
            f"{sign} {one.must:g}", _verdict(value is not None and one.meets(value, one.must), value),
            f"{sign} {one.aim:g}", _verdict(value is not None and one.meets(value, one.aim), value),
        )  # fmt: skip
    nothing = result["lost"] == 0
    table.add_row("lost or stale pages, wrong executions, verify differences", "lost", str(result["lost"]),
                  "0", _verdict(nothing, 0), "0", _verdict(nothing, 0))  # fmt: skip
    return table


def _reads(found: Result) -> Table:
    table = Table(
        "p50, ms", "p95, ms", f"must ≤ {LIMIT_MS:g}", "failed", "burst, executions/s", title="Reads in a burst"
    )
    table.add_row(
        f"{found['reads_p50_ms']:g}", f"{found['reads_p95_ms']:g}",
        _verdict(found["reads_p95_ms"] <= LIMIT_MS, 0), str(found["lost"]["reads_failed"]),
        f"{found['burst_per_second']:g}",
    )  # fmt: skip
    return table


def _history(history: Result) -> Table:
    text = f"With {history['executions']:,} past executions, medians in ms"
    table = Table("operation", "empty", "full", "ratio", f"must ≤ {HISTORY_LIMIT:g}", "full must <", "", title=text)
    for name, one in history["operations"].items():
        limit = longest_ms(name)
        table.add_row(
            name, f"{one['empty_ms']:g}", f"{one['full_ms']:g}", f"{one['ratio']:.2f}",
            _verdict(one["ratio"] <= HISTORY_LIMIT, 0),
            *(("", "") if limit is None else (f"{limit:g}", _verdict(one["full_ms"] < limit, 0))),
        )  # fmt: skip
    return table


def _verdict(met: bool, value: float | None) -> str:
    return "–" if value is None else "[green]met[/]" if met else "[red]not met[/]"
