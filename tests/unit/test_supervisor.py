"""The supervisor with real child processes, small ones."""

import asyncio
import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from automation import supervisor as module
from automation.errors import UnavailableError
from automation.supervisor import Part, Supervisor

FOREVER = "import time; time.sleep(600)"


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 0.05)


def _part(tmp_path: Path, name: str, code: str) -> Part:
    """A part that says it is ready, and who it is, by writing its pid to `<name>.pid`."""
    pid_file = tmp_path / f"{name}.pid"
    begin = f"import os, pathlib; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))\n"

    async def ready() -> bool:
        return pid_file.exists() and pid_file.read_text() != ""

    return Part(name, [sys.executable, "-c", begin + textwrap.dedent(code)], dict(os.environ), ready)


async def _never() -> bool:
    return False


def _pid(tmp_path: Path, name: str) -> int:
    return int((tmp_path / f"{name}.pid").read_text())


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def _until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        await asyncio.sleep(0.02)


async def test_a_part_that_dies_is_started_again_and_the_operator_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    async with Supervisor(tmp_path, said.append) as supervisor:
        await supervisor.start(_part(tmp_path, "service", FOREVER))
        first = _pid(tmp_path, "service")
        os.kill(first, signal.SIGKILL)
        await _until(lambda: _pid(tmp_path, "service") != first)
        assert _lives(_pid(tmp_path, "service"))
    assert len(said) == 1
    assert said[0].startswith("service was ended by SIGKILL after")


async def test_the_wait_doubles_while_a_part_keeps_dying_and_its_log_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    async with Supervisor(tmp_path, said.append) as supervisor:
        part = _part(tmp_path, "service", FOREVER)
        await supervisor.start(part)
        broken = ["-c", "print('no \\x1b[31m database'); raise SystemExit(3)"]
        part.argv[1:] = broken  # type: ignore[index]
        os.kill(_pid(tmp_path, "service"), signal.SIGKILL)
        await _until(lambda: sum("exit code 3" in line for line in said) >= 3)
    waits = [line.rpartition(" in ")[2] for line in said if "starting it again" in line]
    assert waits[:4] == ["0.05 s.", "0.1 s.", "0.2 s.", "0.4 s."]
    (shown,) = [line for line in said if "The end of" in line]
    assert "no \\x1b[31m database" in shown


async def test_a_part_that_recovered_starts_quickly_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEALTHY", 0.2)
    said: list[str] = []
    async with Supervisor(tmp_path, said.append) as supervisor:
        code = "import time; time.sleep(0.4); raise SystemExit(1)"
        await supervisor.start(_part(tmp_path, "service", code))
        await _until(lambda: len(said) >= 2)
    assert all("in 0.05 s." in line for line in said)


async def test_a_part_that_never_works_fails_the_start_with_its_log(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "print('out of paper'); raise SystemExit(7)"]
    async with Supervisor(tmp_path, print) as supervisor:
        with pytest.raises(UnavailableError, match=r"(?s)service ended with exit code 7\..*out of paper"):
            await supervisor.start(Part("service", argv, os.environ, _never))


async def test_a_part_that_is_not_ready_in_time_fails_the_start(tmp_path: Path) -> None:
    part = Part("service", [sys.executable, "-c", FOREVER], os.environ, _never, start_timeout=0.5)
    async with Supervisor(tmp_path, print) as supervisor:
        with pytest.raises(UnavailableError, match=r"service is not ready after 0\.5 s"):
            await supervisor.start(part)


async def test_a_program_that_does_not_exist_fails_the_start(tmp_path: Path) -> None:
    async with Supervisor(tmp_path, print) as supervisor:
        with pytest.raises(UnavailableError, match=r"service could not be started .*No such file"):
            await supervisor.start(Part("service", ["/no/such/program"], os.environ, _never))


async def test_parts_stop_in_reverse_order_and_by_themselves(tmp_path: Path) -> None:
    code = """
        import signal, sys, time
        def leave(*_):
            with open({trace!r}, "a") as file:
                file.write({name!r} + " ")
            sys.exit(0)
        signal.signal(signal.SIGTERM, leave)
        pathlib.Path({pid!r}).write_text(str(os.getpid()))
        time.sleep(600)
    """
    trace = tmp_path / "trace"
    async with Supervisor(tmp_path, pytest.fail) as supervisor:
        for name in ("database", "service", "worker"):
            pid = str(tmp_path / f"{name}.ready")
            part = _part(tmp_path, name, code.format(trace=str(trace), name=name, pid=pid))
            await supervisor.start(part)
            await _until(Path(pid).exists)
    assert trace.read_text().split() == ["worker", "service", "database"]


async def test_a_part_that_does_not_want_to_end_is_killed_after_the_grace(tmp_path: Path) -> None:
    said: list[str] = []
    code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); {FOREVER}"
    async with Supervisor(tmp_path, said.append, grace=0.3) as supervisor:
        await supervisor.start(_part(tmp_path, "service", code))
        await _until(lambda: (tmp_path / "service.log").read_text() != "")
    assert said == ["service has not ended within 0.3 s and is killed."]
    assert not _lives(_pid(tmp_path, "service"))


