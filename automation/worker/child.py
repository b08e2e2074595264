"""A warm child: a process that has everything imported and connected, and runs one flow run at a time."""

import asyncio
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import AsyncClientContext
from prefect.exceptions import Abort, Pause
from prefect.flow_engine import run_flow
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.logging import get_logger
from prefect.logging.loggers import flow_run_logger
from prefect.settings import (
    PREFECT_CLIENT_RETRY_EXTRA_CODES,
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED,
    temporary_settings,
)

from automation import engine, tracing
from automation.collector import spare_collector
from automation.engine import vitals
from automation.logs import process
from automation.settings import get_settings
from automation.worker import adapter

log = get_logger("worker.warm")

_PR_SET_PDEATHSIG = 1
_BEAT = 1.0
_FLUSH = 1.0
_NICE = 10
_CLIENT = {
    PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED: False,  # the worker has checked it
    # Prefect's server answers 500 while its database is away; a run that could not say COMPLETED then would say FAILED
    PREFECT_CLIENT_RETRY_EXTRA_CODES: "500",
}
_LOG_BATCH = 500
"""Log lines in one call; a line may have 1 MB and the API takes 4 MB, but ours are a few hundred bytes."""
_LOG_LIMIT = 20_000
"""Log lines kept while Prefect does not answer."""


@dataclass(frozen=True, slots=True)
class Run:
    """Order: run this flow run. `entrypoint` is the import path of its flow."""

    flow_run: FlowRun
    entrypoint: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Order: stop the steps of the run under way."""

    flow_run_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Order: let the run under way end soon, if it is one that could go on for long (a batch run)."""

    flow_run_id: UUID


@dataclass(frozen=True, slots=True)
class Stop:
    """Order: end, after the run under way."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Report: the child waits for its first order."""


@dataclass(frozen=True, slots=True)
class Done:
    """Report: the run has left this process.

    Attributes:
        state: Prefect's type of the state that it is in; None if Prefect refused to have it run.
        error: why it did not get to a state; empty if it did.
    """

    state: StateType | None
    error: str = ""


Order = Run | Cancel | Finish | Stop
Report = Ready | Done


def main(worker: Connection, shared: vitals.Vitals) -> None:
    """The process: serves orders until it is told to stop or its worker is gone.

    Args:
        worker: orders come and reports go through it.
        shared: where this process leaves its signs of life.
    """
    os.setsid()  # what a run starts can be killed with it, and Ctrl-C reaches the worker alone
    _step_back()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _end_with_forkserver()
    threading.Thread(target=_end_with_worker, name="end with worker", daemon=True).start()
    spare_collector()
    process.set_up("child", get_settings(), prints=True)
    tracing.set_up("child")
    vitals.share(shared)
    try:
        with temporary_settings(_CLIENT):
            asyncio.run(_serve(worker))
    finally:
        tracing.shut_down()


def _step_back() -> None:
    """Where all parts share a machine, who asks is answered before work is worked off.

    200 reads a second beside a burst, on two cores: p95 0.2 s so, and 4.7 s otherwise; the burst is as fast.
    """
    os.nice(_NICE)
    with suppress(OSError):  # Linux shares a CPU among sessions first, and this process is one of its own
        Path("/proc/self/autogroup").write_text(str(_NICE))


def _end_with_forkserver() -> None:
    """On Linux, have the kernel kill this process when the one that forked it is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _end_with_worker() -> None:
    """A worker that was killed could not tell; its runs are another's from the moment their leases end."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.killpg(0, signal.SIGKILL)


async def _serve(worker: Connection) -> None:
    orders: asyncio.Queue[Run | None] = asyncio.Queue()
    running: asyncio.Task[Done] | None = None
    cancelling: set[asyncio.Task[None]] = set()

    def receive() -> None:
        try:
            order: Order = worker.recv()
        except (EOFError, OSError):
            order = Stop()
            loop.remove_reader(worker.fileno())
        if isinstance(order, Cancel):
            cancelling.add(asyncio.create_task(_cancel(order, running)))
        elif isinstance(order, Finish):
            engine.finish(order.flow_run_id)
        else:
            orders.put_nowait(order if isinstance(order, Run) else None)

    loop = asyncio.get_running_loop()
    async with AsyncClientContext() as context, _logs(context.client) as logs:
        beat = asyncio.create_task(_beat())
        loop.add_reader(worker.fileno(), receive)
        worker.send(Ready())
        while order := await orders.get():
            running = asyncio.create_task(_run(order))  # a task: what a run sets in its context stays there
            report = await running
            with suppress(OSError):
                worker.send(report)
            await logs.flush()
        beat.cancel()


async def _run(order: Run) -> Done:
    try:
        flow: Flow[..., Any] = load_flow_from_entrypoint(order.entrypoint, use_placeholder_flow=False)
        if not flow.isasync:
            return Done(None, f"{order.entrypoint} is no async flow; a warm worker runs no other.")
        logger = cast(Any, flow_run_logger(order.flow_run, flow))
        running = run_flow(flow, flow_run=_unobserved(order.flow_run), return_type="state", error_logger=logger)
        state = await cast(Awaitable[State[Any]], running)
    except (Abort, Pause):  # cancelled before it began, paused, or another process has it
        return Done(None)
    except Exception as error:
        log.exception("Flow run %s did not get to a state", order.flow_run.id)
        return Done(None, f"{type(error).__name__}: {error}")
    finally:
        vitals.step_ended()
    return Done(state.type)


def _unobserved(flow_run: FlowRun) -> FlowRun:
    """The run without its deployment; Prefect reads it again, whole, before the flow begins.

    Else Prefect watches during each run whether somebody suspends it from outside, in a thread with a websocket
    and a client of its own: 0.1 s before the run, with the event loop blocked, and up to 0.2 s after it.
    """
    return flow_run.model_copy(update={"deployment_id": None})


async def _cancel(order: Cancel, running: "asyncio.Task[Done] | None") -> None:
    """Tell the engine; a run that has not come to it yet is told when it has."""
    while running and not running.done():
        if engine.cancel(order.flow_run_id, order.reason):
            return
        await asyncio.sleep(0.05)


async def _beat() -> None:
    while True:
        vitals.beat()
        await asyncio.sleep(_BEAT)


class _Logs:
    """The log lines of flow runs on their way to Prefect: one call a second, and one when a run has ended."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._lines: list[dict[str, Any]] = []
        self._sending = asyncio.Lock()

    def take(self, line: dict[str, Any]) -> None:
        line.pop(adapter.PAYLOAD_SIZE, None)
        self._lines.append(line)  # from any thread

    async def flush(self) -> None:
        """Send what is there; what Prefect does not take is sent next time."""
        async with self._sending:
            while batch := self._lines[:_LOG_BATCH]:
                try:
                    await self._client.create_logs(batch)
                except httpx.HTTPError as error:
                    log.warning("Prefect did not take %d log lines, trying again: %s", len(batch), error)
                    del self._lines[:-_LOG_LIMIT]
                    return
                del self._lines[: len(batch)]

    async def keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH)
            await self.flush()


@asynccontextmanager
async def _logs(client: PrefectClient) -> AsyncIterator[_Logs]:
    logs = _Logs(client)
    adapter.take_logs(logs.take)
    flushing = asyncio.create_task(logs.keep_flushing())
    try:
        yield logs
    finally:
        flushing.cancel()
        await logs.flush()
