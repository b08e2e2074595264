"""What people ask of the inbox: the list, one event, and the triggers that might have heard it."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from automation.errors import NotFoundError
from automation.models.event import Event
from automation.models.paging import Order, Page, Position, read_page
from automation.models.trigger import Timer, Trigger
from automation.models.workflow import Workflow
from automation.requests import Origin

NEWEST_FIRST = Order(Event.received_at, Event.id, descending=True)


async def list_events(
    session: AsyncSession,
    *,
    project_id: str | None = None,
    type: str | None = None,
    position: Position | None = None,
    size: int = 50,
) -> Page[tuple[Event]]:
    """Events, newest first, without their data; ix_events_received_at, ix_events_project_id_received_at,
    ix_events_type_received_at."""
    query = select(Event).options(defer(Event.data, raiseload=True), defer(Event.decisions, raiseload=True))
    if project_id is not None:
        query = query.where(Event.project_id == project_id)
    if type is not None:
        query = query.where(Event.type == type)
    return await read_page(session, query, NEWEST_FIRST, position, size)


async def find_event(session: AsyncSession, event_id: str) -> Event:
    """One event.

    Raises:
        NotFoundError: there is none, or it is older than events are kept.
    """
    event = await session.get(Event, event_id) if event_id.isprintable() else None
    if event is None:
        raise NotFoundError(missing_event(event_id))
    return event


def missing_event(event_id: str) -> str:
    """What is said of an event that is not there."""
    return f"Event {event_id!r} does not exist, or is older than events are kept."


async def events_between(
    session: AsyncSession,
    project_id: str | None,
    since: datetime,
    until: datetime,
    chosen: ColumnElement[bool],
    size: int,
) -> Sequence[Event]:
    """The chosen events of a project (None: of all) in the order in which they came;
    ix_events_project_id_received_at, ix_events_received_at."""
    query = select(Event).where(Event.received_at >= since, Event.received_at < until, chosen)
    if project_id is not None:
        query = query.where(Event.project_id == project_id)
    return (await session.scalars(query.order_by(Event.received_at, Event.id).limit(size))).all()


async def triggers_of(
    session: AsyncSession, project_id: str, decided: Sequence[UUID], size: int
) -> Sequence[tuple[Trigger, Workflow]]:
    """The triggers of a project and of the platform with their workflows, first those that have `decided`; of
    archived workflows those alone. ix_triggers_matching."""
    query = (
        select(Trigger, Workflow)
        .join(Workflow, Workflow.id == Trigger.workflow_id)
        .where(
            func.coalesce(Trigger.project_id, "").in_({project_id, ""}),
            or_(Workflow.archived_at.is_(None), Trigger.id.in_(decided)),
        )
        .order_by(Trigger.id.in_(decided).desc(), Trigger.created_at, Trigger.id)
        .limit(size)
    )
    return [(trigger, workflow) for trigger, workflow in (await session.execute(query)).tuples()]


async def projects_of(session: AsyncSession, workflows: Collection[UUID]) -> dict[UUID, str | None]:
    """The project of each of these workflows that is there."""
    if not workflows:
        return {}
    query = select(Workflow.id, Workflow.project_id).where(Workflow.id.in_(workflows))
    return dict((await session.execute(query)).tuples().all())


async def origins_of(session: AsyncSession, ids: Collection[str]) -> dict[str, Origin]:
    """What brought these events, as far as they are kept."""
    query = select(Event.id, Event.request_id, Event.traceparent).where(Event.id.in_(ids))
    return {id_: Origin(request_id, trace) for id_, request_id, trace in (await session.execute(query)).tuples()}


async def timers_of(session: AsyncSession, ids: Sequence[UUID]) -> dict[UUID, Timer]:
    """These timers, and those that they led to."""
    found: dict[UUID, Timer] = {}
    wanted = set(ids)
    while wanted:
        rows = await session.scalars(select(Timer).where(Timer.id.in_(wanted)))
        new = {timer.id: timer for timer in rows}
        found |= new
        wanted = {timer.next_id for timer in new.values() if timer.next_id} - found.keys()
    return found
