"""Accepting events: inbox row, project, workflows and executions, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import orjson
from sqlalchemy import select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from automation import tracing
from automation.database import Database
from automation.errors import NotFoundError
from automation.intake.create import Started
from automation.intake.decide import Match, decide
from automation.intake.events import HasHappened, IncomingEvent, PastEvent, storable
from automation.intake.matching import by_ids, concerned
from automation.intake.projects import ensure_projects
from automation.intake.waits import resolve_by_events
from automation.models import Event, Execution, Json, utc_now
from automation.models.bulk import insert_rows
from automation.requests import Origin
from automation.settings import Settings


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of one event. `announce` says that Prefect's trigger should start its runs."""

    event: HasHappened
    duplicate: bool
    executions: list[Started] = field(default_factory=list)
    decisions: list[Json] = field(default_factory=list)
    """What each trigger that the event concerned made of it, as it stands in the table `events`."""

    @property
    def announce(self) -> bool:
        return not self.duplicate and self.event.type in rare_event_types()


def rare_event_types() -> frozenset[str]:
    """Event types whose runs start through Prefect's own trigger rather than the dispatcher."""
    return frozenset({"project.created", "project.updated", "project.published"})


async def accept(
    database: Database, events: Sequence[IncomingEvent], *, source: str, settings: Settings
) -> list[Accepted]:
    """Store events and create the executions they trigger, all or nothing.

    An event whose id was seen before changes nothing; its answer names the executions it made then. A page
    event of an unknown project creates the project and its workflows, so that order does not matter.

    Args:
        source: which door it came through: `api`, `studio`, `prefect`.

    Returns:
        One answer for each event, in their order.
    """
    async with database.transaction() as session:
        return await accept_in(session, events, source=source, settings=settings)


async def accept_in(
    session: AsyncSession, events: Sequence[IncomingEvent], *, source: str, settings: Settings
) -> list[Accepted]:
    """The same in a transaction of the caller's, who tells Prefect once it is committed."""
    first = {event.id: event for event in reversed(events)}  # the first of equal ids counts
    with tracing.received(list(first.values()), source) as origins:
        fresh = await _store(session, list(first.values()), source, origins)
        new = [event for event in first.values() if event.id in fresh]
        new.sort(key=lambda event: event.occurred_at)
        await ensure_projects(session, new, settings)
        accepted = await _trigger(session, new, settings, origins)
    known = await _known_executions(session, [one for one in first.values() if one.id not in fresh])
    return [
        accepted[event.id]
        if first[event.id] is event and event.id in fresh
        else Accepted(event, duplicate=True, executions=_made(event.id, accepted, known))
        for event in events
    ]


def _made(event_id: str, accepted: dict[str, Accepted], known: dict[str, list[Started]]) -> list[Started]:
    """The executions of an event that is a duplicate, of one in the same list or of an earlier one."""
    return accepted[event_id].executions if event_id in accepted else known.get(event_id, [])


async def _store(
    session: AsyncSession, events: Sequence[HasHappened], source: str, origins: Mapping[str, Origin]
) -> set[str]:
    """Insert into the inbox; the ids that were not there yet. Sorted, so that two lists cannot deadlock."""
    now = utc_now()
    rows = [
        {
            "id": event.id,
            "type": event.type,
            "project_id": event.project_id,
            "occurred_at": event.occurred_at,
            "received_at": now,
            "source": source,
            "data": event.data,
            "request_id": origins[event.id].request_id,
            "traceparent": origins[event.id].traceparent,
        }
        for event in sorted(events, key=lambda event: event.id)
    ]
    written = await insert_rows(session, Event.table(), rows, "ON CONFLICT DO NOTHING", "id")
    return {id_ for (id_,) in written}


async def _known_executions(session: AsyncSession, events: Sequence[HasHappened]) -> dict[str, list[Started]]:
    """The executions that earlier copies of these events made, with their present status.

    Of an event of another project that has the same id nothing is told.
    """
    if not events:
        return {}
    wanted = [(event.id, event.project_id) for event in events]
    query = select(Event.id, Event.execution_ids).where(tuple_(Event.id, Event.project_id).in_(wanted))
    made = dict((await session.execute(query)).tuples().all())
    ids_made = {one for ids in made.values() for one in ids}
    rows = await session.execute(
        select(Execution.id, Execution.workflow_id, Execution.kind, Execution.status).where(Execution.id.in_(ids_made))
    )
    found = {row.id: Started(row.id, row.workflow_id, row.kind, row.status) for row in rows}
    return {id_: [found[one] for one in ids if one in found] for id_, ids in made.items()}


async def accept_for(
    database: Database, trigger_id: UUID, event: PastEvent, *, source: str, settings: Settings
) -> Accepted:
    """Store an event that is meant for one trigger (a webhook's, a change of files), and fire it.

    Raises:
        NotFoundError: there is no such trigger.
        RefusedError: PostgreSQL cannot store the event's data.
    """
    storable(event.data, "data")
    async with database.transaction() as session:
        found = await by_ids(session, [trigger_id])
        if not found:
            raise NotFoundError(f"Trigger {trigger_id} does not exist.")
        with tracing.received([event], source) as origins:
            if not await _store(session, [event], source, origins):
                known = await _known_executions(session, [event])
                return Accepted(event, duplicate=True, executions=known.get(event.id, []))
            matches = [Match(found[trigger_id], event, origin=origins[event.id])]
            await decide(session, matches, settings)
        return (await _answers(session, [event], matches))[event.id]


async def _trigger(
    session: AsyncSession, events: Sequence[IncomingEvent], settings: Settings, origins: Mapping[str, Origin]
) -> dict[str, Accepted]:
    """What becomes of these events, by their ids."""
    triggers = await concerned(session, events)
    await resolve_by_events(session, events)
    matches = [Match(trigger, event, origin=origins[event.id]) for event in events for trigger in triggers.by(event)]
    await decide(session, matches, settings)
    return await _answers(session, events, matches)


async def _answers(
    session: AsyncSession, events: Sequence[HasHappened], matches: Sequence[Match]
) -> dict[str, Accepted]:
    """The answer for each event, after noting at it what became of it."""
    answers = {event.id: Accepted(event, duplicate=False) for event in events}
    for match in matches:
        answer = answers[match.event.id]
        answer.decisions.append(match.decision)
        if match.started:
            answer.executions.append(match.started)
    await _note(session, [one for one in answers.values() if one.decisions])
    return answers


_NOTE = text("""
    UPDATE events SET execution_ids = CAST(string_to_array(made.ids, ',') AS uuid[]),
        decisions = CAST(made.decisions AS jsonb)
    FROM unnest(CAST(:events AS text[]), CAST(:ids AS text[]), CAST(:decisions AS text[]))
        AS made(event_id, ids, decisions)
    WHERE events.id = made.event_id
""")


async def _note(session: AsyncSession, answers: Sequence[Accepted]) -> None:
    if not answers:
        return
    await session.execute(
        _NOTE,
        {
            "events": [one.event.id for one in answers],
            "ids": [",".join(str(started.id) for started in one.executions) for one in answers],
            "decisions": [orjson.dumps(one.decisions).decode() for one in answers],
        },
    )
