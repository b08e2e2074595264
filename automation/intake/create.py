"""Making executions. Whoever starts one (an event, cron, the API, Prefect's UI) comes through here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import and_, func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.callback.tell import executions_ended
from automation.catalog import definitions
from automation.errors import ConflictError, NotFoundError
from automation.intake.events import storable
from automation.models import Execution, Json, Status, Workflow, utc_now
from automation.models.bulk import insert_rows
from automation.requests import Origin, origin
from automation.settings import Settings

WORK_CHANNEL = "automation_work"
"""NOTIFY channel that says that work of a kind (the payload; empty for all) may be due."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An execution that somebody wants: the workflow and what triggers it."""

    workflow_id: UUID
    project_id: str | None
    kind: str
    trigger_type: str
    trigger_data: Json
    occurred_at: datetime
    event_type: str = ""
    version: int | None = None
    event_count: int = 1
    batch: bool = False
    id: UUID = field(default_factory=uuid4)
    trigger_id: UUID | None = None
    event_id: str | None = None
    not_before: datetime | None = None
    parent_id: UUID | None = None
    parent_step: str = ""
    depth: int = 0
    serial_key: str | None = None
    """What the trigger says that executions must not overlap on; each of them runs, one after the other."""
    by_name: bool = False
    """Asked for by name rather than triggered by an event: due at once, and never merged into another."""
    origin: Origin = field(default_factory=origin)

    @property
    def coalesces(self) -> bool:
        """Whether a newer one of its key may take its place while it waits."""
        return not self.by_name and self.serial_key is None

    @property
    def key(self) -> str | None:
        """What executions of this workflow must not overlap on, or None when they may."""
        if self.serial_key is not None:
            return self.serial_key
        definition = definitions().get(self.kind)
        if definition is None or definition.key is None:
            return None
        value: Any = {**self.trigger_data, "project_id": self.project_id}
        for part in definition.key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return None if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Started:
    """An execution that now exists (or that took the data in, when it was waiting already)."""

    id: UUID
    workflow_id: UUID
    kind: str
    status: str


async def create_executions(session: AsyncSession, wanted: Sequence[Wanted], settings: Settings) -> dict[UUID, Started]:
    """Write the executions that are wanted, in a fixed number of statements.

    While an execution of the same workflow and key waits, newer data replaces its data and its event count
    rises ("newer": by page version if both have one, else by the sender's time). The first execution of a
    key is due at once, further ones when the kind's interval is over. Kinds that flush others make what the
    project has waiting due now; what is retrying on the same key is superseded.

    Returns:
        For the id of each wanted execution, the one that stands for it.
    """
    if not wanted:
        return {}
    merged = _merge(wanted)
    starts = await _last_starts(session, [one for one, _ in merged])
    now = utc_now()
    rows = [_row(one, now, _due(one, now, starts, settings)) for one, _ in merged]
    for behind, row in enumerate(reversed(rows)):
        if not row["coalesces"]:  # those of one key run one after the other, in the order of their events
            row["created_at"] -= timedelta(microseconds=behind)
    written = await _upsert(session, rows)
    started: dict[UUID, Started] = {}
    for (one, ids), row in zip(merged, rows, strict=True):
        execution = written.get(one.id) or written[(one.workflow_id, row["key"])]
        started |= dict.fromkeys(ids, execution)
    await _supersede_retrying(session, {one.id for one in started.values()}, settings)
    await _flush(session, [one for one, _ in merged], now)
    for kind in sorted({one.kind for one in wanted}):
        await session.execute(select(func.pg_notify(WORK_CHANNEL, kind)))
    return started


async def start_workflow(
    session: AsyncSession,
    workflow_id: UUID,
    settings: Settings,
    *,
    trigger_type: str,
    trigger_data: Json,
    execution_id: UUID | None = None,
) -> Started:
    """One execution of one workflow, asked for by name: by the API, cron, Prefect's UI or CLI.

    Args:
        execution_id: a name of the caller's for it, so that asking twice makes one.

    Raises:
        NotFoundError: there is no such workflow.
        ConflictError: the workflow is switched off.
        RefusedError: PostgreSQL cannot store the data.
    """
    storable(trigger_data, "trigger_data")
    workflow = await session.get(Workflow, workflow_id)
    if workflow is None:
        raise NotFoundError(f"Workflow {workflow_id} does not exist.")
    if not workflow.is_active:
        raise ConflictError(f"Workflow {workflow_id} ({workflow.name}) is switched off; set is_active first.")
    wanted = Wanted(
        workflow_id=workflow.id,
        project_id=workflow.project_id,
        kind=workflow.kind,
        trigger_type=trigger_type,
        trigger_data=trigger_data,
        occurred_at=utc_now(),
        id=execution_id or uuid4(),
        by_name=True,
    )
    if execution_id and (known := await session.get(Execution, execution_id)):
        return Started(known.id, known.workflow_id, known.kind, known.status)
    return (await create_executions(session, [wanted], settings))[wanted.id]


