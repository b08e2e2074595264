"""Copying what Prefect says of flow runs into `flow_runs`."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun as PrefectRun
from prefect.client.schemas.sorting import FlowRunSort
from sqlalchemy import and_, delete, exists, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from automation.models import OPEN, Execution, FlowRun, MirrorCursor, utc_now
from automation.settings import WORK_POOL

OVERLAP = timedelta(seconds=60)
"""How far a window reaches back behind the last one: clocks differ, and commits come out of order."""
ORPHAN_AFTER = timedelta(minutes=5)
_PAGE = 200
_SHORT = 50
"""Characters of a kind or a state's name that we keep; strangers' flows may call theirs what they like."""

Runs = list[PrefectRun]


async def open_ids(session: AsyncSession, *, waiting: bool = True) -> list[UUID]:
    """Prefect's ids of the runs that have not ended as far as we know; ix_flow_runs_open.

    Args:
        waiting: also those that others made (cron, Prefect's UI) and that nobody has begun.
    """
    query = select(FlowRun.prefect_id).where(FlowRun.ended_at.is_(None), FlowRun.prefect_id.is_not(None))
    if not waiting:
        query = query.where(or_(FlowRun.idempotency_key.is_not(None), FlowRun.claimed_at.is_not(None)))
    return [id_ for id_ in (await session.execute(query)).scalars() if id_]


async def read_by_id(client: PrefectClient, ids: Sequence[UUID]) -> Runs:
    """These runs as Prefect has them now; one that somebody deleted is missing."""
    found: Runs = []
    for start in range(0, len(ids), _PAGE):
        chosen = FlowRunFilter(id=FlowRunFilterId(any_=list(ids[start : start + _PAGE])))
        found += await client.read_flow_runs(flow_run_filter=chosen, limit=_PAGE)
    return found


async def read_started(client: PrefectClient, since: datetime, until: datetime) -> AsyncIterator[Runs]:
    """Pages of the pool's runs that were to start in a window, whoever made them."""
    window = FlowRunFilterExpectedStartTime(after_=since, before_=until)
    async for page in _pages(client, FlowRunFilter(expected_start_time=window), FlowRunSort.EXPECTED_START_TIME_ASC):
        yield page


async def read_ended(client: PrefectClient, since: datetime, until: datetime) -> AsyncIterator[Runs]:
    """Pages of the pool's runs that ended in a window."""
    window = FlowRunFilterEndTime(after_=since, before_=until)
    async for page in _pages(client, FlowRunFilter(end_time=window), FlowRunSort.END_TIME_DESC):
        yield page


async def _pages(client: PrefectClient, chosen: FlowRunFilter, sort: FlowRunSort) -> AsyncIterator[Runs]:
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[WORK_POOL]))
    offset = 0
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=chosen, work_pool_filter=pool, sort=sort, limit=_PAGE, offset=offset
        )
        if page:
            yield page
        if len(page) < _PAGE:
            return
        offset += _PAGE


async def store(session: AsyncSession, runs: Iterable[PrefectRun], kinds: dict[UUID, str]) -> None:
    """Bring our rows in line with what Prefect says; runs that we did not know get a row.

    Args:
        kinds: names of Prefect's flows by flow id.
    """
    runs = [run for run in runs if run.state is not None]
    if not runs:
        return
    known = await _known(session, runs)
    unknown = []
    for run in runs:
        row = known.get(run.id) or known.get(run.idempotency_key)
        values = _values(run)
        if row is None:
            kind = kinds.get(run.flow_id, "")[:_SHORT]
            unknown.append({"id": uuid4(), "kind": kind, "prefect_id": run.id, **values})
        elif any(getattr(row, name) != value for name, value in values.items()) or row.prefect_id is None:
            row.prefect_id = run.id
            row.logs_done = row.logs_done and row.ended_at == values["ended_at"]
            for name, value in values.items():
                setattr(row, name, value)
    if unknown:
        await session.execute(insert(FlowRun).values(unknown).on_conflict_do_nothing())
    await session.flush()


async def _known(session: AsyncSession, runs: Sequence[PrefectRun]) -> dict[Any, FlowRun]:
    """Our rows of these runs by Prefect's id, or, while we have not been told that, by the dispatcher's key.

    Prefect's keys are unique within a flow only; a stranger's run may have any.
    """
    ids = [run.id for run in runs]
    keys = [run.idempotency_key for run in runs if run.idempotency_key]
    query = (
        select(FlowRun)
        .where(
            or_(
                FlowRun.prefect_id.in_(ids),
                and_(FlowRun.prefect_id.is_(None), FlowRun.idempotency_key.in_(keys)),
            )
        )
        .order_by(FlowRun.id)
        .with_for_update(key_share=True)
    )
    return {row.prefect_id or row.idempotency_key: row for row in (await session.execute(query)).scalars()}


def _values(run: PrefectRun) -> dict[str, Any]:
    assert run.state is not None
    return {
        "name": run.name,
        "state": run.state.type.value,
        "state_name": (run.state.name or "")[:_SHORT],
        "state_at": run.state.timestamp,
        "ended_at": (run.end_time or run.state.timestamp) if run.state.is_final() else None,
    }


async def request_cancels(session: AsyncSession, runs: Iterable[PrefectRun]) -> None:
    """Prefect's Cancel button: the engine sees the request at its next heartbeat.

    In a transaction of its own: `store` holds the rows of runs, for which an engine waits that holds executions.
    """
    if prefect_ids := [run.id for run in runs if run.state and run.state.is_cancelling()]:
        rows = select(FlowRun.id).where(FlowRun.prefect_id.in_(prefect_ids))
        await session.execute(
            update(Execution)
            .where(
                Execution.flow_run_id.in_(rows),
                Execution.status.in_(OPEN),
                Execution.cancel_requested_at.is_(None),
            )
            .values(cancel_requested_at=utc_now())
        )


async def vanished(session: AsyncSession, prefect_ids: Sequence[UUID]) -> None:
    """Runs that somebody deleted in Prefect while they were open: they will never end otherwise."""
    if prefect_ids:
        await session.execute(
            update(FlowRun)
            .where(FlowRun.prefect_id.in_(prefect_ids), FlowRun.ended_at.is_(None))
            .values(state="DELETED", state_name="Deleted", state_at=utc_now(), ended_at=utc_now())
        )


async def drop_orphans(session: AsyncSession) -> None:
    """Rows of runs that never came to be, and whose execution went to another run meanwhile."""
    carries = exists().where(Execution.flow_run_id == FlowRun.id, Execution.status.in_(OPEN))
    await session.execute(
        delete(FlowRun).where(
            FlowRun.ended_at.is_(None),
            FlowRun.prefect_id.is_(None),
            FlowRun.created_at < utc_now() - ORPHAN_AFTER,
            ~carries,
        )
    )


async def position(session: AsyncSession, name: str) -> datetime:
    """Where the reading by windows of that name goes on; a new installation begins a day back."""
    query = select(MirrorCursor.position).where(MirrorCursor.name == name)
    return (await session.execute(query)).scalar_one_or_none() or utc_now() - timedelta(days=1)


async def advance(session: AsyncSession, name: str, to: datetime) -> None:
    """The windows of that name are read up to `to`."""
    statement = insert(MirrorCursor).values(id=uuid4(), name=name, position=to)
    await session.execute(statement.on_conflict_do_update(index_elements=[MirrorCursor.name], set_={"position": to}))
