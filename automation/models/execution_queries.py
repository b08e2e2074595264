"""What people ask of executions: the list, one of them, its log, those to be tried again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, func, literal_column, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from automation.errors import NotFoundError
from automation.models.base import Json
from automation.models.execution import FINAL, Execution, ExecutionLog, Status, StepExecution
from automation.models.flow_run import FlowRun
from automation.models.log_queries import Line, Wanted, lines_of, narrowed
from automation.models.paging import Order, Page, Position, read_page
from automation.models.recovery import Owed, WorkflowVersion
from automation.models.workflow import Workflow, WorkflowStep
from automation.requests import NOWHERE, Origin

NEWEST_FIRST = Order(Execution.created_at, Execution.id, descending=True)
OLDEST_LINE_FIRST = Order(ExecutionLog.timestamp, ExecutionLog.id, descending=False)


_SLOT_LEFT_OUT = "SKIPPED"
"""The error code of an execution that stands for a slot of a schedule in which nothing was to run."""
_PAST_RUNS = 100
_ENOUGH = 5
"""Past runs of a step under which nothing is said of how long it takes."""


@dataclass(frozen=True, slots=True)
class ExecutionDetail:
    """An execution with all that belongs to it.

    Attributes:
        steps: what is recorded of its steps, without the items of a FOR_EACH.
        planned: the steps of its version as `workflow_versions` has them; none of one that is COMPLETED, all of whose
            steps are recorded, and of one that ended before it had a version.
        flow_run: the last one that carried it.
        owed: what its steps left to the outbox and is not delivered.
        attempts, step_attempts, waits: rows as JSON, oldest first; step_attempts without the items of a FOR_EACH.
        children: {"execution_id", "step", "workflow_id", "status"} of the executions that its steps have started.
        items: {"step", "status", "number"} of the items of a FOR_EACH.
    """

    execution: Execution
    workflow_name: str
    steps: Sequence[StepExecution]
    planned: Sequence[Json]
    flow_run: FlowRun | None
    owed: Sequence[Owed]
    attempts: Sequence[Json]
    step_attempts: Sequence[Json]
    waits: Sequence[Json]
    children: Sequence[Json]
    items: Sequence[Json]


def has_status(status: str) -> ColumnElement[bool]:
    """Written out in the statement, or PostgreSQL cannot see that a partial index is meant."""
    return Execution.status == bindparam("status", status, literal_execute=True)


async def list_executions(
    session: AsyncSession,
    *,
    project_id: str | None = None,
    workflow_id: UUID | None = None,
    status: str | None = None,
    kind: str | None = None,
    parent_id: UUID | None = None,
    degraded: bool | None = None,
    position: Position | None = None,
    size: int = 50,
) -> Page[tuple[Execution, str]]:
    """Executions with the names of their workflows, newest first; ix_workflow_executions_created_at_id, and what is
    rare by partial indexes: _open, _unsuccessful, _degraded, _kind, _parent_id.

    What can be large (trigger data, result) is not read.
    """
    query = (
        select(Execution, Workflow.name)
        .join(Workflow, Workflow.id == Execution.workflow_id)
        .options(defer(Execution.trigger_data, raiseload=True), defer(Execution.result, raiseload=True))
    )
    if project_id is not None:
        query = query.where(Execution.project_id == project_id)
    if workflow_id is not None:
        query = query.where(Execution.workflow_id == workflow_id)
    if status is not None:
        query = query.where(has_status(status))
    if kind is not None:
        query = query.where(Execution.kind == kind)
        if kind != "auto-save":  # said once more, so that PostgreSQL sees that the partial index is meant
            query = query.where(Execution.kind != literal_column("'auto-save'"))
    if parent_id is not None:
        query = query.where(Execution.parent_id == parent_id)
    if degraded is not None:
        query = query.where(Execution.degraded if degraded else ~Execution.degraded)
    return await read_page(session, query, NEWEST_FIRST, position, size)


# One statement for what most executions have nothing of; all by indexes on execution_id and parent_id.
_BELONGING = text("""
    SELECT
        (SELECT jsonb_agg(a ORDER BY a.id) FROM execution_attempts AS a WHERE a.execution_id = :id) AS attempts,
        (SELECT jsonb_agg(a ORDER BY a.id) FROM step_attempts AS a
            WHERE a.execution_id = :id AND position('[' IN a.identifier) = 0) AS step_attempts,
        (SELECT jsonb_agg(w ORDER BY w.created_at, w.identifier) FROM execution_waits AS w
            WHERE w.execution_id = :id) AS waits,
        (SELECT jsonb_agg(jsonb_build_object('execution_id', c.id, 'step', c.parent_step,
                'workflow_id', c.workflow_id, 'status', c.status) ORDER BY c.created_at, c.id)
            FROM workflow_executions AS c WHERE c.parent_id = :id) AS children,
        (SELECT jsonb_agg(i ORDER BY i.step, i.status) FROM (
            SELECT split_part(s.identifier, '[', 1) AS step, s.status, count(*) AS number FROM step_executions AS s
            WHERE s.execution_id = :id AND position('[' IN s.identifier) > 0 GROUP BY 1, 2) AS i) AS items
