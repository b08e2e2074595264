"""Slots that Prefect's scheduler missed (an outage, an edit, a redeploy, the clocks) run or are recorded as skipped.

A round costs one statement for all triggers, one more when slots have passed, and one question to Prefect when some
of them have no execution.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort
from sqlalchemy import ARRAY, DateTime, Uuid, bindparam, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.database import Database
from automation.engine.slots import trigger_of
from automation.intake import fire_slot
from automation.intake.slots import Skip, skip_slots
from automation.models import Execution, Trigger, Workflow, WorkflowDeployment, utc_now
from automation.schedules.wanted import platform_kinds
from automation.settings import Settings
from automation.triggers.missed import Missed, in_grace, missed, why_skip
from automation.triggers.slots import slot_execution_id
from automation.triggers.types import ScheduledConfig

_PAGE = 200
_OVER = (StateType.COMPLETED, StateType.CANCELLED)
"""Prefect's run of a slot without an execution that ended so was settled: it did nothing, or somebody called it off."""
_BROKEN = (StateType.FAILED, StateType.CRASHED)

Runs = dict[tuple[UUID, datetime], StateType]
"""The state of Prefect's run of each slot, by trigger and slot."""


@dataclass(slots=True)
class Passed:
    """A trigger whose slots have passed since its `last_slot`; `have` their executions already."""

    trigger_id: UUID
    deployment_id: UUID | None
    config: ScheduledConfig
    slots: Missed
    have: set[datetime] = field(default_factory=set)

    @property
    def all(self) -> list[datetime]:
        return [*self.slots.skip, *self.slots.fire]

    @property
    def lack(self) -> list[datetime]:
        return [slot for slot in self.all if slot not in self.have]


async def catch_up(database: Database, prefect: PrefectClient, settings: Settings) -> int:
    """One look at all SCHEDULED triggers; how many slots fired or were skipped here."""
    now = utc_now()
    async with database.transaction() as session:
        passed = await _passed(session, now)
        await _find_executions(session, passed)
    runs = await _runs(prefect, passed)
    settled: dict[UUID, datetime] = {}
    skips: list[Skip] = []
    fired = 0
    for one in passed:
        todo, until = _undecided(one, runs, now)
        if until is not None:
            settled[one.trigger_id] = until
        reasons = {slot: reason for slot in todo if (reason := why_skip(one.config, slot, now))}
        if reasons:
            skips.append(Skip(one.trigger_id, reasons, one.slots.unlisted))
        for slot in todo:
            if slot not in reasons:
                async with database.transaction() as session:  # each alone: firing takes locks of its own
                    await fire_slot(session, one.trigger_id, slot, settings)
                fired += 1
    if skips or settled:
        async with database.transaction() as session:
            await skip_slots(session, skips)
            await _settle(session, settled)
    return fired + sum(len(one.reasons) for one in skips)


async def _passed(session: AsyncSession, now: datetime) -> list[Passed]:
    """Active triggers with slots between their last one and now; ix_triggers_watched."""
    query = (
        select(Trigger.id, Trigger.config, Trigger.last_slot, WorkflowDeployment.deployment_id)
        .join(Workflow, Workflow.id == Trigger.workflow_id)
        .outerjoin(WorkflowDeployment, WorkflowDeployment.workflow_id == Workflow.id)
        .where(
            Trigger.trigger_type == "SCHEDULED",
            Trigger.is_active,
            Trigger.last_slot.is_not(None),
            Workflow.is_active,
            Workflow.archived_at.is_(None),
            Workflow.kind.not_in(platform_kinds()),
        )
    )
    found = []
    for trigger_id, config, last_slot, deployment_id in (await session.execute(query)).tuples():
        parsed = ScheduledConfig.model_construct(**config)  # checked when it was saved
        if last_slot and ((over := missed(parsed, last_slot, now)).fire or over.skip):
            found.append(Passed(trigger_id, deployment_id, parsed, over))
    return found


async def _find_executions(session: AsyncSession, passed: Sequence[Passed]) -> None:
    slots = {slot_execution_id(one.trigger_id, slot): (one, slot) for one in passed for slot in one.all}
    if slots:
        for id_ in await session.scalars(select(Execution.id).where(Execution.id.in_(slots))):
            one, slot = slots[id_]
            one.have.add(slot)


async def _runs(prefect: PrefectClient, passed: Sequence[Passed]) -> Runs:
    """Prefect's runs of the slots that have no execution."""
    deployments = [one.deployment_id for one in passed if one.deployment_id and one.lack]
    slots = [slot for one in passed if one.deployment_id for slot in one.lack]
    if not slots:
        return {}
    chosen = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=sorted(set(deployments))),
        expected_start_time=FlowRunFilterExpectedStartTime(after_=min(slots), before_=max(slots)),
    )
    found: Runs = {}
    offset = 0
    while True:
        page = await prefect.read_flow_runs(
            flow_run_filter=chosen, sort=FlowRunSort.ID_DESC, limit=_PAGE, offset=offset
        )
        for run in page:
            trigger_id = trigger_of(run)
            if trigger_id and run.expected_start_time and run.state_type:
                found[trigger_id, run.expected_start_time] = run.state_type
        if len(page) < _PAGE:
            return found
        offset += _PAGE


def _undecided(one: Passed, runs: Runs, now: datetime) -> tuple[list[datetime], datetime | None]:
    """The slots that are to be decided here, and up to which slot everything is settled then."""
    todo: list[datetime] = []
    until, waits = None, False
    for slot in one.all:
        if slot not in one.have:
            state = runs.get((one.trigger_id, slot))
            comes = state is not None and state not in (*_OVER, *_BROKEN)
            if comes and in_grace(one.config, slot, now):
                waits = True  # its run is on its way
            elif state not in _OVER:
                todo.append(slot)
        if not waits:
            until = slot
    return todo, until


_SETTLE = text("""
    UPDATE triggers SET last_slot = greatest(triggers.last_slot, settled.slot)
    FROM unnest(:ids, :slots) AS settled(id, slot) WHERE triggers.id = settled.id
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)), bindparam("slots", type_=ARRAY(DateTime(timezone=True))))


async def _settle(session: AsyncSession, settled: dict[UUID, datetime]) -> None:
    """Move `last_slot` on; an edit that set it meanwhile is not undone."""
    if settled:
        ids = sorted(settled)
        await session.execute(_SETTLE, {"ids": ids, "slots": [settled[id_] for id_ in ids]})
