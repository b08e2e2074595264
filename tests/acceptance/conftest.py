"""One whole installation, started as a user does, for the tests that look at it from outside."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.neighbours import Neighbour

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
collect_ignore = [] if BROWSER else ["test_browser.py", "test_ops_browser.py"]

COMMAND = [sys.executable, "-m", "automation.cli"]
ENDED = {"COMPLETED", "FAILED", "CANCELLED"}
Json = dict[str, Any]


@dataclass(frozen=True)
class Installation:
    """A running `automation up` as its neighbours see it."""

    env: dict[str, str]
    home: Path
    process: "subprocess.Popen[bytes]"
    studio: httpx.Client
    prefect: httpx.Client
    pager: Neighbour

    @property
    def sites(self) -> str:
        return f"http://127.0.0.1:{self.env['AUTOMATION_SITES_PORT']}"

    @property
    def watched(self) -> Path:
        """The folder below which FILE_CHANGE triggers may watch."""
        return Path(self.env["AUTOMATION_WATCH_ROOTS"])

    def send(self, *events: Json) -> list[Json]:
        """Send events; what became of each."""
        answer = self.studio.post("events/", json=list(events))
        assert answer.status_code == 202, answer.text
        return list(answer.json()["events"])

    def workflow(self, project: str, kind: str) -> str:
        found = self.studio.get("workflows/", params={"project_id": project, "kind": kind}).json()["results"]
        return str(found[0]["id"])

    def execute(self, project: str, kind: str, **given: Any) -> Json:
        """Start a workflow by hand, and wait for its end."""
        answer = self.studio.post(f"workflows/{self.workflow(project, kind)}/execute/", json={"input": given})
        assert answer.status_code == 202, answer.text
        return self.ended(answer.json()["id"])

    def execution(self, id_: str) -> Json:
        return dict(self.studio.get(f"executions/{id_}/").json())

    def executions(self, **filters: str) -> list[Json]:
        """All executions that match, newest first."""
        found: list[Json] = []
        url: str | None = str(httpx.URL("executions/", params={"page_size": "200", **filters}))
        while url:
            page = self.studio.get(url).json()
            found, url = found + page["results"], page["next"]
        return found

    def ended(self, id_: str, seconds: float = 60) -> Json:
        """The execution when it has ended."""
        until(lambda: self.execution(id_)["status"] in ENDED, seconds, lambda: self.execution(id_))
        return self.execution(id_)

    def all_ended(self, seconds: float = 90, **filters: str) -> list[Json]:
        """All executions that match when they have ended."""

        def open_ones() -> list[Json]:
            return [one for one in self.executions(**filters) if one["status"] not in ENDED]

        until(lambda: not open_ones(), seconds, open_ones)
        return self.executions(**filters)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A command of ours in the same home."""
        return subprocess.run(
            [*COMMAND, *arguments], env=self.env, capture_output=True, text=True, check=False, timeout=60
        )

    def kill(self, *words: str) -> None:
        """SIGKILL to a part of it, by words of its command."""
        wanted = "\0".join(words).encode()
        parts = [pid for pid in processes_of(self.home) if wanted in command_of(pid)]
        assert parts, f"no process of {words}"
        for pid in parts:
            os.kill(pid, signal.SIGKILL)

    def site(self, project: str, path: str = "") -> httpx.Response:
        return httpx.get(f"{self.sites}/{project}/{path}", follow_redirects=True)


def until(true: Callable[[], Any], seconds: float = 30, told: Callable[[], Any] = lambda: "") -> None:
    """Wait until something holds; a part that is just being started again does not answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
        except (httpx.TransportError, json.JSONDecodeError, KeyError):
            pass
        assert time.monotonic() < deadline, told()
        time.sleep(0.1)


def processes_of(home: Path) -> set[int]:
    """Everything that runs for an installation, whoever its parent is."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"AUTOMATION_HOME={home}".encode() in file.read_bytes().split(b"\0"):
                found.add(int(file.parent.name))
        except OSError:
            continue
    return found


def command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """`automation up` in a new home on free ports; at the end SIGTERM ends it with 0 and without a trace."""
    root = Path(tempfile.mkdtemp(prefix="automation-acceptance-"))
    home = root / "home"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AUTOMATION_", "PREFECT_"))}
    names = ("AUTOMATION_API_PORT", "AUTOMATION_PREFECT_PORT", "AUTOMATION_SITES_PORT")
    env |= dict(zip(names, free_ports(3), strict=True))
    env |= {"AUTOMATION_HOME": str(home), "AUTO_SAVE_INTERVAL": "1", "AUTOMATION_LEASE_SECONDS": "6"}
    env |= {"AUTOMATION_PENDING_SECONDS": "10", "AUTOMATION_WATCH_ROOTS": str(root / "watched")}
    env |= {"AUTOMATION_EGRESS_ALLOW": "127.0.0.1"}  # the tests' own servers
    pager = Neighbour()
    env |= {"AUTOMATION_ADMIN_NOTIFY_URLS": pager.apprise_url}
    with (root / "said").open("wb") as said:
        process = subprocess.Popen([*COMMAND, "up"], env=env, stdout=said, stderr=subprocess.STDOUT)
    try:
        until(lambda: "Ready in" in (root / "said").read_text(), 120, (root / "said").read_text)
        key = (home / "api.key").read_text().strip()
        with (
            httpx.Client(
                base_url=f"http://127.0.0.1:{env[names[0]]}/api/automation/",
                headers={"Authorization": f"Bearer {key}"},
                timeout=30,
            ) as studio,
            httpx.Client(base_url=f"http://127.0.0.1:{env[names[1]]}/api/", timeout=30) as prefect,
        ):
            yield Installation(env, home, process, studio, prefect, pager)
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0, (root / "said").read_text()
        assert processes_of(home) == set()
    finally:
        process.kill()
        process.wait()
        pager.go()
        shutil.rmtree(root, ignore_errors=True)


def free_ports(number: int) -> list[str]:
    with ExitStack() as held:
        listeners = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [str(one.getsockname()[1]) for one in listeners]
