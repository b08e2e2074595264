"""Projects appear by themselves: with the first event that names them, and with their workflows."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import case, or_, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from automation.callback.tell import workflows_ready
from automation.catalog import definitions
from automation.intake.events import IncomingEvent
from automation.models import Project, Workflow, utc_now
from automation.models.bulk import insert_rows
from automation.settings import Settings

_KNOWN = text("SELECT id FROM projects WHERE id = ANY(CAST(:ids AS text[]))")


async def ensure_projects(session: AsyncSession, events: Sequence[IncomingEvent], settings: Settings) -> None:
    """Every project that an event names exists, with its default workflows and what is known of its owner."""
    facts: dict[str, dict[str, Any]] = {}
    for event in events:
        fact = facts.setdefault(event.project_id, _project_row(event.project_id))
        fact |= _facts(event)
    if facts:
        await _ensure(session, facts, settings)


async def ensure_project(session: AsyncSession, project_id: str, settings: Settings) -> None:
    """A project that somebody names exists, with its default workflows; what is known of it stays as it is."""
    await _ensure(session, {project_id: _project_row(project_id)}, settings)


async def _ensure(session: AsyncSession, facts: Mapping[str, dict[str, Any]], settings: Settings) -> None:
    rows = [facts[id_] for id_ in sorted(facts)]
    known = set((await session.execute(_KNOWN, {"ids": list(facts)})).scalars())
    unknown = [row for row in rows if row["id"] not in known]
    written = await insert_rows(session, Project.table(), unknown, "ON CONFLICT DO NOTHING", "id")
    new = {id_ for (id_,) in written}
    if late := [row for row in rows if row["id"] not in new and row["named_at"]]:
        await _fill_late(session, late)
    if new:
        session.add_all(
            definition.rows(row["id"], row["name"])
            for row in rows
            if row["id"] in new
            for definition in definitions().values()
            if definition.scope == "project"
        )
        await session.flush()
        await workflows_ready(session, settings, new)


def _project_row(project_id: str) -> dict[str, Any]:
    now = utc_now()
    return {
        "id": project_id,
        "name": "",
        "owner_id": "",
        "owner_email": "",
        "named_at": None,
        "created_at": now,
        "updated_at": now,
    }


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
        if definition.scope == "project" and "{project}" in definition.name and name:
            await session.execute(
                update(Workflow)
                .where(Workflow.project_id == project_id, Workflow.kind == definition.kind)
                .values(name=definition.name.format(project=name)[:200], updated_at=utc_now())
            )