def runs_in_batch(kind: str, config: Json) -> bool:
    """Whether batch runs carry a workflow's executions: its kind has them, and its `config.run_mode` wants them."""
    definition = definitions().get(kind)
    if definition is None:
        return False
    asked = config.get("run_mode")
    return (asked if asked in definition.run_modes else definition.run_modes[0]) == "batch"


def newer(version: int | None, at: datetime, than_version: int | None, than_at: datetime) -> bool:
    """Whether the first payload replaces the second: by version if both have one (and not the same), else by time."""
    if version is not None and than_version is not None and version != than_version:
        return version > than_version
    return at >= than_at


def _merge(wanted: Iterable[Wanted]) -> list[tuple[Wanted, list[UUID]]]:
    """Executions of one workflow and key become one, with the newest data and the sum of the events."""
    groups: dict[tuple[UUID, str | UUID], tuple[Wanted, list[UUID]]] = {}
    for one in wanted:
        group = (one.workflow_id, one.key if one.key is not None and one.coalesces else one.id)
        if group not in groups:
            groups[group] = (one, [one.id])
            continue
        old, ids = groups[group]
        best = one if newer(one.version, one.occurred_at, old.version, old.occurred_at) else old
        count = old.event_count + one.event_count
        turn = min(one.not_before, old.not_before) if one.not_before and old.not_before else None
        groups[group] = (replace(best, id=old.id, event_count=count, not_before=turn), [*ids, one.id])
    # one order for everybody, so that two requests with the same pages cannot wait for each other in a circle
    return sorted(groups.values(), key=lambda group: (group[0].workflow_id, group[0].key or ""))


# The statements of the intake are text: composing them anew for each request costs more than running them.
_LAST_STARTS = text("""
    SELECT e.workflow_id, e.key, max(CASE WHEN e.status = 'PENDING' THEN e.due_at ELSE e.started_at END)
    FROM workflow_executions AS e
    JOIN unnest(CAST(:workflows AS uuid[]), CAST(:keys AS text[])) AS wanted(workflow_id, key)
      ON wanted.workflow_id = e.workflow_id AND wanted.key = e.key
    WHERE e.created_at > :since
    GROUP BY e.workflow_id, e.key
""")


async def _last_starts(session: AsyncSession, wanted: Sequence[Wanted]) -> dict[tuple[UUID, str], datetime]:
    """When the newest execution of each key began or will begin; ix_…_workflow_id_key_created_at.

    One that is RETRYING gives way to the newer one, so its next try delays nobody.
    """
    keyed = [one for one in wanted if one.key is not None and _has_interval(one.kind)]
    if not keyed:
        return {}
    rows = await session.execute(
        _LAST_STARTS,
        {
            "workflows": [one.workflow_id for one in keyed],
            "keys": [one.key for one in keyed],
            "since": utc_now() - timedelta(days=1),
        },
    )
    return {(workflow_id, key): at for workflow_id, key, at in rows.tuples()}


def _has_interval(kind: str) -> bool:
    definition = definitions().get(kind)
    return definition is not None and definition.interval_setting is not None


def _due(one: Wanted, now: datetime, starts: dict[tuple[UUID, str], datetime], settings: Settings) -> datetime:
    now = max(now, one.not_before or now)
    definition = definitions().get(one.kind)
    if definition is None or one.by_name:
        return now
    if definition.rare:
        return now + timedelta(seconds=settings.dispatch_grace)
    if definition.interval_setting and (last := starts.get((one.workflow_id, one.key or ""))):
        interval = timedelta(seconds=getattr(settings, definition.interval_setting))
        return max(now, last + interval)
    return now


