"""Giving the work pool another type, which Prefect cannot: a new pool under the old name.

The deployments move to a pool that nobody serves, the old pool goes, the new one comes, and they move back with
their queues and schedules. Prefect itself knows at each moment where every deployment belongs, so that what a
deploy that died has left over, the next one finishes.
"""

import asyncio
import time
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed, Scheduled

from automation.database import Database
from automation.errors import UnavailableError
from automation.models import utc_now
from automation.models.flow_run_queries import is_held
from automation.settings import WORK_POOL, Settings
from automation.worker import ours

HOLDING = f"{WORK_POOL}-upgrade"
DRAIN = 300.0
"""Seconds that runs under way may take to end; as long as a step may take."""
_PAGE = 200


async def clear_away(client: PrefectClient, settings: Settings, pool_type: str) -> None:
    """Let the pool run dry, and delete it when its deployments are safe.

    Raises:
        UnavailableError: runs are under way still; the pool is as it was.
    """
    await client.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=True))
    try:
        await _drain(client, settings)
    except BaseException:
        await client.update_work_pool(WORK_POOL, WorkPoolUpdate(is_paused=False))
        raise
    if not await _exists(client, HOLDING):
        await client.create_work_pool(WorkPoolCreate(name=HOLDING, type=pool_type, is_paused=True))
    await _move(client, WORK_POOL, HOLDING)


async def take_back(client: PrefectClient) -> None:
    """Bring what was cleared away into the new pool; does nothing when nothing was."""
    if await _exists(client, HOLDING):
        await _move(client, HOLDING, WORK_POOL)


async def _drain(client: PrefectClient, settings: Settings) -> None:
    """Wait for the runs under way, and end those whose process is gone."""
    assert settings.database_url is not None
    database = Database(settings.database_url, pool_size=1)
    deadline = time.monotonic() + DRAIN
    held = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    try:
        while True:
            runs = await _runs(client, WORK_POOL, held)
            living = [run for run in runs if await _lives(client, database, run, settings)]
            if not living:
                break
            if time.monotonic() > deadline:
                names = ", ".join(sorted(run.name for run in living[:10]))
                raise UnavailableError(
                    f"Work pool {WORK_POOL!r} gets another type, but {len(living)} runs are under way still "
                    f"({names}): wait for them, or cancel them, and deploy again."
                )
            await asyncio.sleep(1)
    finally:
        await database.close()
    for run in runs:
        cancelling = run.state is not None and run.state.is_cancelling()
        state: State[Any] = Cancelled() if cancelling else Crashed(message="Its worker is gone.")
        await client.set_flow_run_state(run.id, state, force=True)


async def _lives(client: PrefectClient, database: Database, run: FlowRun, settings: Settings) -> bool:
    """Whether a process has the run: by its lease; of one that has none yet, or never will, by its state."""
    assert run.state is not None
    async with database.transaction() as session:
        if await is_held(session, run.id):
            return True
    if run.deployment_id:
        deployment = await client.read_deployment(run.deployment_id)
        if ours.entrypoint(deployment, run, ours.packages()) is None:
            return True
    limit = settings.pending_seconds if run.state.is_pending() else settings.lease_seconds
    return (utc_now() - run.state.timestamp).total_seconds() < limit


async def _move(client: PrefectClient, source: str, target: str) -> None:
    """Queues, deployments with their schedules, and runs that wait; then the source is deleted."""
    there = {queue.name for queue in await client.read_work_queues(work_pool_name=target)}
    for queue in await client.read_work_queues(work_pool_name=source):
        if queue.name not in there:
            await client.create_work_queue(
                name=queue.name,
                description=queue.description,
                is_paused=queue.is_paused,
                concurrency_limit=queue.concurrency_limit,
                priority=queue.priority,
                work_pool_name=target,
            )
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[source]))
    while deployments := await client.read_deployments(work_pool_filter=pool, limit=_PAGE):
        for one in deployments:
            update = DeploymentUpdate(work_pool_name=target, work_queue_name=one.work_queue_name)
            await client.update_deployment(one.id, update)
    for run in await _runs(client, source, [StateType.SCHEDULED]):
        await _reissue(client, run)
    await client.delete_work_pool(source)


async def _reissue(client: PrefectClient, run: FlowRun) -> None:
    """A waiting run keeps its queue for ever. What it carries is dispatched anew; else a copy takes its place."""
    due = run.next_scheduled_start_time
    if run.auto_scheduled and due and due > utc_now():
        return  # Prefect's scheduler makes it again
    if run.deployment_id and not (run.parameters.get("executions") or run.parameters.get("batch")):
        await client.create_flow_run_from_deployment(
            run.deployment_id,
            parameters=run.parameters,
            state=Scheduled(scheduled_time=due),
            name=run.name,
            tags=run.tags,
            job_variables=run.job_variables,
        )
    await client.set_flow_run_state(run.id, Crashed(message="Its work pool was replaced."), force=True)


async def _runs(client: PrefectClient, pool: str, types: list[StateType]) -> list[FlowRun]:
    """The pool's runs in states of these types."""
    chosen = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types)))
    named = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    runs: list[FlowRun] = []
    while page := await client.read_flow_runs(
        flow_run_filter=chosen, work_pool_filter=named, limit=_PAGE, offset=len(runs)
    ):
        runs += page
    return runs


async def _exists(client: PrefectClient, pool: str) -> bool:
    try:
        await client.read_work_pool(pool)
    except ObjectNotFound:
        return False
    return True