""").columns(attempts=JSONB, step_attempts=JSONB, waits=JSONB, children=JSONB, items=JSONB)


async def find_execution(session: AsyncSession, execution_id: UUID) -> ExecutionDetail:
    """One execution with all that belongs to it.

    Raises:
        NotFoundError: there is no such execution.
    """
    query = (
        select(Execution, Workflow.name, FlowRun)
        .join(Workflow, Workflow.id == Execution.workflow_id)
        .outerjoin(FlowRun, FlowRun.id == Execution.flow_run_id)
        .where(Execution.id == execution_id)
    )
    found = (await session.execute(query)).one_or_none()
    if found is None:
        raise NotFoundError(f"Execution {execution_id} does not exist.")
    execution, name, flow_run = found
    steps = await session.scalars(
        select(StepExecution)
        .where(StepExecution.execution_id == execution_id, ~StepExecution.identifier.contains("["))
        .order_by(StepExecution.order, StepExecution.identifier)
    )
    owed = await session.scalars(
        select(Owed)
        .where(Owed.execution_id == execution_id, Owed.status != "DELIVERED")
        .order_by(Owed.created_at, Owed.id)
    )
    belonging = (await session.execute(_BELONGING, {"id": execution_id})).mappings().one()
    return ExecutionDetail(
        execution=execution,
        workflow_name=name,
        steps=steps.all(),
        planned=await _planned(session, execution),
        flow_run=flow_run,
        owed=owed.all(),
        **{name: rows or [] for name, rows in belonging.items()},
    )


async def _planned(session: AsyncSession, execution: Execution) -> Sequence[Json]:
    """The steps that it runs."""
    steps = await _steps_of_version(session, execution)
    return [one for one in steps if execution.only_step in ("", one["identifier"])]


async def _steps_of_version(session: AsyncSession, execution: Execution) -> Sequence[Json]:
    """The steps of its version; of one that has not begun, those of its workflow as it is now."""
    if execution.status == Status.COMPLETED:
        return []
    if execution.workflow_version is not None:
        stored = await session.get(WorkflowVersion, (execution.workflow_id, execution.workflow_version))
        if stored is not None:
            steps: list[Json] = stored.definition["steps"]
            return steps
    if execution.status in FINAL:
        return []
    columns = ("identifier", "step_type", "order", "depends_on", "is_required")
    query = select(*(getattr(WorkflowStep, name) for name in columns))
    rows = await session.execute(query.where(WorkflowStep.workflow_id == execution.workflow_id))
    return [dict(one) for one in rows.mappings()]


_MEDIANS = text("""
    SELECT past.workflow_id, s.identifier, percentile_cont(0.5) WITHIN GROUP (
        ORDER BY CASE s.status WHEN 'SKIPPED' THEN 0 ELSE s.duration_ms END
    ) / 1000 AS seconds
    FROM unnest(CAST(:workflow_ids AS uuid[])) AS asked(workflow_id), LATERAL (
        SELECT e.id, e.workflow_id FROM workflow_executions AS e
        WHERE e.workflow_id = asked.workflow_id AND e.status = 'COMPLETED'
        ORDER BY e.completed_at DESC LIMIT :runs
    ) AS past
    JOIN step_executions AS s ON s.execution_id = past.id
    WHERE s.identifier = ANY(CAST(:identifiers AS text[])) AND (s.duration_ms IS NOT NULL OR s.status = 'SKIPPED')
    GROUP BY past.workflow_id, s.identifier HAVING count(*) >= :enough
