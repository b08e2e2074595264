"""`python -m benchmarks`: measure everything, print the table, write the JSON. See README.md beside this file."""

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import celery, figures, history, ours, reads, report, stock
from benchmarks.machine import machine
from benchmarks.sizes import SMOKE, Sizes

PARTS: dict[str, Callable[[Sizes, Path], dict[str, Any]]] = {
    "ours": ours.run,
    "celery": celery.run,
    "stock": stock.run,
    "reads": reads.run,
    "history": history.run,
}

QUIET = 0.5
"""Load average up to which the machine counts as ours."""


def main() -> int:
    """Exit code 1 when something could not be measured or was lost; a figure below its limit is only shown."""
    arguments = _arguments()
    console = Console()
    wanted = [name for name in PARTS if name in arguments.parts]
    if "celery" in wanted and not celery.is_possible():
        console.print(celery.MISSING, style="yellow")
        wanted.remove("celery")
    began = time.monotonic()
    result: dict[str, Any] = dict.fromkeys(PARTS)
    result["machine"] = machine()
    if result["machine"]["load_before"] > QUIET:
        console.print("Something else runs on this machine: the figures will be wrong.", style="yellow")
    for name in wanted:
        console.print(f"Measuring {name} …")
        result[name] = _measure(name, SMOKE if arguments.smoke else Sizes(), console)
    systems = {name: result[name] for name in ("ours", "celery", "stock")}
    result["ratios"] = figures.ratios(systems)
    result["lost"] = figures.lost({**systems, "reads": result["reads"]})
    result["sizes"] = "smoke: the figures mean nothing" if arguments.smoke else "full"
    result["seconds"] = round(time.monotonic() - began)
    report.show(result, console)
    out = Path(os.environ.get("BENCH_OUT") or Path(__file__).parent / "latest.json")
    out.write_text(json.dumps(result, indent=2) + "\n")
    console.print(f"Measured in {result['seconds']} s; all of it is in {out}")
    return 1 if result["lost"] or any(result[name] is None for name in wanted) else 0


def _measure(name: str, sizes: Sizes, console: Console) -> dict[str, Any] | None:
    """One part's figures, in a folder of its own; None when it fails, which does not stop the others."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"automation-bench-{name}-", ignore_cleanup_errors=True) as folder:
        try:
            found = PARTS[name](sizes, Path(folder))
        except Exception:
            console.print(f"{name} could not be measured:", style="red")
            said = [traceback.format_exc(), *(_end(log) for log in sorted(Path(folder).rglob("*.log")))]
            console.print("\n".join(said), markup=False, highlight=False)
            return None
    return {**found, "measured_in_seconds": round(time.monotonic() - began)}


def _end(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-15:]
    return "\n".join([f"--- {log.name}", *lines])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", default=list(PARTS), metavar="part", help=", ".join(PARTS))
    parser.add_argument("--smoke", action="store_true", help="small sizes, to try the benchmark itself")
    found = parser.parse_args()
    if unknown := set(found.parts) - PARTS.keys():
        parser.error(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return found


if __name__ == "__main__":
    sys.exit(main())
