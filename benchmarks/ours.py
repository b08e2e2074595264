"""Our engine: a real `automation up`, told of events through its API, read in its own tables."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2

from automation import embedded
from automation.client import Client
from automation.installation import API_KEY_FILE
from benchmarks import measure
from benchmarks.figures import latency
from benchmarks.ledger import Ledger
from benchmarks.pages import PROJECTS, Edit
from benchmarks.processes import PYTHON, ROOT, FailedError, clean_environment, free_ports, parts_of, process
from benchmarks.sizes import Sizes

SINGLE = "single"
"""Prefix of the projects whose auto-save has `run_mode = "single"`: a flow run for each edit."""

_COLD_LINGER = 0.05
"""AUTOMATION_BATCH_LINGER in seconds, with which every event of a closed loop needs a run of its own."""

_PARTS = {
    "postgresql": "postgres -D", "prefect-server": "prefect server", "service": "automation.cli serve",
    "sites": "automation.runtime.sites", "worker": "prefect worker",
}  # fmt: skip
"""What stands in the command lines of the children of `automation up`."""

# name of a violation → how many executions are in it; the tables hold nothing but what was measured
_VIOLATIONS = {
    "executions_not_completed": "SELECT count(*) FROM workflow_executions WHERE status <> 'COMPLETED'",
    "executions_without_three_steps": """
        SELECT count(*) FROM workflow_executions AS e WHERE 3 <> (
            SELECT count(*) FROM step_executions AS s WHERE s.execution_id = e.id AND s.status = 'COMPLETED')""",
    "executions_without_log": """
        SELECT count(*) FROM workflow_executions AS e WHERE NOT EXISTS (
            SELECT FROM workflow_execution_logs AS l WHERE l.execution_id = e.id)""",
    # a save that found a newer version there, because two senders overtook each other, is no activity
    "saves_without_activity": """
        SELECT count(*) FROM workflow_executions AS e
        WHERE e.result #>> '{steps,save-to-runtime,saved}' = 'true' AND NOT EXISTS (
            SELECT FROM activities AS a WHERE a.execution_id = e.id)""",
}


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """All figures of our engine, and what a look at every execution, page and flow run finds wrong."""
    ledger, singles = Ledger(), Ledger()
    with up(folder, AUTO_SAVE_INTERVAL="1") as ours:
        ours.make_projects()
        found = measure.idle(ours, ledger, sizes.idle)
        found |= measure.burst(ours, ledger, sizes)
        found |= measure.storm(ours, ledger, sizes)
        found |= _singles(ours, singles, sizes)
        ours.wait_for_runs()
    with up(folder, AUTO_SAVE_INTERVAL="1", AUTOMATION_BATCH_LINGER=str(_COLD_LINGER)) as ours:
        measure.closed_loop(ours, ledger, 2)
        before = ours.count("SELECT count(*) FROM flow_runs")
        found |= latency(measure.closed_loop(ours, ledger, sizes.idle), "cold")
        found["cold_runs"] = ours.count("SELECT count(*) FROM flow_runs") - before
        ours.wait_for_runs()
        found["lost"] = check(ours, (ledger, singles))
    return found


class Ours:
    """A running installation."""

    def __init__(self, home: Path, api: str, up: int, env: dict[str, str]) -> None:
        self.home = home
        self.api = api
        self.roots = [up]
        self.parts = parts_of(up, _PARTS)
        self._env = env
        self._client = Client(api, (home / API_KEY_FILE).read_text().strip())
        self._connection = psycopg2.connect(embedded.url(home / "postgres", "automation"))
        self._connection.autocommit = True

    def send(self, edits: Sequence[Edit]) -> list[str]:
        results = self._client.send({"type": "page.updated", "data": one.data()} for one in edits)
        return [one.executions[0].id for one in results]

    def is_done(self, execution: str) -> bool:
        (status,) = self._row("SELECT status FROM workflow_executions WHERE id = %s", execution)
        if status in ("FAILED", "CANCELLED"):
            raise FailedError(f"execution {execution} is {status}")
        return bool(status == "COMPLETED")

    def is_drained(self) -> bool:
        open_ = "status IN ('PENDING', 'RUNNING', 'RETRYING', 'WAITING')"  # as the partial index says it
        return not self._row(f"SELECT EXISTS (SELECT FROM workflow_executions WHERE {open_})")[0]

    def make_projects(self) -> None:
        """The projects with their workflows, of which some have `run_mode = "single"`."""
        names = [f"{prefix}-{n}" for prefix in ("project", SINGLE) for n in range(PROJECTS)]
        self._client.send({"type": "project.created", "data": {"project": {"id": name}}} for name in names)
        with self._connection.cursor() as cursor:
            cursor.execute(
                'UPDATE workflows SET config = config || \'{"run_mode": "single"}\''
                " WHERE kind = 'auto-save' AND project_id LIKE %s",
                (f"{SINGLE}-%",),
            )

    def wait_for_runs(self) -> None:
        """Until the last batch run has ended and the mirror knows it."""
        open_ = "SELECT count(*) FROM flow_runs WHERE ended_at IS NULL"
        measure.wait(lambda: not self.count(open_), pause=0.5, patience=120)

    def count(self, query: str) -> int:
        return int(self._row(query)[0])

    def verify(self) -> int:
        """What `automation mirror verify` counts; 0 when it is content."""
        argv = [PYTHON, "-m", "automation.cli", "mirror", "verify"]
        done = subprocess.run(argv, env=self._env, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise FailedError(f"automation mirror verify: {done.stdout}{done.stderr}")
        counts = (int(line.split()[-1]) for line in done.stdout.splitlines())
        return sum(counts) if done.returncode else 0

    def close(self) -> None:
        self._client.close()
        self._connection.close()

    def _row(self, query: str, *values: Any) -> tuple[Any, ...]:
        with self._connection.cursor() as cursor:
            cursor.execute(query, values or None)
            row: tuple[Any, ...] = cursor.fetchone() or (None,)
            return row


@contextmanager
def up(folder: Path, **settings: str) -> Iterator[Ours]:
    """`automation up` in a home below `folder`, on free ports."""
    api, prefect, sites = free_ports(3)
    home, log = folder / "home", folder / "up.log"
    env = clean_environment(
        AUTOMATION_HOME=str(home),
        AUTOMATION_API_PORT=str(api),
        AUTOMATION_PREFECT_PORT=str(prefect),
        AUTOMATION_SITES_PORT=str(sites),
        **settings,
    )
    log.write_text("")
    argv = [PYTHON, "-m", "automation.cli", "up"]
    with process(argv, env, log, lambda: "Ready in" in log.read_text(), timeout=300) as pid:
        ours = Ours(home, f"http://127.0.0.1:{api}", pid, env)
        try:
            yield ours
        finally:
            ours.close()


def _singles(ours: Ours, ledger: Ledger, sizes: Sizes) -> dict[str, Any]:
    """Flow runs of one execution each."""

    def send(runs: int) -> float:
        return measure.all_at_once(ours, ledger, ledger.new_pages(runs, SINGLE))

    runs, seconds = measure.long_enough(send, sizes.singles, sizes.seconds)
    return {"singles_per_second": round(runs / seconds, 2), "singles": runs}


def check(ours: Ours, ledgers: Sequence[Ledger]) -> dict[str, int]:
    """What is wrong, by name; everything is 0 when all is well."""
    told = ours.count("SELECT coalesce(sum(event_count), 0) FROM workflow_executions WHERE status = 'COMPLETED'")
    root = ours.home / "runtime"
    return {
        "edits_not_handled": abs(sum(one.edits for one in ledgers) - told),
        **{name: ours.count(query) for name, query in _VIOLATIONS.items()},
        "stale_pages": sum(one.stale_pages(root) for one in ledgers),
        "verify": ours.verify(),
    }
