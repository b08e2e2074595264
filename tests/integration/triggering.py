"""Triggers that tests write, events that they send, and time that they let pass."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import select, text, update

from automation.clock import Clock
from automation.database import Database
from automation.intake import Accepted, accept, parse_event
from automation.models import Event, Execution, Timer, Trigger, TriggerState, utc_now
from automation.settings import Settings
from automation.triggers.types import check_event_type, parse_config
from tests.integration.rows import workflow

SETTINGS = Settings()
KIND = "custom-workflow"

_numbers = count(1)


async def trigger(
    database: Database,
    trigger_type: str = "EVENT",
    event_type: str = "order.paid",
    *,
    of: UUID | None = None,
    project_id: str | None = "p1",
    conditions: dict[str, Any] | None = None,
    is_active: bool = True,
    **config: Any,
) -> Trigger:
    """A trigger of a workflow (None: of a new one without steps); what it is told is checked as when it is saved."""
    parse_config(trigger_type, config)
    check_event_type(trigger_type, event_type)
    workflow_id = of or await workflow(database, project_id=project_id, kind=KIND)
    async with database.transaction() as session:
        made = Trigger(
            id=uuid4(),
            workflow_id=workflow_id,
            project_id=project_id,
            trigger_type=trigger_type,
            event_type=event_type,
            conditions=conditions or {},
            config=config,
            is_active=is_active,
        )
        session.add(made)
    return made


def event(type: str = "order.paid", project_id: str = "p1", id: str | None = None, **data: Any) -> dict[str, Any]:
    """An event as it is sent; each has an id of its own."""
    return {"type": type, "id": id or f"e{next(_numbers)}", "data": {"project_id": project_id, **data}}


def page(version: int, page_id: str = "home", project_id: str = "p1", type: str = "page.updated") -> dict[str, Any]:
    """The event of a page's new version."""
    return event(type, project_id, page={"id": page_id, "version": version})


async def send(database: Database, *raw: dict[str, Any]) -> list[Accepted]:
    """One request with these events."""
    return await accept(database, [parse_event(one) for one in raw], source="api", settings=SETTINGS)


def outcomes(answers: Sequence[Accepted]) -> list[list[str]]:
    """What became of each event at the triggers that it concerned."""
    return [[decision["outcome"] for decision in one.decisions] for one in answers]


async def sent(database: Database, *raw: dict[str, Any]) -> list[str]:
    """What became of each event of one request at the one trigger that it concerned."""
    return [outcome for [outcome] in outcomes(await send(database, *raw))]


async def runs(database: Database, trigger: Trigger) -> list[Execution]:
    """The executions that a trigger has made, oldest first."""
    async with database.transaction() as session:
        query = select(Execution).where(Execution.trigger_id == trigger.id)
        return list((await session.scalars(query.order_by(Execution.created_at))).all())


async def timers(database: Database) -> list[Timer]:
    """All timers, oldest first."""
    async with database.transaction() as session:
        return list((await session.scalars(select(Timer).order_by(Timer.created_at))).all())


async def told(database: Database, event_id: str) -> list[dict[str, Any]]:
    """The decisions that stand at an event."""
    async with database.transaction() as session:
        return (await session.get_one(Event, event_id)).decisions


async def pass_time(database: Database, seconds: float) -> None:
    """As if everything that waits and is remembered were so much older."""
    by = timedelta(seconds=seconds)
    async with database.transaction() as session:
        await session.execute(
            update(Timer)
            .where(Timer.status == "WAITING")
            .values(due_at=Timer.due_at - by, latest_at=Timer.latest_at - by, created_at=Timer.created_at - by)
        )
        for state in (await session.scalars(select(TriggerState))).all():
            state.fired = [at - seconds for at in state.fired]


async def tick(database: Database, after: float = 0) -> int:
    """Let time pass, and the clock fire what is due then; how many timers that were."""
    await pass_time(database, after)
    clock, fired = Clock(database, SETTINGS), 0
    while number := await clock.round():
        fired += number
    return fired


async def set_status(database: Database, trigger: Trigger, status: str) -> None:
    """Put the executions of a trigger into a state."""
    async with database.transaction() as session:
        ended = utc_now() if status in ("COMPLETED", "FAILED", "CANCELLED") else None
        await session.execute(
            update(Execution)
            .where(Execution.trigger_id == trigger.id)
            .values(status=status, completed_at=ended, started_at=utc_now())
        )


async def counts(database: Database) -> dict[str, int]:
    """How many rows each of our tables has."""
    tables = sorted(table.name for table in Event.metadata.sorted_tables)
    parts = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM {name}" for name in tables)
    async with database.transaction() as session:
        return dict((await session.execute(text(parts))).tuples().all())
