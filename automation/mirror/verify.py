"""Is the mirror true? Counts of everything in our tables that does not agree with Prefect."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from automation.database import Database
from automation.errors import WorkerLostError
from automation.mirror import states
from automation.models import FINAL, OPEN, Execution, FlowRun, Status, StepExecution, utc_now

_PAGE = 500
INFORMATION = "crashed_after_commit"

# Prefect's state type → what an execution of such a run may be.
AGREES: dict[str, tuple[Status, ...]] = {
    "COMPLETED": (Status.COMPLETED,),
    "FAILED": (Status.FAILED,),
    "CANCELLED": (Status.CANCELLED,),
}

_AGAIN = 3.0
"""Seconds after which what looked wrong is looked at again: the mirror is a second behind by design, so on an
installation at work something always differs for a moment; what differs twice is wrong."""

Findings = dict[str, set[UUID]]


async def count(database: Database, client: PrefectClient, since: datetime | None = None) -> dict[str, int]:
    """Count what is wrong; every figure is 0 when all is well, after whatever crash.

    Args:
        since: look only at runs that were made after it; all that retention has left when None.

    Returns:
        `states`: runs whose state differs from Prefect's; `unfinished`: unfinished executions that point to
        an ended run; `untouched`: ended runs with an execution that nobody touched; `outcomes`: single runs
        whose execution ended otherwise than the run. `crashed_after_commit` is for information: runs that
        Prefect saw crash or cancelled after the engine had committed the outcome.
    """
    since = since or utc_now() - timedelta(days=3650)
    found = await _look(database, client, since)
    if any(found[name] for name in found if name != INFORMATION):
        await asyncio.sleep(_AGAIN)
        again = await _look(database, client, since)
        found = {name: ids & again[name] if name != INFORMATION else again[name] for name, ids in found.items()}
    return {name: len(ids) for name, ids in found.items()}


def wrong(counts: dict[str, int]) -> int:
    """The number of things that are wrong."""
    return sum(number for name, number in counts.items() if name != INFORMATION)


async def _look(database: Database, client: PrefectClient, since: datetime) -> Findings:
    async with database.transaction() as session:
        found: Findings = {
            "states": set(),
            "unfinished": set(await _unfinished(session, since)),
            "untouched": set(await _untouched(session, since)),
            "outcomes": set(),
            INFORMATION: set(),
        }
        rows = await _runs(session, since)
        for id_, state, status, code in await _outcomes(session, since):
            if state == "CRASHED" and code == WorkerLostError.code:
                continue  # given up after too many crashes, as it should be
            if state == "CRASHED" or (state == "CANCELLED" and status != Status.CANCELLED):
                found[INFORMATION].add(id_)
            elif status not in AGREES.get(state, (status,)):
                found["outcomes"].add(id_)
    for start in range(0, len(rows), _PAGE):
        page = rows[start : start + _PAGE]
        theirs = {run.id: run for run in await states.read_by_id(client, [id_ for id_, _ in page])}
        found["states"] |= {
            id_ for id_, state in page if (run := theirs.get(id_)) and run.state and run.state.type.value != state
        }
    return found


async def _runs(session: AsyncSession, since: datetime) -> Sequence[tuple[UUID, str]]:
    """Runs that Prefect should still have: a run that vanished while open is DELETED with us."""
    query = (
        select(FlowRun.prefect_id, FlowRun.state)
        .where(FlowRun.prefect_id.is_not(None), FlowRun.created_at >= since, FlowRun.state != "DELETED")
        .order_by(FlowRun.created_at)
    )
    return [(id_, state) for id_, state in (await session.execute(query)).tuples() if id_]


async def _unfinished(session: AsyncSession, since: datetime) -> Sequence[UUID]:
    query = (
        select(Execution.id)
        .join(FlowRun, FlowRun.id == Execution.flow_run_id)
        .where(Execution.status.in_(OPEN), FlowRun.ended_at.is_not(None), Execution.created_at >= since)
    )
    return (await session.execute(query)).scalars().all()


async def _untouched(session: AsyncSession, since: datetime) -> Sequence[UUID]:
    touched = exists().where(StepExecution.execution_id == Execution.id)
    query = (
        select(Execution.id)
        .join(FlowRun, FlowRun.id == Execution.flow_run_id)
        .where(
            FlowRun.ended_at.is_not(None),
            Execution.created_at >= since,
            Execution.status == Status.COMPLETED,
            ~touched,
        )
    )
    return (await session.execute(query)).scalars().all()


async def _outcomes(session: AsyncSession, since: datetime) -> Sequence[tuple[UUID, str, str, str]]:
    """Execution, state and status of runs that ended and carried one execution, which has ended, too."""
    other = aliased(Execution)
    query = (
        select(Execution.id, FlowRun.state, Execution.status, Execution.error_code)
        .join(Execution, Execution.flow_run_id == FlowRun.id)
        .where(
            FlowRun.mode == "single",
            ~exists().where(other.flow_run_id == FlowRun.id, other.id != Execution.id),
            FlowRun.ended_at.is_not(None),
            Execution.status.in_(FINAL),
            Execution.created_at >= since,
        )
    )
    return (await session.execute(query)).tuples().all()
