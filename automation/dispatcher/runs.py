"""Flow runs that exist in Prefect and have to be told something: go on, stop, or end, since nobody needs them more."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from httpx import HTTPStatusError
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling, Scheduled
from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.database import Database
from automation.models import FINAL, OPEN, Execution, FlowRun, Status, utc_now

log = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=2)
"""A step that somebody cancelled is told by its engine within a second; then Prefect, whose worker kills in the end."""
_AT_ONCE = 50

Run = tuple[UUID, UUID]
"""Our id of a flow run, and Prefect's."""


async def tend(database: Database, client: PrefectClient) -> int:
    """Tell Prefect what it has to know of its runs; how many it was told of."""
    async with database.transaction() as session:
        resumable, needless, hanging = await _resumable(session), await _needless(session), await _hanging(session)
        doomed = await _doomed(session)
    for run in resumable:
        await _resume(database, client, run)
    for run in doomed:
        await _hurry(database, client, run)
    for _, prefect_id in needless:
        await _set(client, prefect_id, Cancelled(message="Its execution was cancelled while it waited."))
    for _, prefect_id in hanging:
        await _set(client, prefect_id, Cancelling(message="Its execution is to be cancelled."))
    return len(resumable) + len(doomed) + len(needless) + len(hanging)


async def _resumable(session: AsyncSession) -> Sequence[Run]:
    """Suspended runs whose execution may go on; ix_flow_runs_open."""
    due = (Execution.status.in_((Status.PENDING, Status.RETRYING)), Execution.due_at <= utc_now())
    carries = exists().where(Execution.flow_run_id == FlowRun.id, *due)
    return await _runs(session, FlowRun.state == "PAUSED", carries)


async def _doomed(session: AsyncSession) -> Sequence[Run]:
    """Runs that wait for another try of an execution that has nothing left but to be undone, now."""
    ending = (Execution.flow_run_id == FlowRun.id, Execution.ending != "", Execution.status == Status.RETRYING)
    waits = (FlowRun.state_name == "AwaitingRetry", FlowRun.claimed_at.is_(None))
    return await _runs(session, *waits, exists().where(*ending))


async def _needless(session: AsyncSession) -> Sequence[Run]:
    """Suspended runs, and such as wait for another try, whose executions have ended: somebody cancelled them."""
    open_ = exists().where(Execution.flow_run_id == FlowRun.id, Execution.status.in_(OPEN))
    ended = exists().where(Execution.flow_run_id == FlowRun.id, Execution.status.in_(FINAL))
    waits = (FlowRun.state == "PAUSED") | (FlowRun.state_name == "AwaitingRetry")
    return await _runs(session, FlowRun.mode == "single", waits, ended, ~open_)


async def _hanging(session: AsyncSession) -> Sequence[Run]:
    """Single runs at work whose execution was cancelled a while ago, and which Prefect takes to be running."""
    under_way = (Execution.flow_run_id == FlowRun.id, Execution.status == Status.RUNNING, Execution.ending == "")
    asked = exists().where(*under_way, Execution.cancel_requested_at < utc_now() - PATIENCE)
    others = exists().where(*under_way, Execution.cancel_requested_at.is_(None))
    return await _runs(session, FlowRun.mode == "single", FlowRun.state == "RUNNING", asked, ~others)


async def _runs(session: AsyncSession, *conditions: Any) -> Sequence[Run]:
    query = select(FlowRun.id, FlowRun.prefect_id).where(FlowRun.ended_at.is_(None), *conditions)
    rows = (await session.execute(query.order_by(FlowRun.created_at).limit(_AT_ONCE))).tuples()
    return [(id_, prefect_id) for id_, prefect_id in rows if prefect_id]


async def _resume(database: Database, client: PrefectClient, run: Run) -> None:
    id_, prefect_id = run
    try:
        answer = await client.resume_flow_run(prefect_id)
    except ObjectNotFound:
        answer = None
    except HTTPStatusError as error:
        log.warning("Flow run %s could not be resumed, trying again: %s", prefect_id, error)
        return
    # whoever is told so by the mirror later: it is no longer suspended, or it is gone
    async with database.transaction() as session:
        if answer is None:
            await session.execute(update(Execution).where(Execution.flow_run_id == id_).values(flow_run_id=None))
        elif answer.status == SetStateStatus.ACCEPT:
            await session.execute(update(FlowRun).where(FlowRun.id == id_).values(state="SCHEDULED"))


async def _hurry(database: Database, client: PrefectClient, run: Run) -> None:
    id_, prefect_id = run
    await _set(client, prefect_id, Scheduled(message="Its execution was cancelled: what it did is undone now."))
    async with database.transaction() as session:  # it is told once; the mirror says what became of it
        await session.execute(update(FlowRun).where(FlowRun.id == id_).values(state_name="Scheduled"))


async def _set(client: PrefectClient, prefect_id: UUID, state: State[Any]) -> None:
    try:
        await client.set_flow_run_state(prefect_id, state, force=True)
    except ObjectNotFound:
        return  # the mirror notes that it vanished
    except HTTPStatusError as error:
        log.warning("Flow run %s could not be told to be %s: %s", prefect_id, state.name, error)
