"""Prefect as shipped: its process worker starts an interpreter for every run; its server is on PostgreSQL."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg2

from benchmarks import measure
from benchmarks.figures import latency
from benchmarks.ledger import Ledger
from benchmarks.pages import Edit
from benchmarks.processes import PYTHON, FailedError, Postgres, clean_environment, postgres, prefect_server, process
from benchmarks.sizes import Sizes
from benchmarks.stock_flow import DATABASE, FILES, TABLE

_POOL = "stock"
_CONCURRENCY = 4


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Idle latency and runs per second of the stock worker."""
    ledger = Ledger()
    with _system(folder) as stock:
        measure.closed_loop(stock, ledger, 1)
        found: dict[str, Any] = latency(measure.closed_loop(stock, ledger, sizes.stock_idle), "idle")
        seconds = measure.all_at_once(stock, ledger, ledger.new_pages(sizes.stock_runs))
        found["runs_per_second"] = round(sizes.stock_runs / seconds, 3)
        found["lost"] = {
            "runs_not_completed": abs(ledger.edits - stock.count("state_type = 'COMPLETED'")),
            "saves_without_activity": abs(ledger.edits - stock.activities()),
            "stale_pages": ledger.stale_pages(stock.files),
        }
    return found


class Stock:
    """The running worker and its server."""

    def __init__(self, database: Postgres, api: str, deployment: str, files: Path, parts: dict[str, int]) -> None:
        self.files = files
        self.parts = parts
        self.roots = tuple(parts.values())
        self._client = httpx.Client(base_url=api, timeout=60)
        self._deployment = deployment
        self._runs = psycopg2.connect(database.prefect_url)
        self._activities = psycopg2.connect(database.url)
        self._runs.autocommit = self._activities.autocommit = True

    def send(self, edits: Sequence[Edit]) -> list[str]:
        return [self._start(one) for one in edits]

    def is_done(self, execution: str) -> bool:
        if self.count("id = %s AND state_type IN ('FAILED', 'CRASHED', 'CANCELLED')", execution):
            raise FailedError(f"flow run {execution} failed: see the worker's log")
        return self.count("id = %s AND state_type = 'COMPLETED'", execution) == 1

    def is_drained(self) -> bool:
        return self.count("state_type IN ('SCHEDULED', 'PENDING', 'RUNNING')") == 0

    def count(self, condition: str, *values: str) -> int:
        return _count(self._runs, f"SELECT count(*) FROM flow_run WHERE {condition}", values)

    def activities(self) -> int:
        return _count(self._activities, "SELECT count(*) FROM activities", ())

    def close(self) -> None:
        self._client.close()
        self._runs.close()
        self._activities.close()

    def _start(self, one: Edit) -> str:
        body = {"parameters": {"data": one.data()}}
        answer = self._client.post(f"deployments/{self._deployment}/create_flow_run", json=body)
        answer.raise_for_status()
        return str(answer.json()["id"])


@contextmanager
def _system(folder: Path) -> Iterator[Stock]:
    with (
        postgres(folder / "postgres") as database,
        prefect_server(folder, database.prefect_url) as (api, server),
    ):
        with psycopg2.connect(database.url) as connection, connection.cursor() as cursor:
            cursor.execute(TABLE)
        deployment = _deploy(api)
        env = clean_environment(
            PREFECT_API_URL=api,
            PREFECT_HOME=str(folder / "prefect"),
            **{DATABASE: database.url, FILES: str(folder / "runtime")},
        )
        argv = [PYTHON, "-m", "prefect", "worker", "start", "--pool", _POOL, "--limit", str(_CONCURRENCY)]
        with process(argv, env, folder / "worker.log", lambda: _polls(api)) as worker:
            parts = {"prefect-server": server, "worker": worker, "postgresql": database.pid}
            stock = Stock(database, api, deployment, folder / "runtime", parts)
            try:
                yield stock
            finally:
                stock.close()


def _deploy(api: str) -> str:
    """Make the work pool, the flow and its deployment; the deployment's id."""
    with httpx.Client(base_url=api, timeout=60) as client:
        client.post("work_pools/", json={"name": _POOL, "type": "process"}).raise_for_status()
        made = client.post("flows/", json={"name": "save-page"})
        made.raise_for_status()
        deployed = client.post(
            "deployments/",
            json={
                "name": "stock",
                "flow_id": made.json()["id"],
                "entrypoint": "benchmarks.stock_flow.save_page",
                "work_pool_name": _POOL,
                "pull_steps": [],
                "enforce_parameter_schema": False,
            },
        )
        deployed.raise_for_status()
        return str(deployed.json()["id"])


def _polls(api: str) -> bool:
    """Whether the worker has told the server that it lives, a moment ago."""
    answer = httpx.post(f"{api}/work_pools/{_POOL}/workers/filter", json={}, timeout=10)
    if lives := answer.is_success and bool(answer.json()):
        time.sleep(1)
    return lives


def _count(connection: Any, query: str, values: Sequence[str]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(query, values or None)
        return int(cursor.fetchone()[0])