def _row(one: Wanted, now: datetime, due_at: datetime) -> Json:
    return {
        "id": one.id,
        "workflow_id": one.workflow_id,
        "project_id": one.project_id,
        "kind": one.kind,
        "key": one.key,
        "coalesces": one.coalesces,
        "batch": one.batch,
        "status": Status.PENDING,
        "created_at": now,
        "due_at": due_at,
        "trigger_type": one.trigger_type,
        "event_type": one.event_type,
        "trigger_id": one.trigger_id,
        "event_id": one.event_id,
        "trigger_data": one.trigger_data,
        "version": one.version,
        "occurred_at": one.occurred_at,
        "event_count": one.event_count,
        "result": {},
        "error_message": "",
        "error_code": "",
        "attempt": 0,
        "lost_count": 0,
        "dispatch_no": 0,
        "parent_id": one.parent_id,
        "parent_step": one.parent_step,
        "depth": one.depth,
        "request_id": one.origin.request_id,
        "traceparent": one.origin.traceparent,
    }


_NEWER = """CASE WHEN excluded.version <> workflow_executions.version
    THEN excluded.version > workflow_executions.version
    ELSE excluded.occurred_at >= workflow_executions.occurred_at END"""
_REPLACED = (
    "trigger_type", "event_type", "trigger_id", "event_id", "trigger_data", "version", "occurred_at", "request_id",
    "traceparent",
)  # fmt: skip
# `newer` in SQL: of two payloads for one key (uq_workflow_executions_waiting) the newer one stays
_COALESCE = (
    "ON CONFLICT (workflow_id, key) "
    "WHERE status = 'PENDING' AND flow_run_id IS NULL AND key IS NOT NULL AND coalesces DO UPDATE SET "
    + ", ".join(
        f"{name} = CASE WHEN {_NEWER} THEN excluded.{name} ELSE workflow_executions.{name} END" for name in _REPLACED
    )
    + ", event_count = workflow_executions.event_count + excluded.event_count"
    ", due_at = least(workflow_executions.due_at, excluded.due_at)"
)


async def _upsert(session: AsyncSession, rows: Sequence[Json]) -> dict[Any, Started]:
    """Insert, or take into what waits; what stands afterwards, by id and by (workflow, key)."""
    found: dict[Any, Started] = {}
    written = await insert_rows(
        session, Execution.table(), rows, _COALESCE, "id, workflow_id, kind, status, key, coalesces"
    )
    for id_, workflow_id, kind, status, key, coalesces in written:
        found[id_] = Started(id_, workflow_id, kind, status)
        if coalesces:
            found[(workflow_id, key)] = found[id_]
    return found


_SUPERSEDE = text("""
    UPDATE workflow_executions AS old
    SET status = 'CANCELLED', completed_at = CAST(:now AS timestamptz),
        error_message = concat('superseded by ', new.id, ', a newer execution of the same key')
    FROM workflow_executions AS new
    WHERE new.id = ANY(CAST(:ids AS uuid[])) AND new.workflow_id = old.workflow_id AND new.key = old.key
      AND new.id <> old.id AND old.status = 'RETRYING' AND old.coalesces
      AND CASE WHEN old.version <> new.version THEN old.version < new.version
               ELSE old.occurred_at <= new.occurred_at END
    RETURNING old.id
""")


async def _supersede_retrying(session: AsyncSession, new_ids: set[UUID], settings: Settings) -> None:
    """What is to be tried again gives way to a newer execution of its key; not to one that came out of order."""
    ended = await session.scalars(_SUPERSEDE, {"ids": list(new_ids), "now": utc_now()})
    await executions_ended(session, settings, ended.all())


async def _flush(session: AsyncSession, wanted: Sequence[Wanted], now: datetime) -> None:
    """What a flushing kind has to wait for is due now; ix_workflow_executions_open."""
    clauses = [
        and_(Execution.project_id == one.project_id, Execution.kind.in_(definition.flushes))
        for one in wanted
        if (definition := definitions().get(one.kind)) and definition.flushes
    ]
    if clauses:
        waiting = (  # locked in the order of `_merge`, so that a list of page events does not wait in a circle
            select(Execution.id)
            .where(or_(*clauses), Execution.status == Status.PENDING, Execution.due_at > now)
            .order_by(Execution.workflow_id, Execution.key)
            .with_for_update(key_share=True)
        )
        await session.execute(
            update(Execution)
            .where(Execution.id.in_(waiting))
            .values(due_at=now)
            .execution_options(synchronize_session=False)
        )
