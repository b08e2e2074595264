"""Does history slow the engine down? The same operations beside an empty table and beside a million executions."""

import json
import subprocess
from pathlib import Path
from typing import Any

from automation import migrate
from benchmarks.processes import PYTHON, ROOT, FailedError, clean_environment, postgres, prefect_server
from benchmarks.sizes import Sizes


def run(sizes: Sizes, folder: Path) -> dict[str, Any]:
    """`operations`: name → {empty_ms, full_ms, ratio}; `scans`: statements that read a large table whole."""
    with (
        postgres(folder / "postgres") as database,
        prefect_server(folder, database.prefect_url) as (api, _),
    ):
        migrate.upgrade(database.url)
        env = clean_environment(
            AUTOMATION_HOME=str(folder),
            AUTOMATION_DATABASE_URL=database.url,
            AUTOMATION_API_KEY="benchmark",
            AUTO_SAVE_INTERVAL="0",
            PREFECT_API_URL=api,
            PREFECT_HOME=str(folder / "prefect"),
        )
        # a process of its own, as Prefect's client reads its address when it is imported
        argv = [PYTHON, "-m", "benchmarks.history_probe", str(sizes.history), str(sizes.rounds)]
        done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FailedError(f"the history could not be measured:\n{done.stderr[-3000:]}")
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    empty, full = measured.pop("empty"), measured.pop("full")
    operations = {
        name: {"empty_ms": empty[name], "full_ms": full[name], "ratio": round(full[name] / empty[name], 2)}
        for name in empty
    }
    return {**measured, "operations": operations}
