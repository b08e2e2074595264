"""Ending the runs of processes that are gone; nothing in Prefect does that."""

import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun as PrefectRun
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed
from prefect.utilities.urls import url_for
from sqlalchemy import and_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.alerting.sightings import RUN_WITHOUT_HEARTBEAT, sighting
from automation.catalog import definitions
from automation.database import Database
from automation.models import Execution, FlowRun, Json, Sighting, utc_now
from automation.prefect_events import EXECUTION, PROJECT, WORKFLOW, prefect_event, related, send
from automation.settings import Settings
from automation.steps import one_line

log = logging.getLogger(__name__)

_HELD = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
_HELD_NAMES = [state.value for state in _HELD]
_TAGS = {"project": PROJECT, "workflow": WORKFLOW, "execution": EXECUTION}
"""What a run carries stands in its tags, as `<role>:<id>`."""


async def reap(database: Database, client: PrefectClient, settings: Settings) -> int:
    """Crash (or cancel, where that was asked) the runs whose lease ran out; how many.

    Their executions follow when the mirror sees the new state.
    """
    async with database.transaction() as session:
        lost = await _lost(session, settings)
    ended = 0
    for row_id, prefect_id in lost:
        ended += await _end(database, client, settings, row_id, prefect_id)
    return ended


async def _lost(session: AsyncSession, settings: Settings) -> list[tuple[UUID, UUID]]:
    """Runs whose lease ran out, and those that never took one; strangers' flows take none once they run."""
    now = utc_now()
    query = (
        select(FlowRun.id, FlowRun.prefect_id)
        .where(
            FlowRun.ended_at.is_(None),
            FlowRun.prefect_id.is_not(None),
            or_(
                FlowRun.lease_until < now,
                and_(
                    FlowRun.lease_until.is_(None),
                    or_(
                        FlowRun.state == "PENDING",
                        and_(FlowRun.state.in_(_HELD_NAMES), FlowRun.kind.in_(definitions())),
                    ),
                    FlowRun.state_at < now - timedelta(seconds=settings.pending_seconds),
                ),
            ),
        )
        .order_by(FlowRun.created_at)
        .limit(100)
    )
    return [(id_, prefect_id) for id_, prefect_id in (await session.execute(query)).tuples() if prefect_id]


async def _end(database: Database, client: PrefectClient, settings: Settings, row_id: UUID, prefect_id: UUID) -> bool:
    """Crash a run, unless a process took it a moment ago and has yet to renew the lease of the one before."""
    try:
        run = await client.read_flow_run(prefect_id)
    except ObjectNotFound:
        return False  # the mirror notes that it vanished
    if run.state is None or run.state.type not in _HELD:
        await _forget_lease(database, row_id)
        return False
    patience = settings.pending_seconds if run.state.is_pending() else settings.lease_seconds
    if utc_now() - run.state.timestamp < timedelta(seconds=patience):
        return False
    lost: State[Any] = Crashed(message="Its worker is gone (lease expired).")
    state = Cancelled() if run.state.is_cancelling() else lost
    await client.set_flow_run_state(prefect_id, state, force=True)
    log.warning("Flow run %s (%s) was lost and is now %s.", one_line(run.name), prefect_id, state.name)
    async with database.transaction() as session:
        carried = await session.scalar(select(Execution.id).where(Execution.flow_run_id == row_id).limit(1))
        session.add(_lost_sighting(run, carried))
    await send(client, [_lost_event(run, state)])
    return True


def _lost_sighting(run: PrefectRun, execution_id: UUID | None) -> Sighting:
    address = url_for("flow-run", obj_id=run.id, url_type="ui") or run.id
    return sighting(
        RUN_WITHOUT_HEARTBEAT,
        f"The process of flow run {run.name} gave no sign of life",
        f"What it carried goes on by the retry policy. The run: {address}",
        execution_id=execution_id,
    )


def _lost_event(run: PrefectRun, state: State[Any]) -> Json:
    """`automation.run.lost`, with what the run's tags say that it carried."""
    carried = [tag.split(":", 1) for tag in run.tags if ":" in tag]
    deployment = [related("deployment", f"prefect.deployment.{run.deployment_id}")] if run.deployment_id else []
    return prefect_event(
        "automation.run.lost",
        f"prefect.flow-run.{run.id}",
        run.name,
        related=[*(related(role, _TAGS[role] + id_) for role, id_ in carried if role in _TAGS), *deployment],
        payload={"flow_run_id": str(run.id), "name": one_line(run.name), "state": state.name},
    )


async def _forget_lease(database: Database, row_id: UUID) -> None:
    """The run is not held by a process (it waits, or has ended): there is no lease to watch."""
    async with database.transaction() as session:
        await session.execute(
            update(FlowRun)
            .where(FlowRun.id == row_id, FlowRun.lease_until < utc_now())
            .values(claimed_at=None, lease_until=None)
        )
