"""Steps that wait: for a time, an event, an approval, or another execution. SQL only.

A wait is stored in the transaction that records its step as WAITING. Whoever resolves it writes the step's outcome
and has the execution go on; the engine finds it when it claims the execution again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation import conditions
from automation.errors import ConflictError, NotFoundError
from automation.intake.create import WORK_CHANNEL
from automation.intake.events import HasHappened, root_of
from automation.models import Execution, Json, Status, StepExecution, Wait, utc_now
from automation.models.bulk import insert_rows
from automation.steps import Waiting
from automation.triggers.types import patterns

WAITS_CHANNEL = "automation_waits"
"""NOTIFY channel that says that a wait began, or that what one waits for may have ended."""

_BEGIN = """ON CONFLICT (execution_id, identifier) DO UPDATE SET id = excluded.id, kind = excluded.kind,
    status = 'WAITING', created_at = excluded.created_at, due_at = excluded.due_at, event_type = excluded.event_type,
    conditions = excluded.conditions, child_id = excluded.child_id, message = excluded.message, resolved_at = NULL,
    on_timeout = excluded.on_timeout, resolved_by = '', is_verified = false, comment = '', result = '{}',
    error_message = ''"""


@dataclass(frozen=True, slots=True)
class BegunWait:
    """A step of an execution that has to wait."""

    execution_id: UUID
    project_id: str | None
    identifier: str
    waiting: Waiting
    child_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody says to a wait: approved or not, who, and why. A name typed in Prefect's UI is unverified."""

    approve: bool = True
    name: str = ""
    comment: str = ""
    is_verified: bool = False


async def begin(session: AsyncSession, begun: Sequence[BegunWait]) -> None:
    """Store what these steps wait for."""
    now = utc_now()
    rows = [
        {
            "id": uuid4(),
            "execution_id": one.execution_id,
            "project_id": one.project_id,
            "identifier": one.identifier,
            "kind": one.waiting.kind,
            "status": "WAITING",
            "created_at": now,
            "due_at": one.waiting.until,
            "on_timeout": one.waiting.on_timeout,
            "event_type": one.waiting.event_type,
            "conditions": one.waiting.conditions,
            "child_id": one.child_id,
            "message": one.waiting.message,
            "resolved_by": "",
            "is_verified": False,
            "comment": "",
            "result": {},
            "error_message": "",
        }
        for one in begun
    ]
    if rows:
        await insert_rows(session, Wait.table(), rows, _BEGIN)
        await session.execute(select(func.pg_notify(WAITS_CHANNEL, "")))


async def resolve(session: AsyncSession, wait: Wait, result: Json, answer: Answer | None = None) -> None:
    """The wait is over: its step is completed with this result, and the execution goes on."""
    answer = answer or Answer()
    _end(wait, "RESOLVED", answer)
    wait.result = result
    await _write_step(session, wait, Status.COMPLETED)
    await _go_on(session, wait.execution_id)


async def fail(session: AsyncSession, wait: Wait, status: str, message: str, answer: Answer | None = None) -> None:
    """What was waited for did not come (TIMED_OUT) or was refused (REJECTED); the engine fails the step."""
    _end(wait, status, answer or Answer())
    wait.error_message = message
    await _go_on(session, wait.execution_id)


def _end(wait: Wait, status: str, answer: Answer) -> None:
    wait.status = status
    wait.resolved_at = utc_now()
    wait.resolved_by, wait.is_verified, wait.comment = answer.name, answer.is_verified, answer.comment


async def _write_step(session: AsyncSession, wait: Wait, status: Status) -> None:
    duration = (utc_now() - wait.created_at).total_seconds() * 1000
    await session.execute(
        update(StepExecution)
        .where(StepExecution.execution_id == wait.execution_id, StepExecution.identifier == wait.identifier)
        .values(status=status, result=wait.result, completed_at=utc_now(), duration_ms=round(duration, 3))
    )


