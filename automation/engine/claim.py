"""Taking executions for a flow run: the compare-and-set that makes a double start harmless."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Row, and_, exists, false, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from automation.catalog import definitions
from automation.engine.checkpoints import restore
from automation.engine.definitions import alone, definitions_of
from automation.engine.plan import Item
from automation.errors import UnknownError, codes
from automation.intake import waits
from automation.intake.create import WORK_CHANNEL
from automation.models import (
    FINAL,
    OPEN,
    Execution,
    FlowRun,
    Project,
    Status,
    Workflow,
    utc_now,
)
from automation.requests import Origin
from automation.settings import Settings
from automation.steps import ProjectInfo


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """The Prefect flow run that asks: its id, and the idempotency key if the dispatcher made it."""

    prefect_id: UUID
    idempotency_key: str | None
    kind: str
    name: str
    mode: str = "single"


@dataclass(slots=True)
class Claim:
    """What a flow run got. `blocked` executions are its own, but something else must end before them; `ended`
    says how those of its own ended that did so without it (cancelled while it was on its way, say), `unknown` which
    do not exist."""

    flow_run_id: UUID
    items: list[Item] = field(default_factory=list)
    blocked: list[UUID] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    unknown: set[UUID] = field(default_factory=set)


async def claim(
    session: AsyncSession,
    run: RunIdentity,
    execution_ids: Sequence[UUID],
    settings: Settings,
    answer: waits.Answer | None = None,
) -> Claim:
    """Take those of the executions that nobody else has.

    One that is final, or that another run has begun, is left alone. One that a run holds which has not
    begun is taken over: whoever comes first does the work. Afterwards each taken execution is RUNNING under
    a new dispatch number, or, while another one of its key runs or something has to be flushed before it,
    still waiting but held by this run.

    Args:
        answer: what somebody typed who resumed the run in Prefect; where something else may go on, it was the
            dispatcher who did.
    """
    flow_run_id = await own_row(session, run, settings)
    executions = await _takeable(session, flow_run_id, execution_ids)
    if answer and all(execution.status == Status.WAITING for execution in executions):
        await waits.answer(session, [execution.id for execution in executions], answer)
    result = Claim(flow_run_id)
    for execution in executions:
        execution.flow_run_id = flow_run_id
        if await is_blocked(session, execution):
            result.blocked.append(execution.id)
            continue
        # one that its worker handed back, or that had to wait, goes on with the try that it was at
        if execution.attempt == 0 or (execution.status == Status.RETRYING and not execution.ending):
            execution.attempt += 1
        if execution.workflow_version is None:
            query = select(Workflow.version).where(Workflow.id == execution.workflow_id)
            execution.workflow_version = (await session.execute(query)).scalar_one()
        execution.status = Status.RUNNING
        execution.dispatch_no += 1
        execution.started_at = execution.started_at or utc_now()
        if not execution.ending:
            execution.error_message = execution.error_code = ""
        await session.flush()
    begun = [execution for execution in executions if execution.status == Status.RUNNING]
    result.items = await load_items(session, begun)
    ended = select(Execution.status).where(Execution.flow_run_id == flow_run_id, Execution.status.in_(FINAL))
    result.ended = set((await session.execute(ended)).scalars())
    known = select(Execution.id).where(Execution.id.in_(execution_ids))
    result.unknown = set(execution_ids) - set((await session.execute(known)).scalars())
    return result


async def own_row(session: AsyncSession, run: RunIdentity, settings: Settings) -> UUID:
    """Our row of this flow run, made now if Prefect started it; its lease begins."""
    by_id = FlowRun.prefect_id == run.prefect_id
    by_key = and_(FlowRun.prefect_id.is_(None), FlowRun.idempotency_key == run.idempotency_key)
    query = select(FlowRun).where(or_(by_id, by_key)).with_for_update(key_share=True)
    row = (await session.execute(query)).scalar_one_or_none()
    if row is None:  # the mirror may write it in this very moment
        new = insert(FlowRun).values(id=uuid4(), prefect_id=run.prefect_id, kind=run.kind, name=run.name)
        await session.execute(new.on_conflict_do_nothing(index_elements=[FlowRun.prefect_id]))
        row = (await session.execute(query)).scalar_one()
    now = utc_now()
    row.mode = run.mode
    row.prefect_id = run.prefect_id
    row.claimed_at = now
    row.lease_until = now + timedelta(seconds=settings.lease_seconds)
    row.process = f"{socket.gethostname()}:{os.getpid()}"
    row.ended_at = None
    row.accepts = True
    row.lost_code = ""
    await session.flush()
    return row.id


async def _takeable(session: AsyncSession, flow_run_id: UUID, ids: Sequence[UUID]) -> list[Execution]:
    """The executions of `ids` that are open and neither begun nor held by another run that has begun.

    One that another run is to try again is its own until that is due.
    """
    holder = aliased(FlowRun)
    held_by_living = exists().where(
        holder.id == Execution.flow_run_id,
        holder.id != flow_run_id,
        holder.claimed_at.is_not(None),
        holder.ended_at.is_(None),
    )
    query = (
        select(Execution)
        .where(
            Execution.id.in_(ids),
            Execution.status.in_(OPEN),
            or_(
                Execution.flow_run_id == flow_run_id,
                Execution.status == Status.PENDING,
                and_(Execution.status == Status.RETRYING, Execution.due_at <= utc_now()),
            ),
            ~held_by_living,
        )
        .order_by(Execution.created_at)
        .with_for_update(of=Execution, key_share=True)
    )
    return list((await session.execute(query)).scalars())


async def is_blocked(session: AsyncSession, execution: Execution) -> bool:
    """Whether another execution of its key runs, or one that it has to wait for is not done."""
    clauses = []
    if execution.key is not None:
        clauses.append(
            and_(
                Execution.workflow_id == execution.workflow_id,
                Execution.key == execution.key,
                or_(Execution.status == Status.RUNNING, _before(execution)),
            )
        )
    definition = definitions().get(execution.kind)
    if definition and definition.flushes:
        clauses.append(
            and_(
                Execution.project_id == execution.project_id,
                Execution.kind.in_(definition.flushes),
                Execution.status.in_((Status.PENDING, Status.RUNNING)),
                Execution.created_at <= execution.created_at,
            )
        )
    if not clauses:
        return False
    if execution.key is not None:  # two runs that ask for one key at the same moment ask in turn
        lock = func.pg_advisory_xact_lock(func.hashtextextended(f"{execution.workflow_id}:{execution.key}", 0))
        await session.execute(select(lock))
    query = select(exists().where(or_(*clauses), Execution.id != execution.id))
    return bool((await session.execute(query)).scalar())


def _before(execution: Execution) -> ColumnElement[bool]:
    """Of executions that all run, one after the other, those that are to be tried again and came before."""
    if execution.coalesces:  # a newer one takes the place of one that is to be tried again
        return false()
    waits = Execution.status.in_((Status.RETRYING, Status.WAITING))
    return and_(waits, Execution.created_at < execution.created_at)


# What the engine needs of an execution's row. Columns, as an object per row costs a batch run 15 % of its time.
CLAIMED = (
    Execution.id,
    Execution.workflow_id,
    Execution.project_id,
    Execution.kind,
    Execution.trigger_type,
    Execution.event_type,
    Execution.trigger_data,
    Execution.occurred_at,
    Execution.attempt,
    Execution.lost_count,
    Execution.dispatch_no,
    Execution.workflow_version,
    Execution.retries,
    Execution.failed_step,
    Execution.ran_seconds,
    Execution.parent_id,
    Execution.depth,
    Execution.generation,
    Execution.only_step,
    Execution.ending,
    Execution.error_code,
    Execution.error_message,
    Execution.request_id,
    Execution.traceparent,
)


async def load_items(session: AsyncSession, executions: Sequence[Row[Any] | Execution]) -> list[Item]:
    """The items of these executions (rows with the columns CLAIMED), in a fixed number of statements."""
    if not executions:
        return []
    versions = [(one.workflow_id, one.workflow_version or 0) for one in executions]  # a claim has set it
    workflows = await definitions_of(session, set(versions))
    projects = await _projects(session, {one.project_id for one in executions if one.project_id})
    items = []
    for one, version in zip(executions, versions, strict=True):
        workflow = alone(workflows[version], one.only_step) if one.only_step else workflows[version]
        items.append(
            Item(
                execution_id=one.id,
                dispatch_no=one.dispatch_no,
                workflow_id=one.workflow_id,
                workflow_name=workflow.name,
                kind=one.kind,
                project=projects.get(one.project_id or "", ProjectInfo(one.project_id or "")),
                trigger_type=one.trigger_type,
                event_type=one.event_type,
                trigger_data=one.trigger_data,
                occurred_at=one.occurred_at,
                attempt=one.attempt,
                lost_count=one.lost_count,
                plan=workflow.plan,
                origin=Origin(one.request_id, one.traceparent),
                retry=workflow.retry,
                retries=one.retries,
                failed_before=one.failed_step,
                ran_seconds=one.ran_seconds,
                parent_id=one.parent_id,
                depth=one.depth,
                generation=one.generation,
                error=workflow.error,
            )
        )
        if one.ending:
            _end_as_decided(items[-1], one)
    await restore(session, [item for item in items if item.dispatch_no > 1])  # a first dispatch has nothing behind it
    return items


def _end_as_decided(item: Item, one: Row[Any] | Execution) -> None:
    """It does nothing more but to undo what it did; what it failed with is known."""
    item.ending = one.ending
    item.error = codes().get(one.error_code, UnknownError)(one.error_message)
    item.failed_step = next((step for step in item.plan.steps if step.identifier == one.failed_step), None)


async def _projects(session: AsyncSession, ids: set[str]) -> dict[str, ProjectInfo]:
    if not ids:
        return {}
    rows = (await session.execute(select(Project).where(Project.id.in_(ids)))).scalars()
    return {row.id: ProjectInfo(row.id, row.name, row.owner_id, row.owner_email) for row in rows}


async def renew_lease(session: AsyncSession, flow_run_id: UUID, settings: Settings) -> list[UUID] | None:
    """Renew the lease of a run; the executions that somebody wants cancelled, or None if the run is given up."""
    until = utc_now() + timedelta(seconds=settings.lease_seconds)
    renewed = await session.execute(
        update(FlowRun)
        .where(FlowRun.id == flow_run_id, FlowRun.ended_at.is_(None))
        .values(lease_until=until)
        .returning(FlowRun.id)
    )
    if renewed.scalar_one_or_none() is None:
        return None
    query = select(Execution.id).where(Execution.flow_run_id == flow_run_id, Execution.cancel_requested_at.is_not(None))
    return list((await session.execute(query)).scalars())


async def put_down(session: AsyncSession, flow_run_id: UUID) -> None:
    """The run leaves its process but goes on later (AwaitingRetry): its executions stay.

    So does its lease: should the process die before Prefect knows, the reaper finds it.
    """
    await session.execute(update(FlowRun).where(FlowRun.id == flow_run_id).values(claimed_at=None))


async def wake(session: AsyncSession, kind: str) -> None:
    """Tell whoever hands out work of that kind ("" is all kinds) that something may be due now."""
    await session.execute(select(func.pg_notify(WORK_CHANNEL, kind)))
