"""Accepting events: inbox row, project, workflows and executions, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Text, Uuid, case, cast, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.ext.asyncio import AsyncSession

from automation.catalog import definitions
from automation.database import Database
from automation.intake.create import Started, Wanted, create_executions, runs_in_batch
from automation.intake.events import IncomingEvent
from automation.models import Event, Execution, Project, Trigger, Workflow, utc_now
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
        await _ensure_projects(session, new)
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
        select(Execution.id, Execution.workflow_id, Execution.kind, Execution.status).where(
            Execution.id.in_(wanted)
        )
    )
    found = {row.id: Started(row.id, row.workflow_id, row.kind, row.status) for row in rows}
    return {id_: [found[one] for one in ids if one in found] for id_, ids in made.items()}


async def _ensure_projects(session: AsyncSession, events: Sequence[IncomingEvent]) -> None:
    """Every project that an event names exists, with its default workflows and what is known of its owner."""
    facts: dict[str, dict[str, Any]] = {}
    for event in events:
        fact = facts.setdefault(event.project_id, _project_row(event.project_id))
        fact |= _facts(event)
    if not facts:
        return
    rows = [facts[id_] for id_ in sorted(facts)]
    statement = insert(Project).values(rows)
    created = await session.execute(statement.on_conflict_do_nothing().returning(Project.id))
    new = set(created.scalars())
    if late := [row for row in rows if row["id"] not in new and row["named_at"]]:
        await _fill_late(session, late)
    if new:
        session.add_all(
            definition.rows(row["id"], row["name"])
            for row in rows
            if row["id"] in new
            for definition in definitions().values()
            if definition.per_project
        )
        await session.flush()


def _project_row(project_id: str) -> dict[str, Any]:
    return {"id": project_id, "name": "", "owner_id": "", "owner_email": "", "named_at": None}


def _facts(event: IncomingEvent) -> dict[str, Any]:
    """What a project event says of its project's name and owner; events come sorted, the last one wins."""
    project = event.data.get("project")
    if not event.type.startswith("project.") or not isinstance(project, dict):
        return {}
    owner = project.get("owner")
    owner = owner if isinstance(owner, dict) else {}
    said = {
        "name": str(project.get("name") or "")[:200],
        "owner_id": str(owner.get("id") or "")[:128],
        "owner_email": str(owner.get("email") or "")[:320],
    }
    said = {name: value for name, value in said.items() if value}
    return {**said, "named_at": event.occurred_at} if said else {}


async def _fill_late(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
    """Name and owner of projects that exist already; an older event than the last one changes nothing."""
    statement = insert(Project).values(rows)
    new = statement.excluded
    columns = ("name", "owner_id", "owner_email")
    updated = statement.on_conflict_do_update(
        index_elements=[Project.id],
        set_={
            **{name: case((new[name] != "", new[name]), else_=getattr(Project, name)) for name in columns},
            "named_at": new.named_at,
            "updated_at": utc_now(),
        },
        where=or_(Project.named_at.is_(None), Project.named_at <= new.named_at),
    ).returning(Project.id, Project.name)
    for project_id, name in (await session.execute(updated)).tuples().all():
        await _rename_workflows(session, project_id, name)


async def _rename_workflows(session: AsyncSession, project_id: str, name: str) -> None:
    """A workflow that was named after its project follows the project's name."""
    for definition in definitions().values():
        if definition.per_project and "{project}" in definition.name and name:
            await session.execute(
                update(Workflow)
                .where(Workflow.project_id == project_id, Workflow.kind == definition.kind)
                .values(name=definition.name.format(project=name)[:200], updated_at=utc_now())
            )


async def _trigger(
    session: AsyncSession, events: Sequence[IncomingEvent], settings: Settings
) -> dict[str, list[Started]]:
    """The executions that these events start, by event id."""
    matches = await _matching(session, events)
    wanted: dict[str, list[Wanted]] = {}
    for event in events:
        found = {
            workflow.id: Wanted(
                workflow_id=workflow.id,
                project_id=workflow.project_id,
                kind=workflow.kind,
                trigger_type=trigger.trigger_type,
                trigger_data=event.data,
                event_type=event.type,
                batch=runs_in_batch(workflow.kind, workflow.config),
                version=event.version,
                occurred_at=event.occurred_at,
            )
            for trigger, workflow in matches.get(event.project_id, [])
            if _matches(trigger, event)
        }
        wanted[event.id] = list(found.values())
    flat = [one for several in wanted.values() for one in several]
    made = await create_executions(session, flat, settings)
    started = {id_: [made[one.id] for one in several] for id_, several in wanted.items() if several}
    await _note(session, started)
    return started


async def _matching(
    session: AsyncSession, events: Sequence[IncomingEvent]
) -> dict[str, list[tuple[Trigger, Workflow]]]:
    """The active triggers that may concern these events, by project; ix_triggers_project_id_trigger_type."""
    pairs = {(event.project_id, type_) for event in events for type_ in (*event.trigger_types, "EVENT")}
    if not pairs:
        return {}
    query = (
        select(Trigger, Workflow)
        .join(Workflow, Workflow.id == Trigger.workflow_id)
        .where(tuple_(Trigger.project_id, Trigger.trigger_type).in_(sorted(pairs)))
        .where(Trigger.is_active, Workflow.is_active)
    )
    found: dict[str, list[tuple[Trigger, Workflow]]] = {}
    for trigger, workflow in (await session.execute(query)).tuples():
        found.setdefault(str(trigger.project_id), []).append((trigger, workflow))
    return found


def _matches(trigger: Trigger, event: IncomingEvent) -> bool:
    if trigger.trigger_type == "EVENT":
        return trigger.event_type == event.type
    return trigger.trigger_type in event.trigger_types and trigger.event_type in ("", event.type)


async def _note(session: AsyncSession, started: dict[str, list[Started]]) -> None:
    """Remember at each event what it started, and at each workflow's triggers when."""
    if not started:
        return
    ids = list(started)
    joined = [",".join(str(one.id) for one in started[id_]) for id_ in ids]
    lists = func.unnest(literal(ids, ARRAY(Text)), literal(joined, ARRAY(Text)))
    made = lists.table_valued("event_id", "execution_ids", name="made").render_derived()
    await session.execute(
        update(Event)
        .where(Event.id == made.c.event_id)
        .values(execution_ids=cast(func.string_to_array(made.c.execution_ids, ","), ARRAY(Uuid)))
    )
    workflows = {one.workflow_id for several in started.values() for one in several}
    await session.execute(
        update(Trigger).where(Trigger.workflow_id.in_(workflows)).values(last_triggered=utc_now())
    )
