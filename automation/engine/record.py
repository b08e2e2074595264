"""What the engine writes: steps, log lines and outcomes, in bulk, only under its own dispatch number."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import exists, inspect, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.engine.plan import Item, PlannedStep
from automation.errors import CancelledError, StepError
from automation.models import Base, Execution, ExecutionLog, FlowRun, Json, Status, StepExecution, utc_now
from automation.models.bulk import insert_rows, update_rows
from automation.steps import LogLine, StepItem

_EXECUTIONS = Execution.table()
_STEPS = StepExecution.table()
_LOGS = ExecutionLog.table()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an execution left the engine. `due_at` is set when it is to be tried again."""

    status: Status
    result: Json = field(default_factory=dict)
    error_message: str = ""
    error_code: str = ""
    due_at: datetime | None = None


def outcome_of(item: Item, now: datetime) -> Outcome:
    """What becomes of an execution that has nothing left to run; pure."""
    result: Json = {"steps": item.done}
    if item.degraded:
        result["degraded"] = item.degraded
    if item.error is None:
        return Outcome(Status.COMPLETED, result)
    message, code = f"{item.error}", item.error.code
    if isinstance(item.error, CancelledError):
        return Outcome(Status.CANCELLED, result, message, code)
    delay = item.error.policy.delay_before(item.attempt - item.lost_count)
    if delay is None:
        return Outcome(Status.FAILED, result, message, code)
    return Outcome(Status.RETRYING, {}, message, code, now + delay)


async def still_ours(session: AsyncSession, items: Sequence[Item]) -> set[UUID]:
    """The executions among `items` that nobody took from us; their rows are locked until the commit.

    What a run still does after it was given up as lost is nobody's: the mirror hands its executions on.
    """
    given_up = exists().where(FlowRun.id == Execution.flow_run_id, FlowRun.ended_at.is_not(None))
    query = (
        select(Execution.id, Execution.dispatch_no)
        .where(Execution.id.in_([item.execution_id for item in items]), Execution.status == Status.RUNNING)
        .where(~given_up)
        .order_by(Execution.id)
        .with_for_update(of=Execution)
    )
    current = dict((await session.execute(query)).tuples().all())
    return {item.execution_id for item in items if current.get(item.execution_id) == item.dispatch_no}


async def cancel_requested(session: AsyncSession, ids: set[UUID]) -> set[UUID]:
    """Which of these executions somebody wants cancelled."""
    query = select(Execution.id).where(Execution.id.in_(ids), Execution.cancel_requested_at.is_not(None))
    return set((await session.execute(query)).scalars())


async def steps_begun(session: AsyncSession, pairs: Iterable[tuple[Item, PlannedStep]]) -> None:
    """Show steps as RUNNING; for single runs, where somebody may be watching."""
    now = utc_now()
    await _write_steps(
        session, [_step_row(item, step) | {"status": Status.RUNNING, "started_at": now} for item, step in pairs]
    )


async def steps_ended(
    session: AsyncSession, ended: Sequence[tuple[Item, PlannedStep, StepItem]], flow_run_id: UUID
) -> None:
    """Record steps that completed or failed, with their log lines and the rows that they left."""
    rows, lines, effects = [], [], []
    for item, step, work in ended:
        completed = work.error is None
        rows.append(
            _step_row(item, step)
            | {
                "status": _step_status(work.error),
                "started_at": work.started_at,
                "completed_at": utc_now(),
                "duration_ms": round(work.duration_ms, 3),
                "result": work.result or {},
                "error_message": str(work.error or ""),
                "error_code": work.error.code if work.error else "",
                "task_run_id": work.task_run_id,
            }
        )
        lines += [_log_row(item, step, flow_run_id, line) for line in work.context.lines]
        effects += work.context.rows if completed else []
    await _write_steps(session, rows)
    await insert_rows(session, _LOGS, lines)
    await _write_effects(session, effects)


