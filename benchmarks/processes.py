"""Starting what is measured, and what it costs: CPU time and memory of whole process trees."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from automation import embedded
from automation.database import driver_url

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running embedded server: the URLs of its two databases, and the process that has all others below it."""

    url: str
    prefect_url: str
    pid: int


class FailedError(Exception):
    """Something that is to be measured does not work; the text says what, with the end of its log."""


def free_ports(number: int) -> list[int]:
    """Ports that nobody uses at the moment."""
    held = [socket.socket() for _ in range(number)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def clean_environment(**more: str) -> dict[str, str]:
    """Our environment without what would change the systems measured; the flows here can be imported."""
    ours = ("AUTOMATION_", "PREFECT_", "CELERY_")
    names = ("MAX_CONCURRENT_WORKFLOWS", "WORKFLOW_TIMEOUT", "AUTO_SAVE_INTERVAL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours) and name not in names}
    return {**kept, "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "1", **more}


@contextmanager
def process(
    argv: Sequence[str], env: Mapping[str, str], log: Path, ready: Callable[[], bool], timeout: float = 120
) -> Iterator[int]:
    """Run a program while the block does, from when it is ready; its pid.

    Raises:
        FailedError: it ended, or was not ready in time.
    """
    with log.open("wb") as output:
        child = subprocess.Popen(argv, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + timeout
        while not ready():
            if child.poll() is not None or time.monotonic() > deadline:
                raise FailedError(f"{' '.join(argv[:5])} does not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.1)
        yield child.pid
    finally:
        child.terminate()
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """An embedded PostgreSQL with the databases `automation` and `prefect`, as `automation up` has it."""
    url, prefect_url = embedded.start(folder)
    try:
        yield Postgres(url, prefect_url, postmaster(folder))
    finally:
        embedded.stop(folder)


def postmaster(folder: Path) -> int:
    """The process id of the server in that folder."""
    return int((folder / "postmaster.pid").read_text().split()[0])


@contextmanager
def prefect_server(folder: Path, database_url: str) -> Iterator[tuple[str, int]]:
    """A Prefect server on PostgreSQL, otherwise as shipped; its API's address and its pid."""
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}/api"
    env = clean_environment(
        PREFECT_HOME=str(folder / "prefect"),
        PREFECT_SERVER_DATABASE_CONNECTION_URL=driver_url(database_url, "asyncpg").render_as_string(
            hide_password=False
        ),
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
    )
    argv = [PYTHON, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with process(argv, env, folder / "prefect-server.log", lambda: answers(f"{address}/health")) as pid:
        yield address, pid


def answers(url: str) -> bool:
    """Whether somebody answers there, and well."""
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


def cpu_seconds(roots: Sequence[int]) -> float:
    """User and system time, so far, of these processes and all that they ever started.

    Each process' own time and that of its children which ended (the kernel adds it up when a parent collects
    them, all the way down): so a backend that lived between two looks counts too. Two calls' difference is
    the work of the time between. Elsewhere than on Linux, ended children are missing.
    """
    for _ in range(100):
        try:
            times = [one.cpu_times() for one in _trees(roots)]
        except psutil.NoSuchProcess:  # ended since we asked who is there: its time is its parent's now
            continue
        return sum(one.user + one.system + one.children_user + one.children_system for one in times)
    raise FailedError(f"one of the processes {', '.join(map(str, roots))} is gone")


def parts_of(root: int, words: Mapping[str, str]) -> dict[str, int]:
    """The children of a process by name; `words` has for each name what its command line holds."""
    children = {one.pid: " ".join(one.cmdline()) for one in psutil.Process(root).children()}
    return {name: pid for name, word in words.items() for pid, line in children.items() if word in line}


def memory_mb(roots: Sequence[int]) -> float:
    """Memory of these processes and all below them, in MB: proportional set size, so that shared pages count
    once (RSS, where the system does not tell)."""
    total = 0
    for one in _trees(roots):
        try:
            memory = one.memory_full_info()
            total += getattr(memory, "pss", 0) or memory.rss
        except psutil.NoSuchProcess:
            continue
    return round(total / 1e6, 1)


def _trees(roots: Sequence[int]) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for root in map(psutil.Process, roots):
        found |= {one.pid: one for one in (root, *root.children(recursive=True))}
    return list(found.values())