async def test_nothing_is_left_not_even_what_a_part_started_in_a_session_of_its_own(tmp_path: Path) -> None:
    grandchild = tmp_path / "grandchild"
    code = f"""
        import subprocess, sys, time
        inner = "import time; time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", inner], start_new_session=True)
        pathlib.Path({str(grandchild)!r}).write_text(str(child.pid))
        time.sleep(600)
    """
    async with Supervisor(tmp_path, print) as supervisor:
        await supervisor.start(_part(tmp_path, "worker", code))
        await _until(lambda: grandchild.exists() and grandchild.read_text() != "")
        os.kill(_pid(tmp_path, "worker"), signal.SIGKILL)  # the grandchild is an orphan from here on
    assert not _lives(int(grandchild.read_text()))


async def test_a_start_that_is_called_off_leaves_nothing(tmp_path: Path) -> None:
    async def start() -> None:
        async with Supervisor(tmp_path, print) as supervisor:
            part = _part(tmp_path, "service", FOREVER)
            await supervisor.start(Part("service", part.argv, part.env, _never))

    starting = asyncio.create_task(start())
    await _until((tmp_path / "service.pid").exists)
    await _until(lambda: (tmp_path / "service.pid").read_text() != "")
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await starting
    assert not _lives(_pid(tmp_path, "service"))


async def test_killing_at_once_asks_nobody(tmp_path: Path) -> None:
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOREVER
    began = time.monotonic()
    async with Supervisor(tmp_path, print, grace=60) as supervisor:
        await supervisor.start(_part(tmp_path, "service", stubborn))
        supervisor.kill()
    assert time.monotonic() - began < 30
    assert not _lives(_pid(tmp_path, "service"))


async def test_what_a_part_says_is_appended_to_its_log_which_is_rotated_when_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_LIMIT", 8)
    say = [sys.executable, "-c", "import sys; print('out'); print('err', file=sys.stderr)"]
    async with Supervisor(tmp_path, print) as supervisor:
        await supervisor.run("migrations", say, os.environ)
        assert sorted((tmp_path / "migrations.log").read_text().split()) == ["err", "out"]
        await supervisor.run("migrations", say, os.environ)
        assert len((tmp_path / "migrations.log").read_text().split()) == 4
        await supervisor.run("migrations", say, os.environ)
    assert len((tmp_path / "migrations.log").read_text().split()) == 2
    assert len((tmp_path / "migrations.log.1").read_text().split()) == 4


async def test_the_log_of_a_part_that_runs_is_cut_when_it_is_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOG_LIMIT", 100)
    monkeypatch.setattr(module, "LOG_LOOK", 0.05)
    talks = "import time\nwhile True: print('x' * 20, flush=True); time.sleep(0.01)"
    async with Supervisor(tmp_path, print) as supervisor:
        await supervisor.start(_part(tmp_path, "service", talks))
        await _until((tmp_path / "service.log.1").exists)
        await _until(lambda: "x" * 20 in (tmp_path / "service.log").read_text())
        assert "\0" not in (tmp_path / "service.log").read_text()


@pytest.mark.parametrize("is_removed", [True, False], ids=["no log", "no copy"])
async def test_a_part_whose_log_cannot_be_cut_is_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_removed: bool
) -> None:
    monkeypatch.setattr(module, "LOG_LIMIT", 100)
    monkeypatch.setattr(module, "LOG_LOOK", 0.05)
    looks, cut = [], module._cut

    def counted(path: Path) -> None:
        looks.append(path)
        cut(path)

    monkeypatch.setattr(module, "_cut", counted)
    if not is_removed:
        (tmp_path / "service.log.1").mkdir()
    said: list[str] = []
    async with Supervisor(tmp_path, said.append) as supervisor:
        await supervisor.start(_part(tmp_path, "service", f"print('x' * 200, flush=True); {FOREVER}"))
        if is_removed:
            (tmp_path / "service.log").unlink()
        seen = len(looks)
        await _until(lambda: len(looks) > seen + 2)
    assert said == []


async def test_a_command_that_fails_says_so_with_the_end_of_its_log(tmp_path: Path) -> None:
    async with Supervisor(tmp_path, print) as supervisor:
        argv = [sys.executable, "-c", "print('no such table'); raise SystemExit(4)"]
        with pytest.raises(UnavailableError, match=r"(?s)migrations ended with exit code 4\..*no such table"):
            await supervisor.run("migrations", argv, os.environ)


_KILLED = """
import asyncio, os, pathlib, sys
from automation.supervisor import Part, Supervisor

folder = pathlib.Path(sys.argv[1])
child = "import os, pathlib, time; pathlib.Path('service.pid').write_text(str(os.getpid())); time.sleep(600)"

async def ready():
    return (folder / "service.pid").exists()

async def main():
    async with Supervisor(folder, print) as supervisor:
        argv = [sys.executable, "-c", child]
        await supervisor.start(Part("service", argv, os.environ, ready, cwd=folder))
        (folder / "up").touch()
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_no_child_survives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _KILLED, str(tmp_path))
    try:
        await _until((tmp_path / "up").exists, seconds=30)
        assert _lives(_pid(tmp_path, "service"))
    finally:
        process.kill()
        await process.wait()
    await _until(lambda: not _lives(_pid(tmp_path, "service")))
