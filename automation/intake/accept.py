"""Accepting events: inbox row, project, workflows and executions, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.database import Database
from automation.intake.create import Started, Wanted, create_executions, runs_in_batch
from automation.intake.events import IncomingEvent
from automation.intake.projects import ensure_projects
from automation.models import Event, Execution, Workflow, utc_now
from automation.models.bulk import insert_rows
from automation.settings import Settings


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of one event. `announce` says that Prefect's trigger should start its runs."""

    event: IncomingEvent
    duplicate: bool
    executions: list[Started] = field(default_factory=list)

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
        first = {event.id: event for event in reversed(events)}  # the first of equal ids counts
        fresh = await _store(session, list(first.values()), source)
        new = [event for event in first.values() if event.id in fresh]
        new.sort(key=lambda event: event.occurred_at)
        await ensure_projects(session, new)
        started = await _trigger(session, new, settings)
        known = await _known_executions(session, [id_ for id_ in first if id_ not in fresh])
    answers = []
    for event in events:
        if event.id in fresh and first[event.id] is event:
            answers.append(Accepted(event, duplicate=False, executions=started.get(event.id, [])))
        else:
            executions = started.get(event.id, []) if event.id in fresh else known.get(event.id, [])
            answers.append(Accepted(event, duplicate=True, executions=executions))
    return answers


async def _store(session: AsyncSession, events: Sequence[IncomingEvent], source: str) -> set[str]:
    """Insert into the inbox; the ids that were not there yet. Sorted, so that two lists cannot deadlock."""
    rows = [
        {
            "id": event.id,
            "type": event.type,
            "project_id": event.project_id,
            "occurred_at": event.occurred_at,
            "received_at": event.received_at,
            "source": source,
            "data": event.data,
        }
        for event in sorted(events, key=lambda event: event.id)
    ]
    written = await insert_rows(session, Event.table(), rows, "ON CONFLICT DO NOTHING", "id")
    return {id_ for (id_,) in written}


async def _known_executions(session: AsyncSession, event_ids: Sequence[str]) -> dict[str, list[Started]]:
    """The executions that earlier copies of these events made, with their present status."""
    if not event_ids:
        return {}
    query = select(Event.id, Event.execution_ids).where(Event.id.in_(event_ids))
    made = dict((await session.execute(query)).tuples().all())
    wanted = {one for ids in made.values() for one in ids}
    rows = await session.execute(
        select(Execution.id, Execution.workflow_id, Execution.kind, Execution.status).where(Execution.id.in_(wanted))
    )
    found = {row.id: Started(row.id, row.workflow_id, row.kind, row.status) for row in rows}
    return {id_: [found[one] for one in ids if one in found] for id_, ids in made.items()}


async def _trigger(
    session: AsyncSession, events: Sequence[IncomingEvent], settings: Settings
) -> dict[str, list[Started]]:
    """The executions that these events start, by event id."""
    matches = await _matching(session, events)
    wanted: dict[str, list[Wanted]] = {}
    for event in events:
        found = {
            trigger.workflow_id: Wanted(
                workflow_id=trigger.workflow_id,
                project_id=trigger.project_id,
                kind=trigger.kind,
                trigger_type=trigger.trigger_type,
                trigger_data=event.data,
                event_type=event.type,
                batch=runs_in_batch(trigger.kind, trigger.config),
                version=event.version,
                occurred_at=event.occurred_at,
            )
            for trigger in matches.get(event.project_id, [])
            if _matches(trigger, event)
        }
        wanted[event.id] = list(found.values())
    flat = [one for several in wanted.values() for one in several]
    made = await create_executions(session, flat, settings)
    started = {id_: [made[one.id] for one in several] for id_, several in wanted.items() if several}
    await _note(session, started)
    return started


_MATCHING = text("""
    SELECT t.project_id, t.trigger_type, t.event_type, w.id AS workflow_id, w.kind, w.config
    FROM unnest(CAST(:projects AS text[]), CAST(:types AS text[])) AS wanted(project_id, trigger_type)
    JOIN triggers AS t ON t.project_id = wanted.project_id AND t.trigger_type = wanted.trigger_type
    JOIN workflows AS w ON w.id = t.workflow_id
    WHERE t.is_active AND w.is_active
""").columns(config=Workflow.config.type)


async def _matching(session: AsyncSession, events: Sequence[IncomingEvent]) -> dict[str, list[Row[Any]]]:
    """The active triggers that may concern these events, by project; ix_triggers_project_id_trigger_type."""
    pairs = sorted({(event.project_id, type_) for event in events for type_ in (*event.trigger_types, "EVENT")})
    if not pairs:
        return {}
    projects, types = zip(*pairs, strict=True)
    found: dict[str, list[Row[Any]]] = {}
    for row in await session.execute(_MATCHING, {"projects": list(projects), "types": list(types)}):
        found.setdefault(row.project_id, []).append(row)
    return found


def _matches(trigger: Row[Any], event: IncomingEvent) -> bool:
    if trigger.trigger_type == "EVENT":
        return bool(trigger.event_type == event.type)
    return trigger.trigger_type in event.trigger_types and trigger.event_type in ("", event.type)


_NOTE_EXECUTIONS = text("""
    UPDATE events SET execution_ids = CAST(string_to_array(made.ids, ',') AS uuid[])
    FROM unnest(CAST(:events AS text[]), CAST(:ids AS text[])) AS made(event_id, ids)
    WHERE events.id = made.event_id
""")
# once a second at most: a busy project's requests would else wait for each other over a time nobody reads so fast
_NOTE_TRIGGERED = text("""
    UPDATE triggers SET last_triggered = CAST(:now AS timestamptz)
    WHERE workflow_id = ANY(CAST(:workflows AS uuid[]))
      AND (last_triggered IS NULL OR last_triggered < CAST(:now AS timestamptz) - interval '1 second')
""")


async def _note(session: AsyncSession, started: dict[str, list[Started]]) -> None:
    """Remember at each event what it started, and at each workflow's triggers when."""
    if not started:
        return
    ids = [",".join(str(one.id) for one in several) for several in started.values()]
    await session.execute(_NOTE_EXECUTIONS, {"events": list(started), "ids": ids})
    workflows = {one.workflow_id for several in started.values() for one in several}
    await session.execute(_NOTE_TRIGGERED, {"workflows": list(workflows), "now": utc_now()})
