"""The worker as Prefect sees it: `prefect worker start --pool automation`, for pools of type `warm`.

It claims runs as soon as Prefect's events tell of them, has its children run those that are ours, and lets
Prefect's own process worker, which it extends, run any other. It sets the states that a child cannot set.
"""

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import anyio.abc
import httpx
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import DeploymentResponse, WorkerFlowRunResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import Abort, ObjectNotFound, Pause
from prefect.logging import get_logger
from prefect.states import Cancelled, Crashed, Pending, Scheduled
from prefect.utilities.engine import propose_state
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from automation.engine import process_database
from automation.logs import process
from automation.models import utc_now
from automation.models.flow_run_queries import is_held, note_lost
from automation.settings import get_settings
from automation.steps import one_line
from automation.worker import adapter, events, ours
from automation.worker.child import Done, Run
from automation.worker.children import Children, Lost
from automation.worker.metrics import measured
from automation.worker.pace import next_pause

log = get_logger("worker.warm")

_DEPLOYMENT_TTL = 60.0
"""Seconds that a deployment is taken to be as it was read; reading it for each run costs the server 6.5 ms."""
_CANCEL_POLL = 10.0
"""Seconds between two questions for cancelled runs, should an event be lost."""
_HAND_BACK = 1.5
"""Seconds to tell Prefect what is handed back; the reaper sees to what it does not hear of."""
_UNHELD_AFTER = timedelta(seconds=3)
"""A run that is cancelled before it has its lease belongs to a process that is about to ask for it."""


