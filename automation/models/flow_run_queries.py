"""Questions about flow runs."""

from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from automation.models.base import utc_now
from automation.models.flow_run import FlowRun


async def is_held(session: AsyncSession, prefect_id: UUID) -> bool:
    """Whether a living process has the run; uq_flow_runs_prefect_id."""
    held = exists().where(FlowRun.prefect_id == prefect_id, FlowRun.lease_until > utc_now())
    return bool((await session.execute(select(held))).scalar())