async def _go_on(session: AsyncSession, execution_id: UUID) -> None:
    """One that is WAITING is due now; one that still runs finds out when it has nothing else to do."""
    await session.flush()
    await session.execute(
        update(Execution)
        .where(Execution.id == execution_id, Execution.status == Status.WAITING)
        .values(status=Status.PENDING, due_at=utc_now())
    )
    await session.execute(select(func.pg_notify(WORK_CHANNEL, "")))


_GO_ON = text("""
    UPDATE workflow_executions AS e SET status = 'PENDING', due_at = CAST(:now AS timestamptz)
    FROM unnest(CAST(:executions AS uuid[]), CAST(:identifiers AS text[])) AS waiting(execution_id, identifier)
    JOIN execution_waits AS w ON w.execution_id = waiting.execution_id AND w.identifier = waiting.identifier
    WHERE e.id = waiting.execution_id AND e.status = 'WAITING' AND w.status <> 'WAITING'
""")


async def go_on_if_resolved(session: AsyncSession, waiting: Sequence[tuple[UUID, set[str]]]) -> None:
    """Executions that were just recorded as WAITING, of which something was resolved while they still ran."""
    pairs = [(execution_id, identifier) for execution_id, several in waiting for identifier in several]
    if pairs:
        executions, identifiers = zip(*pairs, strict=True)
        parameters = {"executions": list(executions), "identifiers": list(identifiers), "now": utc_now()}
        await session.execute(_GO_ON, parameters)


async def answer(session: AsyncSession, execution_ids: Sequence[UUID], given: Answer) -> None:
    """Resolve everything that these executions wait for: somebody resumed their runs in Prefect."""
    for execution_id in execution_ids:
        for wait in await _open(session, execution_id):
            if not given.approve and wait.kind == "approval":
                await fail(session, wait, "REJECTED", _refused(given), given)
            else:
                await resolve(session, wait, outcome(wait, given), given)


async def approve(session: AsyncSession, execution_id: UUID, given: Answer, identifier: str | None = None) -> Wait:
    """Answer an approval that an execution waits for.

    Raises:
        NotFoundError: there is no such execution.
        ConflictError: it waits for no approval, or for several and none is named.
    """
    if await session.get(Execution, execution_id, with_for_update={"key_share": True}) is None:
        raise NotFoundError(f"Execution {execution_id} does not exist.")
    waits = [one for one in await _open(session, execution_id) if one.kind == "approval"]
    if identifier is not None:
        waits = [one for one in waits if one.identifier == identifier]
    if len(waits) != 1:
        names = ", ".join(one.identifier for one in waits)
        what = f"several approvals ({names}); name one as `step`" if waits else "no approval"
        raise ConflictError(f"Execution {execution_id} waits for {what}.")
    wait = waits[0]
    if given.approve:
        await resolve(session, wait, outcome(wait, given), given)
    else:
        await fail(session, wait, "REJECTED", _refused(given), given)
    return wait


async def last_approval(session: AsyncSession, execution_id: UUID, identifier: str | None = None) -> Wait | None:
    """The approval that an execution waited for last, or the one of a step; None while one is still waited for."""
    query = select(Wait).where(Wait.execution_id == execution_id, Wait.kind == "approval")
    if identifier is not None:
        query = query.where(Wait.identifier == identifier)
    found = (await session.scalars(query.order_by(Wait.created_at.desc()))).all()
    return None if any(one.status == "WAITING" for one in found) else next(iter(found), None)


def outcome(wait: Wait, given: Answer) -> Json:
    """The result of a step whose wait somebody has ended."""
    told: Json = {"by": given.name, "comment": given.comment, "verified": given.is_verified}
    return {"approved": True, **told} if wait.kind == "approval" else {"woken": True, **told}


def _refused(given: Answer) -> str:
    return f"refused by {given.name or 'somebody'}" + (f": {given.comment}" if given.comment else "")


async def _open(session: AsyncSession, execution_id: UUID) -> Sequence[Wait]:
    query = select(Wait).where(Wait.execution_id == execution_id, Wait.status == "WAITING").order_by(Wait.created_at)
    return (await session.scalars(query.with_for_update())).all()


