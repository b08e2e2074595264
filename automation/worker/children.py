"""The warm children of a worker: started, given runs, watched, killed and replaced."""

import asyncio
import multiprocessing
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from types import TracebackType
from typing import Any, Self, cast
from uuid import UUID

from prefect.logging import get_logger

from automation.engine import vitals
from automation.errors import HardTimeoutError
from automation.settings import Settings
from automation.worker import child as process
from automation.worker import ours
from automation.worker.child import Cancel, Done, Ready, Report, Run, Stop

log = get_logger("worker.warm")

_PRELOAD = ("prefect.cli", "prefect.events.clients", "prefect.task_engine", "automation.worker.child")
"""What the forkserver imports beside our flows and steps, so that no child has to. Nothing of it starts a thread."""

_LOOK = 0.5
"""Seconds between two looks at the children's signs of life."""
_START_LIMIT = 60.0
"""Seconds from a child's start until it is ready; the first one waits for the forkserver's imports, some 3 s."""
_BACKOFF = (0.0, 0.5, 2.0, 10.0)
"""Seconds before the next start when children die before they are ready, one after another."""
_STOP_LIMIT = 3.0
"""Seconds that a child may take to send what it still has to tell Prefect."""


@dataclass(frozen=True, slots=True)
class Lost:
    """How a run left its process that is not of the run's doing.

    Attributes:
        handed_back: nothing went wrong: the worker stops, and the run is for another one.
        code: the error code of what it was killed for, if that is an error of a step.
    """

    reason: str
    handed_back: bool = False
    code: str = ""


@dataclass(slots=True, eq=False)
class _Child:
    process: ForkServerProcess
    orders: Connection
    vitals: vitals.Vitals
    started: float
    ready: bool = False
    runs: int = 0
    run_id: UUID | None = None
    outcome: "asyncio.Future[Done | Lost] | None" = None
    killed_for: Lost | None = None
    retiring: bool = False
    retired: float | None = None


