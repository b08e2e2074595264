"""`python -m benchmarks.reads_probe <address> <a second> <seconds>`: what people and services look at, mixed."""

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from itertools import cycle
from typing import Any
from urllib.parse import urlsplit

from benchmarks.figures import latency
from benchmarks.pages import PROJECTS

_THREADS = 32
"""As many requests may be under way at once; who comes later waits, and that counts."""

_ROOT = "/api/automation/"


class Reader:
    """One connection for each thread, which stays open."""

    def __init__(self, address: str, key: str) -> None:
        self._place = urlsplit(address)
        self._headers = {"Authorization": f"Bearer {key}"}
        self._of_thread = threading.local()

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body; 0 when there is no answer."""
        connection = getattr(self._of_thread, "connection", None)
        if connection is None:
            connection = HTTPConnection(self._place.hostname or "", self._place.port, timeout=30)
            self._of_thread.connection = connection
        try:
            connection.request("GET", _ROOT + path, headers=self._headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException) as error:
            connection.close()
            return 0, repr(error).encode()


def paths(reader: Reader) -> list[str]:
    """What is read in turn: half of it executions, as people do."""
    recent = json.loads(reader.get("executions/?page_size=200")[1])["results"]
    events = json.loads(reader.get("events/?page_size=200")[1])["results"]
    found = []
    for n, (execution, event) in enumerate(zip(recent, cycle(events), strict=False)):
        project = f"project-{n % PROJECTS}"
        found += [
            f"executions/?project_id={project}",
            f"executions/{execution['id']}/",
            "executions/?status=FAILED",
            f"executions/{execution['id']}/logs/",
            f"events/?project_id={project}",
            f"events/{event['id']}/",
            f"workflows/?project_id={project}",
            f"workflows/{execution['workflow_id']}/",
            f"triggers/?project_id={project}",
            f"projects/{project}/",
        ]
    return found


def measure(get: Callable[[str], tuple[int, bytes]], wanted: list[str], rate: float, seconds: float) -> dict[str, Any]:
    """Ask at that rate, however long answers take: a request's time counts from when it was due."""
    began = time.perf_counter() + 0.5

    def ask(number: int, path: str) -> tuple[float, int]:
        due = began + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        status, _ = get(path)
        return time.perf_counter() - due, status

    number = round(rate * seconds)
    with ThreadPoolExecutor(_THREADS) as pool:
        answers = list(pool.map(ask, range(number), (wanted[n % len(wanted)] for n in range(number))))
    statuses = Counter(status for _, status in answers)
    times = [took for took, _ in answers]
    return {
        "reads": number,
        "reads_per_second": rate,
        **latency(times, "reads"),
        "reads_max_ms": round(max(times) * 1000, 2),
        "failed": number - statuses[200],
        "statuses": dict(statuses),
    }


if __name__ == "__main__":
    reader = Reader(sys.argv[1], os.environ["AUTOMATION_API_KEY"])
    print(json.dumps(measure(reader.get, paths(reader), float(sys.argv[2]), float(sys.argv[3]))))