async def cancel_all(session: AsyncSession, execution_ids: Sequence[UUID]) -> None:
    """These executions end: nothing is waited for any more, and the steps that waited end with them."""
    if not execution_ids:
        return
    await session.execute(
        update(Wait)
        .where(Wait.execution_id.in_(execution_ids), Wait.status == "WAITING")
        .values(status="CANCELLED", resolved_at=utc_now())
    )
    await session.execute(
        update(StepExecution)
        .where(StepExecution.execution_id.in_(execution_ids), StepExecution.status == Status.WAITING)
        .values(status=Status.CANCELLED, completed_at=utc_now())
    )


async def due(session: AsyncSession, limit: int) -> Sequence[Wait]:
    """Waits whose time has come, for this process alone, after their executions; ix_execution_waits_due_at."""
    query = (
        select(Wait)
        .join(Execution, Execution.id == Wait.execution_id)
        .where(Wait.status == "WAITING", Wait.due_at <= utc_now())
        .order_by(Wait.due_at)
        .limit(limit)
        .with_for_update(of=[Execution.table(), Wait.table()], skip_locked=True)
    )
    return (await session.scalars(query)).all()


async def next_due(session: AsyncSession) -> datetime | None:
    """When the next wait is over; ix_execution_waits_due_at."""
    return (await session.execute(select(func.min(Wait.due_at)).where(Wait.status == "WAITING"))).scalar_one()


_CHILDREN_ENDED = text("""
    SELECT w.id, c.id AS child_id, c.status, c.result, c.error_message FROM execution_waits AS w
    JOIN workflow_executions AS c ON c.id = w.child_id
    WHERE w.status = 'WAITING' AND w.child_id IS NOT NULL AND c.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
    LIMIT :limit
""").columns(result=Execution.result.type)


async def children_ended(session: AsyncSession, limit: int) -> list[tuple[Wait, Any]]:
    """Waits for an execution that has ended, each with that execution's row; ix_execution_waits_child_id."""
    found = []
    for row in (await session.execute(_CHILDREN_ENDED, {"limit": limit})).all():
        if wait := await _locked(session, row.id):
            found.append((wait, row))
    return found


_FOR_EVENTS = text("""
    SELECT w.id, w.project_id, w.event_type FROM execution_waits AS w
    JOIN unnest(CAST(:projects AS text[]), CAST(:types AS text[])) AS came(project_id, event_type)
        ON came.project_id = w.project_id AND came.event_type = w.event_type
    WHERE w.status = 'WAITING' AND w.kind = 'event'
    ORDER BY w.execution_id, w.id
""")


async def resolve_by_events(session: AsyncSession, events: Sequence[HasHappened]) -> None:
    """Steps that wait for one of these events of their project go on with it; ix_execution_waits_event."""
    pairs = sorted({(event.project_id, name) for event in events for name in patterns(event.type)})
    if not pairs:
        return
    projects, types = zip(*pairs, strict=True)
    rows = (await session.execute(_FOR_EVENTS, {"projects": list(projects), "types": list(types)})).all()
    for row in rows:
        wait = await _locked(session, row.id)
        for event in events if wait else ():
            concerned = event.project_id == row.project_id and row.event_type in patterns(event.type)
            if wait and concerned and conditions.holds(wait.conditions, root_of(event)).holds:
                await resolve(session, wait, {"event": {"id": event.id, "type": event.type, "data": event.data}})
                break


async def _locked(session: AsyncSession, wait_id: UUID) -> Wait | None:
    """A wait that is still one, after its execution: whoever else ends it, or records its execution, waits here."""
    wait = await session.get(Wait, wait_id)
    if wait is None or await session.get(Execution, wait.execution_id, with_for_update={"key_share": True}) is None:
        return None
    await session.refresh(wait, with_for_update=True)
    return wait if wait.status == "WAITING" else None
