"""The Celery design: a Redis server, a worker with four processes, an application that calls `.delay`."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
from sqlalchemy import create_engine

from automation.database import driver_url
from benchmarks import measure
from benchmarks.ledger import Ledger
from benchmarks.pages import Edit
from benchmarks.processes import PYTHON, FailedError, Postgres, clean_environment, free_ports, postgres, process
from benchmarks.sizes import Sizes

MISSING = (
    "Celery is not measured, as there is no redis-server on the PATH. Only this comparison needs one:\n"
    "  apt-get install redis-server  |  dnf install redis  |  brew install redis"
)

_CONCURRENCY = 4

_VIOLATIONS = {
    "executions_not_completed": "SELECT count(*) FROM automation_workflowexecution WHERE status <> 'COMPLETED'",
    "executions_without_three_steps": """
        SELECT count(*) FROM automation_workflowexecution AS e WHERE 3 <> (
            SELECT count(*) FROM automation_workflowexecutionlog AS l WHERE l.execution_id = e.id)""",
    "saves_without_activity": """
        SELECT count(*) FROM automation_workflowexecution AS e WHERE NOT EXISTS (
            SELECT FROM insights_activity AS a WHERE a.execution_id = e.id)""",
}


def is_possible() -> bool:
    """Whether there is a Redis server to be started."""
    return shutil.which("redis-server") is not None


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """All figures of the Celery design, and what a look at every execution and page finds wrong."""
    ledger = Ledger()
    with _system(folder) as celery:
        found = measure.idle(celery, ledger, sizes.idle)
        found |= measure.burst(celery, ledger, sizes)
        found |= measure.storm(celery, ledger, sizes)
        found["lost"] = {
            "edits_not_handled": abs(ledger.edits - celery.completed()),
            **{name: celery.count(query) for name, query in _VIOLATIONS.items()},
            "stale_pages": ledger.stale_pages(celery.files),
        }
    return found


class CeleryDesign:
    """The running worker with its databases, and the application that sends it tasks."""

    def __init__(self, database: Postgres, files: Path, parts: dict[str, int]) -> None:
        from benchmarks.celery_app import execute_workflow

        self.files = files
        self.parts = parts
        self.roots = tuple(parts.values())
        self._task = execute_workflow
        self._sent = 0
        self._connection = psycopg2.connect(database.url)
        self._connection.autocommit = True

    def send(self, edits: Sequence[Edit]) -> list[str]:
        return [self._task.delay(f"auto-save {one.project_id}", one.data()).id for one in self._counted(edits)]

    def is_done(self, execution: str) -> bool:
        query = "SELECT count(*) FROM automation_workflowexecution WHERE id = %s AND status = 'COMPLETED'"
        return self.count(query, execution) == 1

    def is_drained(self) -> bool:
        return self.completed() == self._sent

    def completed(self) -> int:
        return self.count("SELECT count(*) FROM automation_workflowexecution WHERE status = 'COMPLETED'")

    def count(self, query: str, *values: str) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute(query, values or None)
            row = cursor.fetchone()
        return int(row[0]) if row else 0

    def close(self) -> None:
        self._connection.close()

    def _counted(self, edits: Sequence[Edit]) -> Sequence[Edit]:
        self._sent += len(edits)
        return edits


@contextmanager
def _system(folder: Path) -> Iterator[CeleryDesign]:
    with _redis(folder) as (url, redis_pid), postgres(folder / "postgres") as database:
        from_here = {
            "BENCH_REDIS_URL": url,
            "BENCH_DATABASE_URL": database.url,
            "BENCH_RUNTIME_ROOT": str(folder / "runtime"),
        }
        os.environ |= from_here  # this process is the application
        from benchmarks.celery_app import app, metadata

        engine = create_engine(driver_url(database.url, "psycopg2"))
        metadata.create_all(engine)
        engine.dispose()
        argv = [PYTHON, "-m", "celery", "-A", "benchmarks.celery_app", "worker", "--pool", "prefork"]
        argv += ["--concurrency", str(_CONCURRENCY), "--loglevel", "WARNING"]

        def ready() -> bool:
            with suppress(Exception):  # Redis' client has a dozen of them
                return bool(app.control.ping(timeout=1))
            return False

        with process(argv, clean_environment(**from_here), folder / "worker.log", ready) as worker:
            parts = {"worker": worker, "redis": redis_pid, "postgresql": database.pid}
            design = CeleryDesign(database, folder / "runtime", parts)
            try:
                yield design
            finally:
                design.close()


@contextmanager
def _redis(folder: Path) -> Iterator[tuple[str, int]]:
    """A Redis server as shipped, on a free port; its URL and its pid."""
    from redis import Redis
    from redis.exceptions import RedisError

    (port,) = free_ports(1)
    server = shutil.which("redis-server")
    if server is None:
        raise FailedError(MISSING)

    def ready() -> bool:
        with suppress(RedisError), Redis(port=port) as client:
            return bool(client.ping())
        return False

    argv = [server, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    with process(argv, clean_environment(), folder / "redis.log", ready) as pid:
        yield f"redis://127.0.0.1:{port}/0", pid
