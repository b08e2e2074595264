"""Batch runs: one flow run that drains what waits, hundreds at a time, for as long as there is something.

A run takes waiting executions, runs the steps over them, takes again, and ends when nothing came for a while
or it is old. So the thousandth edit costs no Prefect run at all. What is unusual leaves the batch: an item
that is to be tried again gets a single run of its own, which Prefect's UI shows as a run.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from time import monotonic
from typing import Any

from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from automation.engine import claim as claims
from automation.engine import console, queue
from automation.engine.failures import tell_if_failed
from automation.engine.plan import Item
from automation.engine.record import Outcome
from automation.engine.work import Work
from automation.intake.create import WORK_CHANNEL
from automation.models import Json, Status, utc_now
from automation.steps import LANES, one_line

_LOOKS = 3

ARTIFACT_ROWS = 1000
"""Items that the artifact lists, failures first: Prefect's UI shows it as one table, in one document."""


async def run_batch(work: Work, identity: claims.RunIdentity, kind: str) -> State[Any]:
    """Drain the waiting executions of a kind until none came for a while, or the run is old."""
    return await BatchRun(work, identity, kind).run()


class BatchRun:
    """A batch run at work: whose turn it is, and what became of its items."""

    def __init__(self, work: Work, identity: claims.RunIdentity, kind: str) -> None:
        self.work = work
        self.identity = identity
        self.kind = kind
        self.settings = work.settings
        self.counts: Counter[str] = Counter()
        self.rows: list[Json] = []
        self._after: str | None = None
        self._wake = asyncio.Event()

    async def run(self) -> State[Any]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(LANES, thread_name_prefix="step"))
        flow_run_id = await self.work.record(self._begin)
        async with self.work.heartbeat(flow_run_id), self._listening():
            await self._resume()
            await self._drain(until=monotonic() + self.settings.batch_max_age)
            await self.work.record(lambda session: queue.stop_accepting(session, flow_run_id))
            if not self._told_to_end():
                await self._round()  # for what came between the last look and `stop_accepting`
        await self._tell_prefect()
        if self.work.stopped:
            return Cancelled(message=self.work.stopped)
        return Completed(message=self._summary())

    async def _begin(self, session: AsyncSession) -> Any:
        return await claims.own_row(session, self.identity, self.settings)

    def _told_to_end(self) -> bool:
        return bool(self.work.stopped) or self.work.finishing.is_set()

    async def _resume(self) -> None:
        """A run that was handed back by a worker that stopped goes on with what it had taken."""

        async def write(session: AsyncSession) -> list[Item]:
            assert self.work.flow_run_id is not None
            return await queue.take_again(session, self.work.flow_run_id)

        if items := await self.work.record(write):
            self._note(await self.work.do(items, batch=True))

    async def _drain(self, until: float) -> None:
        """Take and work, and wait in between, until the linger or the run's age is over."""
        quiet_since = monotonic()
        while not self._told_to_end() and monotonic() < until:
            self._wake.clear()
            if await self._round():
                quiet_since = monotonic()
                continue
            quiet = self.settings.batch_linger - (monotonic() - quiet_since)
            if quiet <= 0:
                return
            await self._wait(quiet)

    async def _round(self) -> int:
        """Take a batch and run it; how many items there were, 0 when nothing is due."""
        behind = self._after
        items = await self._take()
        if not items and behind:  # the turn was at its end: begin again at the first project
            items = await self._take()
        if items:
            outcomes = await self.work.do(items, batch=True)
            self._note(outcomes)
        return len(items)

    async def _take(self) -> list[Item]:
        flow_run_id = self.work.flow_run_id
        assert flow_run_id is not None

        async def write(session: AsyncSession) -> tuple[list[Item], str | None]:
            return await queue.take(session, self.kind, flow_run_id, self.settings.batch_size, self._after)

        for _ in range(_LOOKS):
            with suppress(IntegrityError):  # a single run began one of the keys in this very moment: look again
                items, self._after = await self.work.record(write)
                return items
        return []

    async def _wait(self, seconds: float) -> None:
        """Until somebody says that work came, or something is due, or the time is over."""

        async def read(session: AsyncSession) -> Any:
            return await queue.next_due(session, self.kind, timedelta(seconds=seconds))

        due = await self.work.record(read)
        if due:
            seconds = max(0.0, min(seconds, (due - utc_now()).total_seconds()))
        waits = [asyncio.create_task(one.wait()) for one in (self._wake, self.work.finishing)]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for one in waits:
            one.cancel()

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        connection = await self.work.database.listen()

        def heard(*args: Any) -> None:
            if args[3] in ("", self.kind):
                self._wake.set()

        try:
            await connection.add_listener(WORK_CHANNEL, heard)
            yield
        finally:
            connection.terminate()

    def _note(self, outcomes: Sequence[tuple[Item, Outcome]]) -> None:
        """Count, remember for the artifact, and say aloud what failed."""
        logger = get_run_logger()
        for item, outcome in outcomes:
            self.counts[outcome.status] += 1
            row = {
                "execution": str(item.execution_id),
                "project": item.project.id,
                "workflow": item.workflow_name,
                "status": str(outcome.status),
                "error": outcome.error_message,
            }
            if outcome.status == Status.COMPLETED and len(self.rows) < ARTIFACT_ROWS:
                self.rows.append(row)
            elif outcome.status != Status.COMPLETED:
                self.rows.insert(0, row)
            if outcome.status == Status.FAILED:
                logger.error("%s: %s", item.execution_id, one_line(outcome.error_message), extra=console.TOLD)
            tell_if_failed(item, outcome)
        del self.rows[ARTIFACT_ROWS:]

    def _summary(self) -> str:
        """`137 executions: 136 completed, 1 failed`."""
        parts = ", ".join(f"{number} {status.lower()}" for status, number in sorted(self.counts.items()))
        total = self.counts.total()
        return f"{total} executions: {parts}" if total else "nothing waited"

    async def _tell_prefect(self) -> None:
        """The run's name and its table of items; neither is worth failing for."""
        total = self.counts.total()
        shown = "" if total <= len(self.rows) else f" The table lists {len(self.rows)}, failures first."
        try:
            async with get_client() as client:
                name = f"{self.kind} × {total}"
                await client.update_flow_run(self.identity.prefect_id, name=name, tags={"automation", "batch"})
            if self.rows:
                await create_table_artifact(  # type: ignore[misc]
                    table=self.rows, key=f"{self.kind}-batch", description=self._summary() + "." + shown
                )
        except Exception as error:
            get_run_logger().warning("The batch run could not be described: %s", error)