""")


async def median_seconds(
    session: AsyncSession, workflow_ids: Collection[UUID], identifiers: Collection[str], *, runs: int = _PAST_RUNS
) -> dict[UUID, dict[str, float]]:
    """What these steps took, as a rule, in each workflow's last completed runs; a step that was skipped took no time.
    One with fewer than 5 runs is left out. ix_workflow_executions_completed.
    """
    found: dict[UUID, dict[str, float]] = {id_: {} for id_ in workflow_ids}
    asked = {"workflow_ids": list(workflow_ids), "identifiers": list(identifiers), "runs": runs, "enough": _ENOUGH}
    for workflow_id, name, seconds in (await session.execute(_MEDIANS, asked)).tuples():
        found[workflow_id][name] = float(seconds)
    return found


async def require_execution(session: AsyncSession, execution_id: UUID) -> None:
    """Raise NotFoundError if there is no such execution."""
    if await session.scalar(select(Execution.id).where(Execution.id == execution_id)) is None:
        raise NotFoundError(f"Execution {execution_id} does not exist.")


async def origin_of(session: AsyncSession, execution_id: UUID | None) -> Origin:
    """What an execution goes back to, if it is still there."""
    query = select(Execution.request_id, Execution.traceparent).where(Execution.id == execution_id)
    found = (await session.execute(query)).one_or_none()
    return Origin(*found) if found else NOWHERE


async def list_items(
    session: AsyncSession, execution_id: UUID, step: str, *, status: str | None = None
) -> Sequence[StepExecution]:
    """The records of the items of a FOR_EACH, of which there are at most 1,000, in the order of the items.

    Raises:
        NotFoundError: there is no such execution.
    """
    await require_execution(session, execution_id)
    mine = StepExecution.identifier.startswith(f"{step}[", autoescape=True)
    query = select(StepExecution).where(StepExecution.execution_id == execution_id, mine)
    if status is not None:
        query = query.where(StepExecution.status == status)
    # `step[2]` before `step[10]`: a shorter one has the lower number
    in_order = query.order_by(func.length(StepExecution.identifier), StepExecution.identifier)
    return (await session.scalars(in_order)).all()


# Every change of a row gives it another place (ctid) or writer (xmin), so a sum over all of them says whether
# anything has changed, whatever it is. A flow run counts by its state only: its lease is renewed every second.
_MARKS = text("""
    SELECT e.id, concat_ws('/', e.ctid, e.xmin,
        (SELECT sum(hashtextextended(concat_ws('/', s.ctid, s.xmin), 0)) FROM step_executions AS s
            WHERE s.execution_id = e.id),
        (SELECT sum(hashtextextended(concat_ws('/', w.ctid, w.xmin), 0)) FROM execution_waits AS w
            WHERE w.execution_id = e.id),
        (SELECT sum(hashtextextended(concat_ws('/', o.ctid, o.xmin), 0)) FROM outbox AS o
            WHERE o.execution_id = e.id),
        (SELECT sum(hashtextextended(concat_ws('/', c.id, c.status), 0)) FROM workflow_executions AS c
            WHERE c.parent_id = e.id),
        (SELECT count(*) FROM execution_attempts AS a WHERE a.execution_id = e.id),
        (SELECT count(*) FROM step_attempts AS a WHERE a.execution_id = e.id),
        (SELECT concat_ws('/', f.prefect_id, f.state) FROM flow_runs AS f WHERE f.id = e.flow_run_id)
    )
    FROM workflow_executions AS e WHERE e.id = ANY(CAST(:ids AS uuid[]))
