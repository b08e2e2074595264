"""Executing items wave by wave, each wave one Prefect task run per step type, and recording what they did."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import lru_cache, partial
from itertools import groupby
from random import random
from time import monotonic
from typing import TypeVar, cast
from uuid import UUID

import asyncpg
import sqlalchemy.exc
from sqlalchemy.ext.asyncio import AsyncSession

from automation import tracing
from automation.catalog import step_type
from automation.database import Database
from automation.engine import claim as claims
from automation.engine import console, ending, record, rollback, vitals
from automation.engine.context import is_wanted, rendered
from automation.engine.plan import Item, PlannedStep
from automation.engine.progress import Progress
from automation.engine.record import Outcome, outcome_of
from automation.errors import (
    CancelledError,
    SettingError,
    StepError,
    StepTimeoutError,
    ValidationError,
    WorkflowTimeoutError,
    as_step_error,
)
from automation.models import Status, utc_now
from automation.settings import Settings, get_settings
from automation.steps import StepBatch, StepContext, StepItem

log = logging.getLogger(__name__)

_OUTAGE = 60.0
"""Seconds that the engine goes on trying to record what it did while the database does not answer."""

_CHECKPOINT = 1.0
"""Seconds of work of a batch that may wait to be recorded: a fast batch is recorded once, not wave by wave."""

_OUR_FAULT = (sqlalchemy.exc.IntegrityError, sqlalchemy.exc.DataError, sqlalchemy.exc.ProgrammingError)
"""Errors that come again however often a statement is repeated. All others may be an outage: asyncpg's have no
class in common that says so."""

_BY_REQUEST = "cancelled by request"

Pair = tuple[Item, PlannedStep]
Ended = tuple[Item, PlannedStep, StepItem]
T = TypeVar("T")


class Work:
    """The executions in the hands of one flow run, and its heartbeat."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.flow_run_id: UUID | None = None
        self._working: dict[UUID, list[StepItem]] = {}
        self._cancelled: set[UUID] = set()
        self._deadlines: dict[UUID, float] = {}
        self._progress = Progress(database)
        self.stopped: str | None = None
        self.finishing = asyncio.Event()

    def stop(self, reason: str) -> None:
        """Cancel everything that is under way, and begin no further step."""
        self.stopped = reason
        self._cancel(list(self._working), reason)

    def finish(self) -> None:
        """Take nothing more on, and end."""
        self.finishing.set()

    async def do(self, items: Sequence[Item], *, batch: bool = False) -> list[tuple[Item, Outcome]]:
        """Run items as far as they can go: wave by wave whatever is ready, grouped by step type.

        A single item is recorded step by step, for those who watch; a batch once a second and at its end. An item
        that failed for good is rolled back before that is recorded.
        """
        with tracing.executed(items, batch=batch):
            return await self._do(items, batch)

    async def _do(self, items: Sequence[Item], batch: bool) -> list[tuple[Item, Outcome]]:
        unrecorded: list[Ended] = []
        began = recorded_at = monotonic()
        self._deadlines = {one.execution_id: began + self.settings.workflow_timeout - one.ran_seconds for one in items}
        for item in items:
            for step, error in item.unwaited:
                unrecorded.append((item, step, self._never_came(item, step, error)))
        while pairs := [(item, step) for item in items for step in self._next(item, batch)]:
            if not batch:
                self._cancelled |= await self.record(partial(_begin, pairs))
            for item in items:
                self._check(item)
            pairs = [(item, step) for item, step in pairs if not item.error]
            unrecorded += await self._wave(pairs, self._step if batch else self._recorded_step)
            if unrecorded and monotonic() - recorded_at > _CHECKPOINT:
                await self.record(partial(self._checkpoint, unrecorded))
                unrecorded, recorded_at = [], monotonic()
        for item in items:
            item.ran_seconds += monotonic() - began
        outcomes = [(one, outcome_of(one, utc_now(), self.settings.retry_config, random())) for one in items]  # noqa: S311
        if doomed := [(item, outcome) for item, outcome in outcomes if is_to_be_undone(item, outcome)]:
            await self.record(partial(self._checkpoint, unrecorded))
            unrecorded = []
            await self._undo(doomed)
        await self.record(partial(self._finish, unrecorded, outcomes, batch))
        return outcomes

    async def _undo(self, doomed: Sequence[tuple[Item, Outcome]]) -> None:
        """Roll back those of these items that are still ours, their end written before."""
        ours = await self.record(partial(_decide, doomed))
        for item, _ in doomed:
            if item.execution_id in ours:
                vitals.step_began(self.settings.step_hard_time_limit)
                await rollback.undo(item, self._context, self._undone)
        vitals.step_ended()

    async def _undone(self, undone: Ended) -> None:
        item, step, work = undone
        console.say(item, step, work.context.lines)

        async def write(session: AsyncSession) -> None:
            assert self.flow_run_id is not None
            if await record.still_ours(session, [undone[0]]):
                await record.step_undone(session, undone, self.flow_run_id)

        await self.record(write)

    def _next(self, item: Item, batch: bool) -> list[PlannedStep]:
        """The steps of an item that are ready, and wanted; those that are not wanted are skipped on the way."""
        while ready := item.ready():
            wanted = [step for step in ready if not step.conditions or is_wanted(item, step)]
            if batch and any(map(_may_wait, wanted)):
                item.leaves = True  # before any step of this wave: the single run does them all
                return []
            if wanted:
                return wanted
        return []

    def _check(self, item: Item) -> None:
        """Fail an item that is to stop, or that has run too long."""
        if self.stopped or item.execution_id in self._cancelled:
            item.error = item.error or CancelledError(self.stopped or _BY_REQUEST)
        elif monotonic() > self._deadlines[item.execution_id]:
            item.error = item.error or WorkflowTimeoutError(self._too_long())

    def _too_long(self) -> str:
        return f"the workflow ran longer than its {self.settings.workflow_timeout:g} s (WORKFLOW_TIMEOUT)"

    async def _wave(self, pairs: list[Pair], run: Callable[[Sequence[Pair]], Awaitable[list[Ended]]]) -> list[Ended]:
        pairs.sort(key=_by_step)
        groups = [list(group) for _, group in groupby(pairs, key=_by_step)]
        vitals.step_began(self.settings.step_hard_time_limit)
        ended = await asyncio.gather(*map(run, groups), return_exceptions=True)  # none is left alone
        vitals.step_ended()
        if failed := [one for one in ended if isinstance(one, BaseException)]:
            raise failed[0]
        return [one for group in ended if not isinstance(group, BaseException) for one in group]

    async def _recorded_step(self, pairs: Sequence[Pair]) -> list[Ended]:
        """The same, recorded when it ends and not when those beside it do; nothing is left to be recorded."""
        await self.record(partial(self._checkpoint, await self._step(pairs)))
        return []

    async def _step(self, pairs: Sequence[Pair]) -> list[Ended]:
        """Run one step type over the items that are ready for it: one Prefect task run."""
        _, first = pairs[0]
        work = [self._work_of(item, step) for item, step in pairs]
        for (item, _), one in zip(pairs, work, strict=True):
            self._working.setdefault(item.execution_id, []).append(one)
        try:
            await cast(Awaitable[object], step_type(first.step_type).task(StepBatch(work), return_state=True))
        except Exception as error:  # the type is not known, or Prefect could not begin the task: nobody's else
            for one in work:
                one.error = one.error or (as_step_error(error) if one.result is None and not one.waiting else None)
        ended = [(item, step, one) for (item, step), one in zip(pairs, work, strict=True)]
        for item, step, one in ended:
            self._working[item.execution_id].remove(one)
            if not self._working[item.execution_id]:
                del self._working[item.execution_id]
            if isinstance(one.error, StepTimeoutError) and monotonic() >= self._deadlines[item.execution_id]:
                one.error = WorkflowTimeoutError(self._too_long())
            item.take(step, one)
            console.say(item, step, one.context.lines)
        return ended

    def _work_of(self, item: Item, step: PlannedStep) -> StepItem:
        limit = min(
            step.options.timeout_seconds or self.settings.step_soft_time_limit,
            self.settings.step_soft_time_limit,
            self._deadlines[item.execution_id] - monotonic(),
        )
        config = partial(rendered, item, step) if step.templated else step.config
        return StepItem(self._context(item, step), config, limit)

    def _never_came(self, item: Item, step: PlannedStep, error: StepError) -> StepItem:
        """The outcome of a step whose wait ended otherwise than it should."""
        work = StepItem(self._context(item, step), step.config, 0.0, error=error)
        item.take(step, work)
        return work

    def _context(self, item: Item, step: PlannedStep) -> StepContext:
        return StepContext(
            execution_id=item.execution_id,
            workflow_id=item.workflow_id,
            workflow_name=item.workflow_name,
            identifier=step.identifier,
            project=item.project,
            trigger_type=item.trigger_type,
            event_type=item.event_type,
            trigger_data=item.trigger_data,
            occurred_at=item.occurred_at,
            results=dict(item.done),
            attempt=item.attempt,
            depth=item.depth,
            generation=item.generation,
            is_required=step.is_required,
            order=step.order,
            origin=item.origin,
            settings=self.settings,
            database=self.database,
        )

    async def _checkpoint(self, ended: Sequence[Ended], session: AsyncSession) -> None:
        ours = await record.still_ours(session, [item for item, _, _ in ended])
        assert self.flow_run_id is not None
        await record.steps_ended(session, [one for one in ended if one[0].execution_id in ours], self.flow_run_id)

    async def _finish(
        self,
        ended: Sequence[Ended],
        outcomes: Sequence[tuple[Item, Outcome]],
        batch: bool,
        session: AsyncSession,
    ) -> None:
        assert self.flow_run_id is not None
        ours = await record.still_ours(session, [item for item, _ in outcomes])
        await record.steps_ended(session, [one for one in ended if one[0].execution_id in ours], self.flow_run_id)
        kept = [one for one in outcomes if one[0].execution_id in ours]
        await record.executions_ended(session, kept, self.settings, batch=batch)
        retried = any(not outcome.is_final for _, outcome in outcomes)
        if not batch and not all(outcome.is_final for _, outcome in outcomes):
            await claims.put_down(session, self.flow_run_id)
        if retried or not batch:  # what waited for one of these may be due
            await claims.wake(session, "")

    @asynccontextmanager
    async def heartbeat(self, flow_run_id: UUID) -> AsyncIterator[None]:
        """Renew the lease while the block runs, and stop steps that somebody cancelled."""
        self.flow_run_id = flow_run_id
        beat = asyncio.create_task(self._beat(flow_run_id))
        try:
            yield
        finally:
            beat.cancel()
            with suppress(asyncio.CancelledError):
                await beat

    async def _beat(self, flow_run_id: UUID) -> None:
        while True:
            await asyncio.sleep(min(1.0, self.settings.lease_seconds / 3))
            try:
                async with self.database.transaction() as session:
                    cancelled = await claims.renew_lease(session, flow_run_id, self.settings)
            except (OSError, asyncpg.PostgresError, sqlalchemy.exc.SQLAlchemyError) as error:
                log.warning("The lease could not be renewed: %s", error)
                continue
            if cancelled is None:
                self.stop("its flow run was given up as lost")
                return
            self._cancelled |= set(cancelled)
            self._cancel(cancelled, _BY_REQUEST)
            await self._progress.show(work for several in self._working.values() for work in several)

    def _cancel(self, executions: Sequence[UUID], reason: str) -> None:
        for execution_id in executions:
            for work in self._working.get(execution_id, []):
                work.cancel(reason)

    async def record(self, write: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Do `write` in a transaction; while the database is away, again, until it is back or a minute is over."""
        deadline = monotonic() + _OUTAGE
        while True:
            try:
                async with self.database.transaction() as session:
                    return await write(session)
            except (OSError, asyncpg.PostgresError, sqlalchemy.exc.DBAPIError) as error:
                if isinstance(error, _OUR_FAULT) or monotonic() > deadline:
                    raise
                log.warning("The database does not answer, trying again: %s", error)
                await asyncio.sleep(0.5)


def is_to_be_undone(item: Item, outcome: Outcome) -> bool:
    """Whether an item has failed for good, or was cancelled, and has done what can be undone."""
    return outcome.status in (Status.FAILED, Status.CANCELLED) and bool(rollback.undoable(item))


async def _decide(doomed: Sequence[tuple[Item, Outcome]], session: AsyncSession) -> set[UUID]:
    """Record how items are to end; which of them are still ours."""
    ours = await record.still_ours(session, [item for item, _ in doomed])
    await ending.decide(
        session,
        [
            (item.execution_id, outcome.status, outcome.error_message, outcome.error_code, outcome.failed_step)
            for item, outcome in doomed
            if item.execution_id in ours and not item.ending
        ],
    )
    return ours


async def _begin(pairs: Sequence[Pair], session: AsyncSession) -> set[UUID]:
    """Show steps as RUNNING, unless the execution was taken from us; the executions that are to be cancelled."""
    ours = await record.still_ours(session, [item for item, _ in pairs])
    cancelled = await record.cancel_requested(session, ours)
    begun = [pair for pair in pairs if pair[0].execution_id in ours - cancelled]
    await record.steps_begun(session, begun)
    return cancelled


def _may_wait(step: PlannedStep) -> bool:
    try:
        return step_type(step.step_type).waits
    except ValidationError:
        return False  # it fails when it is run, and says so


def _by_step(pair: Pair) -> tuple[str, str]:
    return pair[1].step_type, pair[1].identifier


@lru_cache
def process_database() -> Database:
    """The connection pool of a process that runs flows.

    Raises:
        SettingError: AUTOMATION_DATABASE_URL is not set.
    """
    settings = get_settings()
    if settings.database_url is None:
        raise SettingError("AUTOMATION_DATABASE_URL is not set; a flow run needs it (see `automation env`).")
    return Database(settings.database_url, pool_size=2)
