"""Keeps the parts of an installation running: each a child process, its output in a log file of its own.

A part that dies is started again, sooner or later as it lived; at the end all are stopped in reverse order,
and nothing of them is left, not even what they started themselves.
"""

import asyncio
import ctypes
import os
import pwd
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import urlsplit

from automation.errors import UnavailableError
from automation.logs.lines import readable

# Seconds. A part that lives as long as HEALTHY has recovered; one that dies sooner than EARLY never worked.
FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
HEALTHY = 60.0
EARLY = 5.0
GRACE = 10.0

# Early deaths after which its log is shown, and a start is given up.
TOO_OFTEN = 3
LOG_LIMIT = 50 * 1024 * 1024
LOG_LOOK = 10.0

# Every process below us inherits it, also one that made a session of its own and lost its parent.
_MARK = "AUTOMATION_SUPERVISOR"

Say = Callable[[str], None]
Ready = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Part:
    """A process of the installation.

    Attributes:
        env: its whole environment.
        ready: whether it does its work; asked ten times a second until it says yes, for `start_timeout` s.
        account: the system user that it runs as, if not this process' own.
        stop_signal: what tells it to end.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    ready: Ready
    cwd: Path = Path("/")
    account: pwd.struct_passwd | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    start_timeout: float = 120.0


@dataclass(slots=True)
class _Child:
    part: Part
    process: asyncio.subprocess.Process | None = None
    keeper: asyncio.Task[None] | None = None
    early_deaths: int = 0
    end: str = ""
    was_ready: bool = False


@dataclass(slots=True)
class Supervisor:
    """The running parts. Use it as a context: its end stops them all.

        async with Supervisor(home / "logs", print) as supervisor:
            await supervisor.run("migrations", [sys.executable, "-m", …], env)
            await supervisor.start(Part("service", …))

    Attributes:
        logs: folder of the log files, `<part>.log`.
        say: told in one line, or a few, what an operator should know.
        grace: seconds that a part has to end by itself.
    """

    logs: Path
    say: Say
    grace: float = GRACE
    _children: list[_Child] = field(default_factory=list)
    _mark: str = field(default_factory=lambda: secrets.token_hex(8))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def start(self, part: Part) -> None:
        """Start a part, and keep it running from now on. Returns when it is ready.

        Raises:
            UnavailableError: it died at once, again and again, or is not ready in time; with the log's end.
        """
        child = _Child(part)
        self._children.append(child)
        child.keeper = asyncio.create_task(self._keep(child), name=f"keep {part.name}")
        try:
            async with asyncio.timeout(part.start_timeout):
                while not await part.ready():
                    if child.early_deaths >= TOO_OFTEN:
                        raise UnavailableError(f"{part.name} {child.end}. {self._log_end(part.name)}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise UnavailableError(
                f"{part.name} is not ready after {part.start_timeout:g} s. {self._log_end(part.name)}"
            ) from None
        child.was_ready = True

    async def run(self, name: str, argv: Sequence[str], env: Mapping[str, str], cwd: Path = Path("/")) -> None:
        """Run a command to its end.

        Raises:
            UnavailableError: it failed; with the log's end.
        """
        part = Part(name, argv, env, ready=_never, cwd=cwd)
        process = await self._spawn(part)
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            await self._end(part, process)
            raise
        if code != 0:
            raise UnavailableError(f"{name} {_ending(code)}. {self._log_end(name)}")

    def kill(self) -> None:
        """End everything at once, without asking; the context's end then has nothing left to wait for."""
        for child in self._children:
            if child.keeper:
                child.keeper.cancel()
            if child.process:
                _kill_group(child.process.pid)

    async def _keep(self, child: _Child) -> None:
        name, loop = child.part.name, asyncio.get_running_loop()
        delay = FIRST_DELAY
        while True:
            began = loop.time()
            try:
                child.process = await self._spawn(child.part)
                child.end = _ending(await self._watch(name, child.process))
            except OSError as error:
                child.end = f"could not be started ({error})"
            lived = loop.time() - began
            child.early_deaths = child.early_deaths + 1 if lived < EARLY else 0
            if lived >= HEALTHY:
                delay = FIRST_DELAY
            self.say(f"{name} {child.end} after {lived:.1f} s; starting it again in {delay:g} s.")
            if child.was_ready and child.early_deaths and child.early_deaths % TOO_OFTEN == 0:
                self.say(self._log_end(name))
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _watch(self, name: str, process: asyncio.subprocess.Process) -> int:
        """The exit code of a part, when it ends; until then its log does not grow without end."""
        while True:
            with suppress(TimeoutError):
                return await asyncio.wait_for(process.wait(), LOG_LOOK)
            with suppress(OSError):  # it was removed, or the disk is full: no reason to believe that the part has ended
                await asyncio.to_thread(_cut, self.logs / f"{name}.log")

    async def _spawn(self, part: Part) -> asyncio.subprocess.Process:
        account = part.account
        as_user: dict[str, Any] = (
            {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
        )
        with _open_log(self.logs / f"{part.name}.log") as log:
            return await asyncio.create_subprocess_exec(
                *part.argv,
                env={**part.env, _MARK: self._mark},
                cwd=part.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal reaches us alone
                preexec_fn=_ends_with_parent(part.stop_signal),
                **as_user,
            )

    async def _stop(self) -> None:
        for child in self._children:
            if child.keeper:
                child.keeper.cancel()
        await asyncio.gather(*(one.keeper for one in self._children if one.keeper), return_exceptions=True)
        while self._children:
            child = self._children.pop()
            if child.process:
                await self._end(child.part, child.process)
        deadline = time.monotonic() + 2  # for the kernel to bury them
        while (left := await asyncio.to_thread(_marked, self._mark)) and time.monotonic() < deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.02)

    async def _end(self, part: Part, process: asyncio.subprocess.Process) -> None:
        with suppress(ProcessLookupError):
            process.send_signal(part.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), self.grace)
        except TimeoutError:
            self.say(f"{part.name} has not ended within {self.grace:g} s and is killed.")
        finally:
            _kill_group(process.pid)
        await process.wait()

    def _log_end(self, name: str) -> str:
        path = self.logs / f"{name}.log"
        return f"The end of {path}:\n{_tail(path)}"