""")


async def change_marks(session: AsyncSession, ids: Collection[UUID]) -> dict[UUID, str]:
    """Of each of these executions (that exist) a text that is another one when anything of its detail has changed."""
    return dict((await session.execute(_MARKS, {"ids": list(ids)})).tuples().all())


async def lock_execution(session: AsyncSession, execution_id: UUID) -> Execution:
    """One execution, which nobody else changes until the transaction ends.

    Rows may refer to it meanwhile, as everywhere: log lines that the mirror copies would wait in a circle otherwise.

    Raises:
        NotFoundError: there is no such execution.
    """
    query = select(Execution).where(Execution.id == execution_id).with_for_update(key_share=True)
    execution = await session.scalar(query)
    if execution is None:
        raise NotFoundError(f"Execution {execution_id} does not exist.")
    return execution


async def list_log_lines(
    session: AsyncSession, execution_id: UUID, wanted: Wanted, position: Position | None, size: int
) -> Page[Line]:
    """Lines of an execution's log, oldest first.

    Raises:
        NotFoundError: there is no such execution.
    """
    await require_execution(session, execution_id)
    query = lines_of().where(ExecutionLog.execution_id == execution_id, *narrowed(wanted))
    return await read_page(session, query, OLDEST_LINE_FIRST, position, size)


@dataclass(frozen=True, slots=True)
class Unsuccessful:
    """Which executions that ended badly are meant; what is None does not narrow.

    Attributes:
        status: FAILED or CANCELLED.
        since: when they ended, at the earliest.
    """

    status: str
    project_id: str | None = None
    workflow_id: UUID | None = None
    kind: str | None = None
    since: datetime | None = None
    ids: Collection[UUID] | None = None

    def clauses(self) -> list[ColumnElement[bool]]:
        """Those that can be tried again by themselves: not of a workflow that was deleted, no slot of a schedule
        that was left out, and none that a step has started, which is started anew with that step."""
        found = [
            has_status(self.status),
            Workflow.archived_at.is_(None),
            Execution.error_code != _SLOT_LEFT_OUT,
            Execution.parent_id.is_(None),
        ]
        given = {"project_id": self.project_id, "workflow_id": self.workflow_id, "kind": self.kind}
        found += [getattr(Execution, name) == value for name, value in given.items() if value is not None]
        if self.since is not None:
            found.append(Execution.completed_at >= self.since)
        return found if self.ids is None else [*found, Execution.id.in_(self.ids)]


async def lock_unsuccessful(session: AsyncSession, wanted: Unsuccessful, most: int) -> Sequence[UUID]:
    """The oldest of them that nobody else is changing; ix_workflow_executions_unsuccessful."""
    query = (
        select(Execution.id)
        .join(Workflow, Workflow.id == Execution.workflow_id)
        .where(*wanted.clauses())
        .order_by(Execution.created_at, Execution.id)
        .limit(most)
        .with_for_update(of=Execution, skip_locked=True)
    )
    return (await session.scalars(query)).all()


async def count_unsuccessful(session: AsyncSession, wanted: Unsuccessful) -> int:
    """How many there are; ix_workflow_executions_unsuccessful."""
    query = select(func.count()).select_from(Execution).join(Workflow, Workflow.id == Execution.workflow_id)
    return await session.scalar(query.where(*wanted.clauses())) or 0


@dataclass(frozen=True, slots=True)
class Queued:
    """Which executions that wait are meant; what is None does not narrow.

    Attributes:
        status: PENDING, RETRYING or WAITING.
    """

    status: str
    project_id: str | None = None
    workflow_id: UUID | None = None
    kind: str | None = None

    def clauses(self) -> list[ColumnElement[bool]]:
        """Those that are not being undone, which ends by itself."""
        given = {"project_id": self.project_id, "workflow_id": self.workflow_id, "kind": self.kind}
        narrowed = [getattr(Execution, name) == value for name, value in given.items() if value is not None]
        return [has_status(self.status), Execution.ending == "", *narrowed]


async def lock_queued(session: AsyncSession, wanted: Queued, most: int) -> Sequence[Execution]:
    """The oldest of them that nobody else is changing; ix_workflow_executions_open."""
    query = (
        select(Execution)
        .where(*wanted.clauses())
        .order_by(Execution.created_at, Execution.id)
        .limit(most)
        .with_for_update(skip_locked=True)
    )
    return (await session.scalars(query)).all()


async def count_queued(session: AsyncSession, wanted: Queued) -> int:
    """How many there are; ix_workflow_executions_open."""
    return await session.scalar(select(func.count()).select_from(Execution).where(*wanted.clauses())) or 0
