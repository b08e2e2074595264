"""`automation up` from outside: a process, its terminal, its signals and its exit code."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.conftest import COMMAND, command_of, free_ports, processes_of, until


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of a new user, on free ports."""
    names = ("AUTOMATION_API_PORT", "AUTOMATION_PREFECT_PORT", "AUTOMATION_SITES_PORT")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AUTOMATION_", "PREFECT_"))}
    return inherited | dict(zip(names, free_ports(3), strict=True)) | {"AUTOMATION_HOME": str(tmp_path / "home")}


def _run(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def up(env: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`automation up`, ready; what it says is in `tmp_path/said`."""
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen([*COMMAND, "up"], env=env, stdout=said, stderr=subprocess.STDOUT)
    try:
        _wait_for(tmp_path, "Ready in", process)
        yield process
    finally:
        process.kill()
        process.wait()


def _wait_for(tmp_path: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while text not in (said := (tmp_path / "said").read_text()):
        assert process.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(0.1)


def _with(home: Path, words: bytes) -> int:
    (pid,) = [one for one in processes_of(home) if words in command_of(one)]
    return pid


def test_one_installation_from_start_to_end(env: dict[str, str], up: subprocess.Popen[bytes], tmp_path: Path) -> None:
    home = tmp_path / "home"
    api = f"http://127.0.0.1:{env['AUTOMATION_API_PORT']}/api/automation"
    assert httpx.get(f"{api}/health/ready/").status_code == 200
    settings = httpx.get(f"http://127.0.0.1:{env['AUTOMATION_PREFECT_PORT']}/ui-settings").json()
    assert settings["api_url"] == f"http://127.0.0.1:{env['AUTOMATION_PREFECT_PORT']}/api"

    key = (home / "api.key").read_text().strip()
    assert key not in (tmp_path / "said").read_text()
    assert str(home / "api.key") in (tmp_path / "said").read_text()

    second = _run(env, "up")
    assert second.returncode == 4
    assert f"process {up.pid}" in second.stderr
    assert env["AUTOMATION_API_PORT"] in second.stderr

    listed = subprocess.run(
        ["sh", "-c", f'eval "$({sys.executable} -m automation.cli env)"; prefect deployment ls'],
        env=env | {"PATH": f"{Path(sys.executable).parent}:{env['PATH']}", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "auto-save/auto-save" in listed.stdout

    os.kill(_with(home, b"automation.cli\0serve"), signal.SIGKILL)
    _wait_for(tmp_path, "service was ended by SIGKILL", up)
    until(lambda: httpx.get(f"{api}/health/ready/").status_code == 200)

    assert _run(env, "mirror", "verify").returncode == 0

    up.send_signal(signal.SIGTERM)
    assert up.wait(30) == 0
    assert processes_of(home) == set()


@pytest.mark.parametrize("said_last", [b"Automation in", b"postgresql", b"prefect-server"])
def test_ctrl_c_while_it_starts_ends_it_cleanly(env: dict[str, str], tmp_path: Path, said_last: bytes) -> None:
    with subprocess.Popen([*COMMAND, "up"], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if said_last in line)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert processes_of(tmp_path / "home") == set()


def test_a_taken_port_names_its_variable(env: dict[str, str]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", int(env["AUTOMATION_SITES_PORT"])))
        listener.listen()
        done = _run(env, "up")
    assert done.returncode == 2
    assert done.stderr.startswith(f"automation: AUTOMATION_SITES_PORT={env['AUTOMATION_SITES_PORT']}: expected")


def test_one_port_for_two_parts_names_its_variable(env: dict[str, str]) -> None:
    done = _run(env | {"AUTOMATION_SITES_PORT": env["AUTOMATION_API_PORT"]}, "up")
    assert done.returncode == 2
    assert "AUTOMATION_SITES_PORT=" in done.stderr


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AUTOMATION_API_PORT", "eighty"),
        ("AUTOMATION_HOST", "no-such-host.invalid"),
        ("AUTOMATION_HOST", "192.0.2.1"),
        ("AUTOMATION_DATABASE_URL", "mysql://me:hunter2@db/automation"),
        ("AUTOMATION_HOME", "/dev/null/home"),
    ],
)
def test_a_wrong_setting_is_named_and_exits_2(env: dict[str, str], variable: str, value: str) -> None:
    done = _run(env | {variable: value}, "up")
    assert done.returncode == 2
    assert done.stderr.startswith(f"automation: {variable}")
    assert "hunter2" not in done.stderr


def test_commands_that_need_the_database_say_what_to_start(env: dict[str, str]) -> None:
    done = _run(env, "db", "upgrade")
    assert done.returncode == 5
    assert "start it with `automation up`" in done.stderr
