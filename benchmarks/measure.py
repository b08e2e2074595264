"""The figures that are measured alike for every system: closed loop, burst, storm."""

import math
import time
from collections.abc import Callable, Sequence
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

_PATIENCE = 300.0


class System(Protocol):
    """What is measured. An execution counts as done when COMPLETED can be read in PostgreSQL."""

    @property
    def roots(self) -> Sequence[int]:
        """The processes that, with all below them, are the system."""

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
        wait(partial(system.is_done, execution), _LOOK)
        found.append(time.perf_counter() - began)
    return found


def burst(system: System, ledger: Ledger, sizes: Sizes) -> dict[str, Any]:
    """Distinct pages, all at once, as many as keep it at work for long enough: rate, and CPU per execution."""
    pages, seconds = sizes.pilot, 0.0
    while seconds < sizes.seconds:
        pages = more(pages, seconds, sizes.seconds)
        before = cpu_seconds(system.roots)
        seconds = all_at_once(system, ledger, ledger.new_pages(pages))
        used = cpu_seconds(system.roots) - before
    return {
        "burst_per_second": round(pages / seconds, 1),
        "burst_executions": pages,
        "burst_seconds": round(seconds, 2),
        "cpu_ms_per_execution": round(used / pages * 1000, 3),
    }


def storm(system: System, ledger: Ledger, sizes: Sizes) -> dict[str, Any]:
    """Many edits of few pages: seconds until all is done. What is on disk then is checked at the end."""
    found = []
    for _ in range(sizes.storms):
        pages = ledger.new_pages(sizes.storm_pages)
        edits = [pages[n % len(pages)]._replace(version=n // len(pages) + 1) for n in range(sizes.edits)]
        found.append(all_at_once(system, ledger, edits))
    return {"storm_seconds": round(median(found), 2), "storms": [round(one, 2) for one in found]}


def more(number: int, seconds: float, wanted: float) -> int:
    """How many it takes to last `wanted` seconds, with a reserve, when `number` lasted `seconds` (0: a pilot)."""
    return math.ceil(number * 1.2 * wanted / seconds) if seconds else number


def all_at_once(system: System, ledger: Ledger, edits: Sequence[Edit]) -> float:
    """Seconds from the first call until everything sent is done."""
    ledger.note(edits)
    lists = [edits[start : start + _LIST] for start in range(0, len(edits), _LIST)]
    began = time.perf_counter()
    with ThreadPoolExecutor(_SENDERS) as senders:
        for _ in senders.map(system.send, lists):
            pass
    wait(system.is_drained, _LOOK_AT_ALL)
    return time.perf_counter() - began


def wait(done: Callable[[], bool], pause: float, patience: float = _PATIENCE) -> None:
    """Look until `done` says yes.

    Raises:
        FailedError: it does not within `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while not done():
        if time.monotonic() > deadline:
            raise FailedError(f"not done after {patience:g} s")
        time.sleep(pause)