@dataclass(slots=True, eq=False)
class Children:
    """`worker_concurrency` processes. Use it as a context: its end leaves none.

    Attributes:
        size: how many.
        outcomes: flow runs that left a child, by how: `done`, `handed back` or `lost`.
    """

    settings: Settings
    size: int
    outcomes: Counter[str] = field(default_factory=Counter)
    _context: Any = field(default_factory=lambda: multiprocessing.get_context("forkserver"))
    _all: set[_Child] = field(default_factory=set)
    _idle: list[_Child] = field(default_factory=list)
    _waiting: list["asyncio.Future[_Child]"] = field(default_factory=list)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _failures: int = 0
    _stopping: bool = False
    _gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def __aenter__(self) -> Self:
        self._context.set_forkserver_preload([*_PRELOAD, *ours.modules()])
        for _ in range(self.size):
            self._later(self._start())
        self._later(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hand_back()
        for one in self._all:
            self._order(one, Stop())
        if not self._all:
            self._gone.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_LIMIT):
                await self._gone.wait()
        for one in list(self._all):
            _kill(one)
            self._forget(one)
        for task in self._tasks:
            task.cancel()

    async def run(self, run: Run) -> Done | Lost:
        """Run a flow run in the next idle child, and wait for its end there."""
        one = await self._take()
        while one and one not in self._all:  # it died just now
            one = await self._take()
        if one is None:
            return Lost("its worker stops", handed_back=True)
        one.run_id = run.flow_run.id
        one.outcome = asyncio.get_running_loop().create_future()
        self._order(one, run)
        return await one.outcome

    async def cancel(self, run_id: UUID, reason: str) -> None:
        """Tell a run to stop, and kill its process if it has not within `cancel_grace`. No child has it: nothing."""
        one = next((one for one in self._all if one.run_id == run_id), None)
        if one is None or one.outcome is None:
            return
        one.retiring = True  # a step's threads go on when the step is cancelled: they end with the process
        self._order(one, Cancel(run_id, reason))
        grace = self.settings.cancel_grace
        done, _ = await asyncio.wait({one.outcome}, timeout=grace)
        if not done:
            log.warning("Flow run %s did not stop within %g s; its process is killed.", run_id, grace)
            self._kill(one, Lost(f"cancelled, and killed after {grace:g} s"))

    def pids(self) -> list[int]:
        """The process ids of those that live."""
        return [pid for one in self._all if (pid := one.process.pid)]

    def states(self) -> dict[str, int]:
        """How many of them are `starting`, `idle` and `busy`."""
        of = Counter("busy" if one.run_id else "idle" if one.ready else "starting" for one in tuple(self._all))
        return {state: of[state] for state in ("starting", "idle", "busy")}

    def finish(self) -> None:
        """Have the runs that could go on for long end soon."""
        for one in self._all:
            if one.run_id:
                self._order(one, process.Finish(one.run_id))

    def recycle(self) -> None:
        """Replace every child when its run is over."""
        log.info("Recycling %d processes.", len(self._all))
        for one in list(self._all):
            one.retiring = True
            if one in self._idle:
                self._retire(one)

    def hand_back(self) -> None:
        """Give no more runs to the children, and take away those that they have."""
        self._stopping = True
        for waiting in self._waiting:
            waiting.cancel()
        for one in self._all:
            if one.run_id:
                self._kill(one, Lost("its worker stops", handed_back=True))

    # --- one child's life -------------------------------------------------------------------------------

    async def _start(self) -> None:
        await asyncio.sleep(_BACKOFF[min(self._failures, len(_BACKOFF) - 1)])
        if self._stopping:
            return
        ours_, its = self._context.Pipe()
        shared = self._context.RawArray("d", vitals.SIZE)
        started = self._context.Process(target=process.main, args=(its, shared), name="warm child")
        try:
            await asyncio.to_thread(started.start)  # the first one waits for the forkserver
        except (OSError, EOFError) as error:
            self._failures += 1
            log.error("No process could be started, trying again: %s", error or type(error).__name__)
            self._later(self._start())
            return
        finally:
            its.close()
        one = _Child(started, ours_, cast(vitals.Vitals, shared), time.monotonic())
        self._all.add(one)
        loop = asyncio.get_running_loop()
        loop.add_reader(ours_.fileno(), self._receive, one)
        loop.add_reader(started.sentinel, self._died, one)
        if self._stopping:
            self._order(one, Stop())

    def _receive(self, one: _Child) -> None:
        try:
            report: Report = one.orders.recv()
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(one.orders.fileno())
            return  # its sentinel tells
        if isinstance(report, Ready):
            one.ready = True
            self._failures = 0
        else:
            one.runs += 1
            self._settle(one, report)
        if one.retiring or one.runs >= self.settings.worker_max_runs:
            self._retire(one)
        else:
            self._offer(one)

    def _died(self, one: _Child) -> None:
        with suppress(EOFError, OSError):
            if one.orders.poll():  # it reported before it died
                self._settle(one, one.orders.recv())
        self._forget(one)
        code = one.process.exitcode
        ending = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
        if one.outcome and not one.outcome.done():
            self._settle(one, one.killed_for or Lost(f"The process that ran it {ending}."))
        if not one.ready and not self._stopping:
            self._failures += 1
            log.warning("A warm process %s before it was ready.", ending)
        if not one.retired and not self._stopping:
            self._later(self._start())

    def _settle(self, one: _Child, outcome: Done | Lost | Ready) -> None:
        if one.outcome and not one.outcome.done() and not isinstance(outcome, Ready):
            one.outcome.set_result(outcome)
            lost = "handed back" if isinstance(outcome, Lost) and outcome.handed_back else "lost"
            self.outcomes[lost if isinstance(outcome, Lost) else "done"] += 1
        one.run_id = None

    def _retire(self, one: _Child) -> None:
        with suppress(ValueError):
            self._idle.remove(one)
        one.retired = time.monotonic()
        self._order(one, Stop())
        self._later(self._start())

    def _forget(self, one: _Child) -> None:
        self._all.discard(one)
        if self._stopping and not self._all:
            self._gone.set()
        with suppress(ValueError):
            self._idle.remove(one)
        loop = asyncio.get_running_loop()
        loop.remove_reader(one.process.sentinel)
        loop.remove_reader(one.orders.fileno())
        one.orders.close()
        one.process.join()

    def _kill(self, one: _Child, why: Lost) -> None:
        one.killed_for = one.killed_for or why
        _kill(one)

    def _order(self, one: _Child, order: process.Order) -> None:
        with suppress(OSError):  # it is dead, and its sentinel tells
            one.orders.send(order)

    # --- who gets the next run --------------------------------------------------------------------------

    async def _take(self) -> _Child | None:
        if self._stopping:
            return None
        if self._idle:
            return self._idle.pop()
        waiting: asyncio.Future[_Child] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            return await waiting
        except asyncio.CancelledError:
            if self._stopping:
                return None
            raise

    def _offer(self, one: _Child) -> None:
        while self._waiting:
            waiting = self._waiting.pop(0)
            if not waiting.done():
                waiting.set_result(one)
                return
        self._idle.append(one)

    # --- their signs of life ----------------------------------------------------------------------------

    async def _watch(self) -> None:
        limit, silence = self.settings.step_hard_time_limit, self.settings.lease_seconds
        while True:
            await asyncio.sleep(_LOOK)
            for one in self._all:
                code = ""
                if vitals.overdue(one.vitals):
                    code = HardTimeoutError.code
                    why = f"A step ran longer than its hard limit of {limit:g} s (AUTOMATION_STEP_HARD_TIME_LIMIT)"
                elif vitals.silence(one.vitals) > silence:
                    why = f"Something blocked the event loop of its process for {silence:g} s"
                elif not one.ready and time.monotonic() - one.started > _START_LIMIT:
                    why = f"Its process was not ready after {_START_LIMIT:g} s"
                elif one.retired and time.monotonic() - one.retired > _STOP_LIMIT:
                    why = f"Its process did not end within {_STOP_LIMIT:g} s"
                else:
                    continue
                if one.killed_for is None:
                    log.error("%s; process %s is killed.", why, one.process.pid)
                    self._kill(one, Lost(f"{why}; its process was killed.", code=code))

    def _later(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _kill(one: _Child) -> None:
    """Kill a child with everything that it started."""
    pid = one.process.pid
    assert pid is not None
    with suppress(ProcessLookupError):
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # it has not made its group yet
            os.kill(pid, signal.SIGKILL)
