"""`automation doctor` beside a whole installation: all is well, and what breaks is named."""

import json
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Installation, command_of, processes_of, until


def look(installation: Installation, **environ: str) -> dict[str, Any]:
    """What it says by check, and that its exit code says the same."""
    env = {**installation.env, **environ}
    done = replace(installation, env=env).run("doctor", "--json")
    assert "Traceback" not in done.stderr
    answer = json.loads(done.stdout)
    found = {one["check"]: one for one in answer["checks"]}
    failed = any(one["state"] == "failed" for one in answer["checks"])
    assert (done.returncode, answer["ok"]) == (int(failed), not failed)
    return found


def wrong(installation: Installation) -> list[Any]:
    # the disk is that of whoever runs the tests
    return [one for name, one in look(installation).items() if one["state"] != "ok" and name != "disk"]


def test_an_installation_that_is_well_is_well_in_every_respect(installation: Installation) -> None:
    installation.watched.mkdir(exist_ok=True)
    until(lambda: not wrong(installation), 60, lambda: wrong(installation))
    said = installation.run("doctor")
    told = [line.split()[:2] for line in said.stdout.splitlines() if line.startswith(("ok ", "warning ", "failed "))]
    assert [check for state, check in told if state != "ok" and check != "disk"] == []
    count = Counter(state for state, _ in told)
    assert count["ok"] > 30
    assert f"{count['failed']} failed, {count['warning']} warnings, {count['ok']} ok." in said.stdout
    assert "\x1b" not in said.stdout  # no colours where there is no terminal


def test_a_paused_pool_a_readable_key_and_settings_that_do_not_go_together_are_named(
    installation: Installation,
) -> None:
    key = installation.home / "api.key"
    installation.prefect.patch("work_pools/automation", json={"is_paused": True})
    key.chmod(0o644)
    try:
        found = look(installation, AUTOMATION_MAX_IN_FLIGHT="3", AUTOMATION_BATCH_SIZE="many")
    finally:
        key.chmod(0o600)
        installation.prefect.patch("work_pools/automation", json={"is_paused": False})
    assert "resume" in found["work-pool"]["todo"]
    assert found["secret-files"]["todo"].startswith("chmod 600")
    assert found["settings"]["state"] == "warning"
    assert found["database"]["state"] == "ok"


@pytest.mark.parametrize("part", [b"server\0start"])
def test_with_a_part_that_hangs_the_others_are_still_looked_at(installation: Installation, part: bytes) -> None:
    """A Prefect server that is stopped takes connections and answers nothing."""
    pids = [pid for pid in processes_of(Path(installation.env["AUTOMATION_HOME"])) if part in command_of(pid)]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        found = look(installation)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert found["prefect-server"]["state"] == "failed"
    assert found["work-pool"]["todo"] == "see to prefect-server first"
    assert found["database"]["state"] == "ok"
    until(lambda: look(installation)["prefect-server"]["state"] == "ok", 60)
