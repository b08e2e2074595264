"""Questions about flow runs."""

from uuid import UUID

from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.models.base import utc_now
from automation.models.flow_run import FlowRun


async def is_held(session: AsyncSession, prefect_id: UUID) -> bool:
    """Whether a living process has the run; uq_flow_runs_prefect_id."""
    held = exists().where(FlowRun.prefect_id == prefect_id, FlowRun.lease_until > utc_now())
    return bool((await session.execute(select(held))).scalar())


async def note_lost(session: AsyncSession, prefect_id: UUID, code: str) -> None:
    """Why the worker killed the process of a run, as an error code; uq_flow_runs_prefect_id."""
    await session.execute(update(FlowRun).where(FlowRun.prefect_id == prefect_id).values(lost_code=code))
