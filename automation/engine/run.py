"""Running executions inside a Prefect flow run."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import lru_cache, partial
from itertools import groupby
from typing import Any, TypeVar, cast
from uuid import UUID, uuid5

import sqlalchemy.exc
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun as PrefectRun
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import AwaitingRetry, Cancelled, Completed, Failed
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from automation.catalog import step_type
from automation.database import Database
from automation.engine import claim as claims
from automation.engine import record
from automation.engine.plan import Item, PlannedStep
from automation.engine.record import Outcome
from automation.errors import NotFoundError, RefusedError, SettingError, StepError
from automation.intake import start_workflow
from automation.models import Json, Status, Workflow, utc_now
from automation.settings import Settings, get_settings
from automation.steps import LogLine, StepBatch, StepContext, StepItem, one_line

log = logging.getLogger(__name__)

# Prefect's own flow retries happen inside the process and would hold it; ours are durable (AwaitingRetry).
FLOW_OPTIONS: dict[str, Any] = {"retries": 0, "persist_result": False, "validate_parameters": True}

_BLOCKED_WAIT = 5.0
"""Seconds that a run waits in its process for what has to end first, before it leaves the worker."""

_OUTAGE = 60.0
"""Seconds that the engine goes on trying to record what it did while the database does not answer."""

T = TypeVar("T")


async def run(
    kind: str,
    executions: Sequence[UUID] | None,
    workflow_id: UUID | None,
    trigger_data: Json | None,
) -> State[Any]:
    """Run executions inside the current flow run; every `@flow` of ours is a call of this.

    Args:
        kind: the flow's own kind, for a start without arguments: the platform's workflow of that kind.
        executions: those that a dispatcher or trigger hands over.
        workflow_id, trigger_data: instead of them, a workflow to make an execution of (cron, UI, CLI).

    Returns:
        The state for Prefect: Completed, Failed, Cancelled, or AwaitingRetry when the run goes on later.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RefusedError("The engine runs inside a Prefect flow run only.")
    return await FlowRunner(context.flow_run, kind).run(executions, workflow_id, trigger_data)


