"""`automation doctor` where the program itself is broken."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_a_library_that_breaks_at_import_is_told_of_and_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect/__init__.py").write_text("raise TypeError('unexpected keyword argument min_items')")
    env = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "AUTOMATION_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "automation.cli", "doctor", "--json"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)

    found = {one["check"]: one for one in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert found.keys() == {"packages", "program"}
    assert "TypeError: unexpected keyword argument min_items" in found["program"]["saw"]
    assert "Traceback" not in done.stderr