def answers(url: str, status: int = 200) -> Ready:
    """Whether an HTTP server answers that status there: a `ready` for parts that listen."""
    parts = urlsplit(url)

    def ask() -> bool:
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=2)
        try:
            connection.request("GET", parts.path)
            return connection.getresponse().status == status
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    async def ready() -> bool:
        return await asyncio.to_thread(ask)

    return ready


async def _never() -> bool:
    return False


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _open_log(path: Path) -> BinaryIO:
    with suppress(FileNotFoundError):
        if path.stat().st_size > LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def _cut(path: Path) -> None:
    """Begin a log anew that has become large. Whoever writes it appends, so that it need not be opened again; what is
    written between the copy and the cut is lost."""
    if path.stat().st_size > LOG_LIMIT:
        shutil.copyfile(path, path.with_suffix(".log.1"))
        os.truncate(path, 0)


def _tail(path: Path, lines: int = 15) -> str:
    """The last lines as people read them, without what could command a terminal."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 16_384))
        text = file.read().decode(errors="replace")
    shown = "\n".join(map(readable, text.splitlines()[-lines:]))
    return "\n".join(f"    {line}" for line in shown.splitlines())


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _ends_with_parent(stop_signal: signal.Signals) -> Callable[[], None] | None:
    """On Linux, have the kernel send the signal to a child when this process is gone, however it went."""
    if sys.platform != "linux":
        return None
    set_option, parent, pr_set_pdeathsig = ctypes.CDLL(None).prctl, os.getpid(), 1

    def ask_kernel() -> None:
        set_option(pr_set_pdeathsig, int(stop_signal))
        if os.getppid() != parent:  # gone before it was asked
            os._exit(1)

    return ask_kernel


def _marked(mark: str) -> list[int]:
    """The processes that have our mark in their environment (Linux; elsewhere their groups must do)."""
    found, wanted = [], f"{_MARK}={mark}".encode()
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # ended meanwhile, or another user's
            if wanted in file.read_bytes().split(b"\0"):
                found.append(int(file.parent.name))
    return found