class FlowRunner:
    """One flow run at work: what it claimed, and its heartbeat."""

    def __init__(self, flow_run: PrefectRun, kind: str) -> None:
        self.settings = get_settings()
        self.database = process_database()
        self.flow_run = flow_run
        self.kind = kind
        self.flow_run_id: UUID | None = None
        self._working: dict[UUID, list[StepItem]] = {}

    async def run(
        self, executions: Sequence[UUID] | None, workflow_id: UUID | None, trigger_data: Json | None
    ) -> State[Any]:
        if executions is None:
            executions = [await self._start(workflow_id, trigger_data or {})]
        claim = await self._claim(executions)
        await self._name_in_prefect(claim.items)
        if not claim.items:
            return await self._leave(claim)
        async with self._heartbeat(claim.flow_run_id):
            outcomes = await self._work(claim.items)
        return await self._state(outcomes)

    async def _start(self, workflow_id: UUID | None, trigger_data: Json) -> UUID:
        """The execution of a run that cron, the UI or the CLI started; the same one if the run comes again."""

        async def write(session: AsyncSession) -> UUID:
            target = workflow_id or await _platform_workflow(session, self.kind)
            scheduled = self.flow_run.auto_scheduled
            started = await start_workflow(
                session,
                target,
                self.settings,
                trigger_type="SCHEDULED" if scheduled else "API_CALL",
                trigger_data=trigger_data,
                execution_id=uuid5(self.flow_run.id, "execution"),
            )
            return started.id

        return await self._record(write)

    async def _claim(self, executions: Sequence[UUID]) -> claims.Claim:
        identity = claims.RunIdentity(
            self.flow_run.id, self.flow_run.idempotency_key, self.kind, self.flow_run.name
        )
        deadline = asyncio.get_running_loop().time() + _BLOCKED_WAIT
        while True:
            claim = await self._record(
                lambda session: claims.claim(session, identity, executions, self.settings)
            )
            if claim.items or not claim.blocked or asyncio.get_running_loop().time() > deadline:
                return claim
            await asyncio.sleep(0.2)

    async def _leave(self, claim: claims.Claim) -> State[Any]:
        """Nothing to run: either all is taken or done, or it has to wait, which needs no worker."""
        await self._record(lambda session: claims.put_down(session, claim.flow_run_id))
        if claim.blocked:
            return AwaitingRetry(
                scheduled_time=utc_now() + timedelta(seconds=_BLOCKED_WAIT),
                message="Waits for saves of the project, or for another execution of the same key, to end.",
            )
        return Completed(message="Nothing to do: another run has taken these executions, or they have ended.")

    async def _work(self, items: Sequence[Item]) -> list[tuple[Item, Outcome]]:
        """Run the items to their ends, wave by wave: whatever is ready, grouped by step type."""
        while pairs := [(item, step) for item in items for step in item.ready()]:
            if len(items) == 1:
                await self._record(partial(_begin, pairs))
            pairs.sort(key=_by_step)
            groups = [list(group) for _, group in groupby(pairs, key=_by_step)]
            done = [one for group in await asyncio.gather(*map(self._step, groups)) for one in group]
            await self._record(partial(self._checkpoint, done))
        outcomes = [(item, record.outcome_of(item, utc_now())) for item in items]
        await self._record(partial(self._finish, outcomes))
        return outcomes

    async def _step(self, pairs: Sequence[tuple[Item, PlannedStep]]) -> list[tuple[Item, PlannedStep, StepItem]]:
        """Run one step type over the items that are ready for it: one Prefect task run."""
        _, first = pairs[0]
        limit = self.settings.step_soft_time_limit
        work = [StepItem(self._context(item, step), step.config, limit) for item, step in pairs]
        for (item, _), one in zip(pairs, work, strict=True):
            self._working.setdefault(item.execution_id, []).append(one)
        try:
            await cast(Awaitable[object], step_type(first.step_type).task(StepBatch(work), return_state=True))
        except StepError as error:
            for one in work:
                one.error = error
        ended = [(item, step, one) for (item, step), one in zip(pairs, work, strict=True)]
        for item, step, one in ended:
            self._working[item.execution_id].remove(one)
            self._take(item, step, one)
        return ended

    def _take(self, item: Item, step: PlannedStep, work: StepItem) -> None:
        """Note at the item how its step ended."""
        if work.error is None and work.result is None:
            work.error = StepError(f"{step.step_type}: Prefect ran the task without an outcome.")
        error = work.error
        if error is None:
            item.done[step.identifier] = work.result or {}
            line = LogLine("INFO", f"{step.step_type} completed", utc_now(), step.identifier)
        elif step.is_required or error.code == "CANCELLED":
            item.error, item.failed_step = error, step
            line = LogLine("ERROR", one_line(str(error)), utc_now(), step.identifier)
        else:
            item.degraded[step.identifier] = str(error)
            line = LogLine("WARNING", one_line(f"{error} (not required: goes on)"), utc_now(), step.identifier)
        timed = LogLine(line.level, line.message, line.timestamp, line.step_identifier, round(work.duration_ms, 3))
        work.context.lines.append(timed)

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
            settings=self.settings,
            database=self.database,
        )

    async def _checkpoint(
        self, ended: Sequence[tuple[Item, PlannedStep, StepItem]], session: AsyncSession
    ) -> None:
        assert self.flow_run_id is not None
        ours = {item.execution_id for item in await record.still_ours(session, [item for item, _, _ in ended])}
        kept = [one for one in ended if one[0].execution_id in ours]
        await record.steps_ended(session, kept, self.flow_run_id)

    async def _finish(self, outcomes: Sequence[tuple[Item, Outcome]], session: AsyncSession) -> None:
        ours = {item.execution_id for item in await record.still_ours(session, [item for item, _ in outcomes])}
        await record.executions_ended(session, [one for one in outcomes if one[0].execution_id in ours])
        if any(outcome.due_at for _, outcome in outcomes):
            assert self.flow_run_id is not None
            await claims.put_down(session, self.flow_run_id)
        await claims.wake_dispatcher(session)

    async def _state(self, outcomes: Sequence[tuple[Item, Outcome]]) -> State[Any]:
        _, outcome = outcomes[0]
        if retries := [one for _, one in outcomes if one.due_at]:
            first = min(retries, key=lambda one: one.due_at or utc_now())
            return AwaitingRetry(scheduled_time=first.due_at, message=first.error_message)
        if outcome.status == Status.CANCELLED:
            return Cancelled(message=outcome.error_message)
        if outcome.status == Status.FAILED:
            return Failed(message=outcome.error_message)
        return Completed(message=f"{len(outcomes)} executed")

    async def _name_in_prefect(self, items: Sequence[Item]) -> None:
        """A run that Prefect started gets the name and tags by which people look for it."""
        tags = [tag for item in items for tag in run_tags(item.project.id, item.workflow_id, item.execution_id)]
        if not items or set(tags) <= set(self.flow_run.tags):
            return
        try:
            async with get_client() as client:
                await client.update_flow_run(
                    self.flow_run.id, name=items[0].workflow_name, tags={*self.flow_run.tags, *tags}
                )
        except Exception as error:  # noqa: BLE001 (a name is not worth failing for)
            get_run_logger().warning("The flow run could not be named: %s", error)

    @asynccontextmanager
    async def _heartbeat(self, flow_run_id: UUID) -> AsyncIterator[None]:
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
            except (OSError, sqlalchemy.exc.SQLAlchemyError) as error:
                log.warning("The lease could not be renewed: %s", error)
                continue
            if cancelled is None:
                self._cancel(list(self._working), "its flow run was given up as lost")
                return
            self._cancel(cancelled, "cancelled by request")

    def _cancel(self, executions: Sequence[UUID], reason: str) -> None:
        for execution_id in executions:
            for work in self._working.get(execution_id, []):
                work.cancel(reason)

    async def _record(self, write: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Do `write` in a transaction; while the database is away, again, until it is back or a minute is over."""
        deadline = asyncio.get_running_loop().time() + _OUTAGE
        while True:
            try:
                async with self.database.transaction() as session:
                    return await write(session)
            except (OSError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.OperationalError) as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                log.warning("The database does not answer, trying again: %s", error)
                await asyncio.sleep(0.5)


def run_tags(project_id: str | None, workflow_id: UUID, execution_id: UUID) -> list[str]:
    """The tags of a flow run that carries an execution."""
    project = [f"project:{project_id}"] if project_id else []
    return [*project, f"workflow:{workflow_id}", f"execution:{execution_id}"]


async def _platform_workflow(session: AsyncSession, kind: str) -> UUID:
    query = select(Workflow.id).where(Workflow.kind == kind, Workflow.project_id.is_(None))
    found = (await session.execute(query)).scalar_one_or_none()
    if found is None:
        raise NotFoundError(f"Flow {kind!r} has no workflow of the platform; give it `workflow_id` or `executions`.")
    return found


async def _begin(pairs: Sequence[tuple[Item, PlannedStep]], session: AsyncSession) -> None:
    """Show steps as RUNNING, unless the execution was taken from us."""
    ours = {item.execution_id for item in await record.still_ours(session, [item for item, _ in pairs])}
    await record.steps_begun(session, [pair for pair in pairs if pair[0].execution_id in ours])


def _by_step(pair: tuple[Item, PlannedStep]) -> tuple[str, str]:
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
