"""What a process says, each time in a process of its own: our lines, others', prints, and what nobody caught."""

import json
import os
import pty
import subprocess
import sys
from typing import Any

SET_UP = """
import logging, sys, threading, warnings
from automation.settings import Settings
from automation.logs.process import announcer, set_up
"""


def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SET_UP + code], env=os.environ | env, capture_output=True, text=True, check=False
    )


def lines(code: str, **env: str) -> list[dict[str, Any]]:
    done = run(code, **env)
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def messages(code: str, **env: str) -> list[tuple[str, str]]:
    return [(one["level"], one["message"]) for one in lines(code, **env)]


def test_whatever_a_process_says_is_a_line_of_json() -> None:
    said = messages("""
other = logging.StreamHandler(sys.stderr)
logging.getLogger("uvicorn").addHandler(other)
logging.getLogger("uvicorn").propagate = False
set_up("service", Settings(), prints=True)
logging.getLogger("automation.x").info("ours")
logging.getLogger("uvicorn").warning("a library's")
print("printed", 1)
print("___ \\\\|/ ___")
sys.stderr.write("half a line, ")
print("and the rest", file=sys.stderr)
warnings.warn("careful")
""")

    assert said[:3] == [("INFO", "ours"), ("WARNING", "a library's"), ("INFO", "printed 1")]
    assert said[3] == ("WARNING", "half a line, and the rest")
    assert said[4][0] == "WARNING"
    assert "careful" in said[4][1]
    assert len(said) == 5


def test_what_nobody_caught_is_a_line_too() -> None:
    done = run("""
set_up("service", Settings(), prints=True)
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise RuntimeError("password=hunter2")
""")

    first, last = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 1
    assert done.stderr == ""
    assert (first["level"], first["message"]) == ("CRITICAL", "Nobody caught ZeroDivisionError: division by zero")
    assert "RuntimeError" in last["message"]
    assert "hunter2" not in done.stdout


def test_a_thread_that_exits_says_nothing() -> None:
    said = lines("""
set_up("service", Settings())
thread = threading.Thread(target=sys.exit)
thread.start()
thread.join()
""")

    assert said == []


def test_what_cannot_be_told_is_no_trouble_of_who_logs() -> None:
    first, second, last = lines("""
class Nothing:
    def __str__(self):
        raise RuntimeError
    __repr__ = __str__
set_up("service", Settings())
logging.error("%s of %d", Nothing(), 1)
logging.error("said", extra={"metadata": "no names"})
logging.error("afterwards")
""")

    assert (first["level"], second["level"]) == ("ERROR", "ERROR")
    assert first["message"].endswith(" logs what cannot be told: RuntimeError")
    assert " logs what cannot be told: " in second["message"]
    assert last["message"] == "afterwards"


def test_the_least_level_is_a_setting() -> None:
    code = """
set_up("service", Settings())
for level in (10, 20, 30, 40):
    logging.getLogger("x").log(level, "said")
"""
    assert [level for level, _ in messages(code, AUTOMATION_LOG_LEVEL="WARNING")] == ["WARNING", "ERROR"]
    assert [level for level, _ in messages(code, AUTOMATION_LOG_LEVEL="DEBUG")] == ["DEBUG", "INFO", "WARNING", "ERROR"]


def test_what_prefect_says_of_a_runs_steps_is_not_said_twice() -> None:
    said = messages("""
set_up("child", Settings())
logging.getLogger("prefect.task_runs.step").error("a step's line")
logging.getLogger("prefect.flow_runs").info("Beginning")
logging.getLogger("prefect.flow_runs").error("told", extra={"is_told": True})
logging.getLogger("prefect.flow_runs").error("Crash detected")
""")

    assert said == [("ERROR", "Crash detected")]


def test_text_can_be_wanted_where_no_terminal_is_and_has_no_colours_there() -> None:
    done = run(
        'set_up("service", Settings(), prints=True); logging.error("x"); print("y")', AUTOMATION_LOG_FORMAT="text"
    )

    assert "ERROR    x" in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stdout.endswith("\ny\n")


def on_terminal(code: str, **env: str) -> str:
    """What a terminal is sent."""
    ours, its = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", SET_UP + code], env=os.environ | env, stdout=its, stderr=its):
        os.close(its)
        said = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end was closed
                break
            said += part
    os.close(ours)
    return said.decode()


def test_a_terminal_gets_text_in_colours_unless_no_color_is_set() -> None:
    code = 'set_up("service", Settings()); logging.error("x")'

    assert "\x1b[31m" in on_terminal(code, TERM="xterm", NO_COLOR="")
    plain = on_terminal(code, TERM="xterm", NO_COLOR="1")
    assert "ERROR    x" in plain
    assert "\x1b" not in plain


def test_up_says_on_a_terminal_what_it_says_and_elsewhere_lines() -> None:
    code = 'announcer(Settings(), "up")("API  http://x\\nReady.\\n")'

    assert on_terminal(code) == "API  http://x\r\nReady.\r\n\r\n"
    found = lines(code)
    assert [one["message"] for one in found] == ["API  http://x", "Ready."]
    assert {one["metadata"]["part"] for one in found} == {"up"}


def test_a_reader_that_is_gone_does_no_harm() -> None:
    code = 'set_up("service", Settings())\nfor n in range(1000): logging.error("x" * 1000)\nsys.exit(7)'
    with subprocess.Popen(
        [sys.executable, "-c", SET_UP + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 7