class WarmWorker(ProcessWorker):
    """Runs the flows of this installation in warm processes, and any other flow as its base does."""

    type = "warm"
    _display_name = "Warm"
    _description = "Runs Automation's flows in processes that are there already; any other flow in a new one."
    _documentation_url = ""

    def __init__(
        self,
        work_pool_name: str,
        work_queues: list[str] | None = None,
        limit: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(work_pool_name, work_queues=work_queues, limit=limit, **options)
        settings = get_settings()
        self._pool_name = work_pool_name
        self._queues = work_queues or []
        self._size = min(settings.worker_concurrency, limit or settings.worker_concurrency)
        self._children = Children(settings, self._size)
        self._shutdown_grace = settings.shutdown_grace
        self._run_once = False
        self._taken: dict[UUID, asyncio.Task[None]] = {}
        self._cancelling: dict[UUID, asyncio.Task[None]] = {}
        self._elsewhere: dict[UUID, asyncio.Event | None] = {}
        self._deployments: dict[UUID, tuple[float, DeploymentResponse]] = {}
        self._listening = False
        self._more_waits = True
        self._look = asyncio.Event()
        self._look_for_cancelled = asyncio.Event()
        self._told = asyncio.Event()
        self._hurry = asyncio.Event()

    # --- from start to end ------------------------------------------------------------------------------

    async def start(
        self, run_once: bool = False, with_healthcheck: bool = False, printer: Callable[..., None] = print
    ) -> None:
        """Work until SIGTERM or Ctrl-C (again: without grace); SIGHUP replaces the children after their runs."""
        process.set_up("worker", get_settings(), prints=True)
        self._run_once = run_once
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._children.recycle)
        async with self._children, measured(get_settings(), self._children):
            serving = asyncio.create_task(super().start(run_once, with_healthcheck, printer))
            told = asyncio.create_task(self._told.wait())
            await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            if not serving.done():
                await self._wind_up()
                serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving
        printer(f"Worker {self.name!r} ended.")

    def _stop(self) -> None:
        if self._told.is_set():
            self._hurry.set()
        self._told.set()
        self._look.set()

    async def _wind_up(self) -> None:
        """Let the runs end within the grace period, then hand back those that have not."""
        log.info("Stopping; %d runs may still take %g s.", len(self._taken), self._shutdown_grace)
        self._children.finish()
        hurry = asyncio.create_task(self._hurry.wait())
        ours_ = [task for id_, task in self._taken.items() if id_ not in self._elsewhere]
        ending = asyncio.create_task(_all_done(ours_))
        await asyncio.wait({ending, hurry}, timeout=self._shutdown_grace, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        self._children.hand_back()
        await asyncio.wait({ending}, timeout=_HAND_BACK)

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Claim and run what is due, until the worker stops; Prefect's loop around it has nothing to repeat."""
        if self._run_once:
            await self._round()
            await asyncio.gather(*self._taken.values())
            return []
        async with asyncio.TaskGroup() as group:
            group.create_task(self._poll())
            group.create_task(self._watch_cancelling())
            group.create_task(events.listen(self.work_pool.id, self._heard, self._connected))
        return []

    def _heard(self, event: str) -> None:
        if event == events.CANCELLING:
            self._look_for_cancelled.set()
        else:
            self._more_waits = True
            self._look.set()

    def _connected(self, connected: bool) -> None:
        self._listening = connected
        self._look.set()
        self._look_for_cancelled.set()

    # --- claiming ---------------------------------------------------------------------------------------

    async def _poll(self) -> None:
        pause = 0.0
        while not self._told.is_set():
            self._look.clear()
            found = 0
            try:
                found = await self._round()
                pause = next_pause(pause, found=bool(found), listening=self._listening)
                wait = pause if found or self._free() <= 0 else await self._until_next_due(pause)
            except (httpx.HTTPError, ObjectNotFound) as error:
                pause = wait = next_pause(pause, found=False, listening=self._listening)
                log.warning("Prefect does not answer, asking again in %.1f s: %r", wait, error)
            adapter.note_poll(self)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), wait)

    def _free(self) -> int:
        return self._size - len(self._taken)

    async def _round(self) -> int:
        """Take what is due, as far as slots are free; how many runs that were."""
        free = self._free()
        if free <= 0 or not adapter.is_synced(self) or self._told.is_set():
            return 0
        self._more_waits = False
        new = [run for run in await self._due() if run.id not in self._taken]
        for run in new[:free]:
            task = asyncio.create_task(self._take(run))
            self._taken[run.id] = task
        limit = self.work_pool.concurrency_limit
        self._more_waits |= len(new) >= free or (limit is not None and len(self._taken) >= limit)
        return len(new[:free])

    async def _due(self) -> list[FlowRun]:
        """What is due and slots can take; the client would ask for 200 runs, 0.3 ms of the server's CPU each."""
        response = await self.client.request(
            "POST",
            "/work_pools/{name}/get_scheduled_flow_runs",
            path_params={"name": self._pool_name},
            json={
                "work_queue_names": self._queues,
                "scheduled_before": utc_now().isoformat(),
                "limit": 2 * self._size,  # some of them may be on their way into a slot
            },
        )
        return [WorkerFlowRunResponse.model_validate(one).flow_run for one in response.json()]

    async def _until_next_due(self, longest: float) -> float:
        """Seconds until the next run of the pool is due, at most `longest`; no event tells when it is."""
        now = utc_now()
        window = FlowRunFilterNextScheduledStartTime(after_=now, before_=now + timedelta(seconds=longest))
        state = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        runs = await self.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=state, next_scheduled_start_time=window),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[self._pool_name])),
            sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
            limit=1,
        )
        due: datetime | None = runs[0].next_scheduled_start_time if runs else None
        return min(longest, max(0.0, due.timestamp() - time.time()) + 0.001) if due else longest

    async def _take(self, run: FlowRun) -> None:
        """A run from its claim to its end; nothing is raised."""
        try:
            path = await self._entrypoint(run)
            if path is None:
                await self._run_elsewhere(run)
            elif await self._claim(run):
                await self._run_warm(Run(run, path))
        except Exception:
            log.exception("Flow run %s could not be run", _named(run))
        finally:
            del self._taken[run.id]
            if self._more_waits:
                self._look.set()

    async def _entrypoint(self, run: FlowRun) -> str | None:
        """The import path of the run's flow if it is ours; None if Prefect's own worker has to run it."""
        if run.deployment_id is None:
            return None
        read, deployment = self._deployments.get(run.deployment_id, (0.0, None))
        if deployment is None or time.monotonic() - read > _DEPLOYMENT_TTL:
            try:
                deployment = await self.client.read_deployment(run.deployment_id)
            except ObjectNotFound:
                return None  # Prefect's own worker cancels such a run
            self._deployments[run.deployment_id] = (time.monotonic(), deployment)
        return ours.entrypoint(deployment, run, ours.packages())

    async def _claim(self, run: FlowRun) -> bool:
        """Whether the run is ours to begin; another worker may have been faster, or its limit is reached."""
        try:
            state = await propose_state(self.client, Pending(), flow_run_id=run.id)
        except (Abort, Pause):
            return False
        return state.is_pending()

    # --- running ----------------------------------------------------------------------------------------

    async def _run_warm(self, run: Run) -> None:
        """Have a child run it, and see to it that Prefect has a state that tells how that ended."""
        id_ = run.flow_run.id
        outcome = await self._children.run(run)
        if isinstance(outcome, Lost) and outcome.handed_back:
            state = await self._hand_back(id_)
        elif reason := outcome.reason if isinstance(outcome, Lost) else outcome.error:
            log.error("Flow run %s crashed: %s", _named(run.flow_run), one_line(reason))
            if isinstance(outcome, Lost) and outcome.code:
                async with process_database().transaction() as session:
                    await note_lost(session, id_, outcome.code)
            state = await self._propose(id_, Crashed(message=reason))
        else:
            assert isinstance(outcome, Done)
            state = outcome.state
        if state is StateType.CANCELLING:  # it takes no other state from there
            await self._set_cancelled(id_)

    async def _hand_back(self, id_: UUID) -> StateType | None:
        run = await self.client.read_flow_run(id_)
        if run.state is None or run.state.is_final() or run.state.is_scheduled():
            return None  # it ended, or waits, and its process could not tell us any more
        log.info("Flow run %s is handed back.", _named(run))
        return await self._propose(id_, Scheduled(message=f"Handed back by worker {self.name}, which stops."))

    async def _propose(self, id_: UUID, state: State[Any]) -> StateType | None:
        """The type of the state that the run has then; None if it has ended or is gone."""
        try:
            return (await propose_state(self.client, state, flow_run_id=id_)).type
        except (Abort, Pause, ObjectNotFound):
            return None

    async def _set_cancelled(self, id_: UUID) -> None:
        with suppress(ObjectNotFound):
            await self.client.set_flow_run_state(id_, Cancelled(message="Cancelled, and stopped."), force=True)

    async def _run_elsewhere(self, run: FlowRun) -> None:
        """Run a flow that is not ours, in the way and with the states of Prefect's process worker."""
        self._elsewhere[run.id] = None
        try:
            await adapter.submit(self, run)
            if ended := self._elsewhere[run.id]:
                await ended.wait()
        finally:
            del self._elsewhere[run.id]

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow that is not ours in a process of its own."""
        self._elsewhere[flow_run.id] = ended = asyncio.Event()
        try:
            return await super().run(flow_run, configuration, task_status)
        finally:
            ended.set()

    # --- cancelling -------------------------------------------------------------------------------------

    async def _watch_cancelling(self) -> None:
        while True:
            self._look_for_cancelled.clear()
            try:
                await self._cancel_all()
            except httpx.HTTPError as error:
                log.warning("Prefect does not say what is cancelled, asking again: %r", error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look_for_cancelled.wait(), _CANCEL_POLL)

    async def _cancel_all(self) -> None:
        state = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CANCELLING]))
        runs = await self.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=state),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[self._pool_name])),
        )
        for run in runs:
            if run.id not in self._cancelling:
                self._cancelling[run.id] = asyncio.create_task(self._cancel(run))

    async def _cancel(self, run: FlowRun) -> None:
        """See to it that a cancelled run stops, or, where no process has it, that it counts as stopped."""
        try:
            if await self._entrypoint(run) is None:
                return  # Prefect's process worker stops its own
            if taken := self._taken.get(run.id):
                while not taken.done():
                    await self._children.cancel(run.id, "cancelled in Prefect")  # if it has come to a child
                    await asyncio.wait({taken}, timeout=0.1)
                self._look_for_cancelled.set()  # it may have ended just before it was cancelled by force
            elif await self._is_nobodys(run):
                await self._set_cancelled(run.id)
        except Exception:
            log.exception("Flow run %s could not be cancelled, trying again", _named(run))
        finally:
            del self._cancelling[run.id]

    async def _is_nobodys(self, run: FlowRun) -> bool:
        """Whether no living process of any worker has the run."""
        assert run.state is not None
        if utc_now() - run.state.timestamp < _UNHELD_AFTER:  # its process may be about to take its lease
            asyncio.get_running_loop().call_later(_UNHELD_AFTER.total_seconds(), self._look_for_cancelled.set)
            return False
        async with process_database().transaction() as session:
            return not await is_held(session, run.id)


def _named(run: FlowRun) -> str:
    """The run's name, which may hold what somebody called a project, and its id."""
    return f"{one_line(run.name)} ({run.id})"


async def _all_done(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)
