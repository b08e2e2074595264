"""The figures that are measured alike for every system: closed loop, burst, storm."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from typing import Any, Protocol

from benchmarks.figures import latency
from benchmarks.ledger import Ledger
from benchmarks.pages import Edit
from benchmarks.processes import FailedError, cpu_seconds, memory_mb
from benchmarks.sizes import Sizes

PAUSE = 1.0
"""Seconds between the end of an idle execution and the next event."""

_WARM_UP = 3
_SENDERS = 2
_LIST = 500
"""Events that a sender hands over in one call: the most that the events API takes."""

_LOOK = 0.002
_LOOK_AT_ALL = 0.05
"""Seconds between two looks into the database: for one execution, and for all of a burst."""

_PATIENCE = 30.0
_PATIENCE_WITH_ALL = 300.0
"""Seconds after which a single execution, or a burst, will never be done."""


class System(Protocol):
    """What is measured. An execution counts as done when COMPLETED can be read in PostgreSQL."""

    @property
    def roots(self) -> Sequence[int]:
        """The processes that, with all below them, are the system."""

    @property
    def parts(self) -> Mapping[str, int]:
        """Some of them by name, to see where the time goes."""

    def send(self, edits: Sequence[Edit]) -> list[str]:
        """Tell it of page edits as an application would; the executions that they start. Thread-safe."""

    def is_done(self, execution: str) -> bool:
        """Whether this execution is COMPLETED.

        Raises:
            FailedError: it ended otherwise.
        """

    def is_drained(self) -> bool:
        """Whether everything that was sent has ended."""


def idle(system: System, ledger: Ledger, events: int) -> dict[str, Any]:
    """Closed loop: from sending to COMPLETED, after a few to warm up; and the memory that lies there then."""
    closed_loop(system, ledger, _WARM_UP)
    found = latency(closed_loop(system, ledger, events), "idle")
    return {**found, "memory_mb": memory_mb(system.roots)}


def closed_loop(system: System, ledger: Ledger, events: int) -> list[float]:
    """Seconds from sending to COMPLETED, event after event, each a pause after the last one is done."""
    found = []
    for edit in ledger.new_pages(events):
        ledger.note([edit])
        time.sleep(PAUSE)
        began = time.perf_counter()
        (execution,) = system.send([edit])
        wait(partial(system.is_done, execution), _LOOK, _PATIENCE)
        found.append(time.perf_counter() - began)
    return found


def burst(system: System, ledger: Ledger, sizes: Sizes) -> dict[str, Any]:
    """Distinct pages, all at once: rate, and CPU time per execution."""
    used: dict[str, float] = {}
    trees = {"": system.roots, **{name: [pid] for name, pid in system.parts.items()}}

    def send(pages: int) -> float:
        before = {name: cpu_seconds(roots) for name, roots in trees.items()}
        seconds = all_at_once(system, ledger, ledger.new_pages(pages))
        used.update({name: (cpu_seconds(roots) - before[name]) * 1000 / pages for name, roots in trees.items()})
        return seconds

    pages, seconds = long_enough(send, sizes.pilot, sizes.seconds)
    return {
        "burst_per_second": round(pages / seconds, 1),
        "burst_executions": pages,
        "burst_seconds": round(seconds, 2),
        "cpu_ms_per_execution": round(used.pop(""), 3),
        "cpu_ms_by_part": {name: round(one, 3) for name, one in used.items()},
    }


def storm(system: System, ledger: Ledger, sizes: Sizes) -> dict[str, Any]:
    """Many edits of few pages: seconds until all is done. What is on disk then is checked at the end."""
    found = []
    for _ in range(sizes.storms):
        pages = ledger.new_pages(sizes.storm_pages)
        edits = [pages[n % len(pages)]._replace(version=n // len(pages) + 1) for n in range(sizes.edits)]
        found.append(all_at_once(system, ledger, edits))
    return {"storm_seconds": round(median(found), 2), "storms": [round(one, 2) for one in found]}


def long_enough(work: Callable[[int], float], pilot: int, wanted: float) -> tuple[int, float]:
    """How many it takes to keep something at work for `wanted` seconds, and how long they took.

    Args:
        work: does so many, and answers the seconds; first with `pilot`, which never counts.
    """
    number, seconds = pilot, work(pilot)
    while True:
        number = math.ceil(number * 1.2 * wanted / seconds)
        seconds = work(number)
        if seconds >= wanted:
            return number, seconds


def all_at_once(system: System, ledger: Ledger, edits: Sequence[Edit]) -> float:
    """Seconds from the first call until everything sent is done."""
    ledger.note(edits)
    lists = [edits[start : start + _LIST] for start in range(0, len(edits), _LIST)]
    began = time.perf_counter()
    with ThreadPoolExecutor(_SENDERS) as senders:
        for _ in senders.map(system.send, lists):
            pass
    wait(system.is_drained, _LOOK_AT_ALL, _PATIENCE_WITH_ALL)
    return time.perf_counter() - began


def wait(done: Callable[[], bool], pause: float, patience: float) -> None:
    """Look until `done` says yes.

    Raises:
        FailedError: it does not within `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while not done():
        if time.monotonic() > deadline:
            raise FailedError(f"not done after {patience:g} s")
        time.sleep(pause)