async def executions_ended(session: AsyncSession, outcomes: Sequence[tuple[Item, Outcome]], *, batch: bool) -> None:
    """Record how executions ended, or when they are tried again, and which of their steps were not reached.

    Args:
        batch: an execution that is to be tried again leaves this run, for a single run of its own.
    """
    now = utc_now()
    rows = [
        {
            "id": item.execution_id,
            "dispatch_no": item.dispatch_no,
            "status": outcome.status,
            "result": outcome.result,
            "error_message": outcome.error_message,
            "error_code": outcome.error_code,
            "due_at": outcome.due_at or now,
            "completed_at": now if outcome.due_at is None else None,
        }
        for item, outcome in outcomes
    ]
    await update_rows(session, _EXECUTIONS, rows, keys=("id", "dispatch_no"))
    leaving = [item.execution_id for item, outcome in outcomes if batch and outcome.due_at]
    if leaving:
        await session.execute(update(Execution).where(Execution.id.in_(leaving)).values(flow_run_id=None, batch=False))
    await _write_steps(session, [_skipped_row(item, step, outcome) for item, outcome in outcomes
                                 if outcome.due_at is None for step in item.left()])  # fmt: skip


def _skipped_row(item: Item, step: PlannedStep, outcome: Outcome) -> Json:
    cause = item.failed_step.identifier if item.failed_step else "the execution"
    return _step_row(item, step) | {
        "status": Status.SKIPPED,
        "completed_at": utc_now(),
        "error_message": f"not reached: {cause} {outcome.status.lower()}",
    }


def _step_status(error: StepError | None) -> Status:
    if error is None:
        return Status.COMPLETED
    return Status.CANCELLED if isinstance(error, CancelledError) else Status.FAILED


def _step_row(item: Item, step: PlannedStep) -> Json:
    return {
        "execution_id": item.execution_id,
        "step_id": step.id,
        "project_id": item.project.id or None,
        "identifier": step.identifier,
        "step_type": step.step_type,
        "order": step.order,
        "status": Status.PENDING,
        "started_at": None,
        "completed_at": None,
        "duration_ms": None,
        "result": {},
        "error_message": "",
        "error_code": "",
        "attempt": item.attempt,
        "task_run_id": None,
    }


def _log_row(item: Item, step: PlannedStep, flow_run_id: UUID, line: LogLine) -> Json:
    return {
        "execution_id": item.execution_id,
        "flow_run_id": flow_run_id,
        "project_id": item.project.id or None,
        "step_id": step.id,
        "step_identifier": step.identifier,
        "timestamp": line.timestamp,
        "level": line.level,
        "message": line.message,
        "duration_ms": line.duration_ms,
        "details": line.details,
    }


_UPSERT_STEP = "ON CONFLICT (execution_id, identifier) DO UPDATE SET " + ", ".join(
    f'"{name}" = excluded."{name}"'
    for name in _STEPS.c.keys()  # noqa: SIM118 (a column collection, not a dict)
    if name not in ("id", "execution_id", "identifier", "step_id", "project_id", "order")
)


async def _write_steps(session: AsyncSession, rows: Sequence[Json]) -> None:
    await insert_rows(session, _STEPS, rows, _UPSERT_STEP)


async def _write_effects(session: AsyncSession, effects: Sequence[Base]) -> None:
    """Rows that steps left; one that is there already (the step ran before) is kept as it is."""
    for model, several in groupby(effects, key=_model):
        await insert_rows(session, model.table(), [_values(row) for row in several], "ON CONFLICT DO NOTHING")


def _model(row: Base) -> type[Base]:
    return type(row)


def _values(row: Base) -> dict[str, Any]:
    """A new object's columns, with the Python-side defaults that a flush would have filled in."""
    values: dict[str, Any] = {}
    for attribute in inspect(type(row)).column_attrs:
        column = attribute.columns[0]
        value = row.__dict__.get(attribute.key)
        if value is None and column.default is not None:
            value = column.default.arg(None) if column.default.is_callable else column.default.arg
        if value is not None or column.nullable:
            values[column.name] = value
    return values
