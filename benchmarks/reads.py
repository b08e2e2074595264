"""Reading while a burst runs: 200 mixed requests a second, from a process of its own."""

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

from automation.installation import API_KEY_FILE
from benchmarks import measure, ours
from benchmarks.ledger import Ledger
from benchmarks.processes import PYTHON, ROOT, FailedError, clean_environment
from benchmarks.sizes import Sizes

LIMIT_MS = 150.0
"""What 95 of a hundred requests may take."""


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """`reads_p50_ms`, `reads_p95_ms` from when each request was due, and what was lost; a read that was not answered
    with 200 is."""
    ledger = Ledger()
    with ours.up(folder, AUTO_SAVE_INTERVAL="1") as system:
        system.make_projects()
        measure.all_at_once(system, ledger, ledger.new_pages(sizes.pilot))  # something to read
        burst = _Burst(system, ledger, sizes.pilot)
        burst.start()
        argv = [PYTHON, "-m", "benchmarks.reads_probe", system.api, str(sizes.reads_per_second), str(sizes.reads_for)]
        key = (system.home / API_KEY_FILE).read_text().strip()
        env = clean_environment(AUTOMATION_API_KEY=key)
        done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
        found = burst.end()
        if done.returncode:
            raise FailedError(f"the reads could not be measured:\n{done.stderr[-3000:]}")
        measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        system.wait_for_runs()
        lost = {"reads_failed": measured.pop("failed"), **ours.check(system, [ledger])}
    return {**measured, **found, "lost": lost}


class _Burst(threading.Thread):
    """New pages, as fast as they are handled, until it is told to end."""

    def __init__(self, system: ours.Ours, ledger: Ledger, pages: int) -> None:
        super().__init__()
        self._system, self._ledger, self._pages = system, ledger, pages
        self._is_over = threading.Event()
        self._error: Exception | None = None
        self._sent, self._seconds = 0, 0.0

    def run(self) -> None:
        try:
            while not self._is_over.is_set():
                pages = self._ledger.new_pages(self._pages)
                self._seconds += measure.all_at_once(self._system, self._ledger, pages)
                self._sent += len(pages)
        except Exception as error:
            self._error = error

    def end(self) -> dict[str, Any]:
        """Wait for the last of it; how fast it was."""
        self._is_over.set()
        self.join()
        if self._error:
            raise self._error
        return {"burst_per_second": round(self._sent / self._seconds, 1), "burst_executions": self._sent}
