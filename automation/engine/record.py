"""What the engine writes: steps, log lines and outcomes, in bulk, only under its own dispatch number."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import exists, inspect, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from automation.alerting.sightings import CRITICAL_ERRORS, ROLLBACK_FAILED, sighting
from automation.callback import tell
from automation.engine import children
from automation.engine.checkpoints import keep_tries
from automation.engine.plan import Item, PlannedStep
from automation.errors import LONGEST_BACKOFF, CancelledError, DatabaseError, FileSystemError, StepError
from automation.intake import waits
from automation.models import (
    FINAL,
    Base,
    Execution,
    ExecutionAttempt,
    ExecutionLog,
    FlowRun,
    Json,
    Sighting,
    Status,
    StepExecution,
    utc_now,
)
from automation.models.bulk import insert_rows, update_rows
from automation.models.recovery_queries import dead_letter
from automation.retries import Rules, policy
from automation.settings import Settings
from automation.steps import LogLine, StepItem, Waiting

_CRITICAL = (DatabaseError, FileSystemError)
"""What ends an execution and is not its own fault: the administrators are told at once."""
_ATTEMPTS = ExecutionAttempt.table()
_EXECUTIONS = Execution.table()
_STEPS = StepExecution.table()
_LOGS = ExecutionLog.table()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an execution left the engine. `due_at` is set when it goes on at a time: tried again, or in another run."""

    status: Status
    result: Json = field(default_factory=dict)
    error_message: str = ""
    error_code: str = ""
    due_at: datetime | None = None
    failed_step: str = ""
    retries: int = 0

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


def outcome_of(item: Item, now: datetime, table: Rules, chance: float = 0.5) -> Outcome:
    """What becomes of an execution that has nothing left to run; pure.

    Args:
        table: the installation's retry table; the workflow's and the step's own rules come on top.
        chance: 0 to 1, for the jitter of a retry.
    """
    if item.leaves:
        return Outcome(Status.RETRYING, due_at=now)
    result: Json = {"steps": item.done}
    if item.degraded:
        result["degraded"] = item.degraded
    error, step = item.error, item.failed_step
    if error is None:
        return Outcome(Status.WAITING) if item.waiting else Outcome(Status.COMPLETED, result)
    message, code, name = f"{error}", error.code, step.identifier if step else ""
    if item.ending or isinstance(error, CancelledError):
        status = Status(item.ending or Status.CANCELLED)
        return Outcome(status, result, message, code, failed_step=name)
    retry = item.retries + 1 if name == item.failed_before else 1
    rules = policy(code, table, item.retry, step.options.retry if step else {})
    delay = rules.delay_before(retry, chance)
    if delay is None:
        return Outcome(Status.FAILED, result, message, code, failed_step=name)
    if error.retry_after is not None:  # the neighbour knows better
        delay = max(delay, timedelta(seconds=min(error.retry_after, LONGEST_BACKOFF)))
    return Outcome(Status.RETRYING, {}, message, code, now + delay, name, retry)


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
        .with_for_update(of=Execution, key_share=True)
    )
    current = dict((await session.execute(query)).tuples().all())
    return {item.execution_id for item in items if current.get(item.execution_id) == item.dispatch_no}


async def cancel_requested(session: AsyncSession, ids: set[UUID]) -> set[UUID]:
    """Which of these executions somebody wants cancelled."""
    query = select(Execution.id).where(Execution.id.in_(ids), Execution.cancel_requested_at.is_not(None))
    return set((await session.execute(query)).scalars())


async def steps_begun(session: AsyncSession, pairs: Sequence[tuple[Item, PlannedStep]]) -> None:
    """Show steps as RUNNING; for single runs, where somebody may be watching. Earlier tries of them are kept."""
    now = utc_now()
    await keep_tries(session, [(item.execution_id, step.identifier) for item, step in pairs if item.dispatch_no > 1])
    await _write_steps(
        session, [_step_row(item, step) | {"status": Status.RUNNING, "started_at": now} for item, step in pairs]
    )


async def steps_ended(
    session: AsyncSession, ended: Sequence[tuple[Item, PlannedStep, StepItem]], flow_run_id: UUID
) -> None:
    """Record steps that completed or failed, with their log lines and the rows that they left."""
    rows, lines, effects, begun = [], [], [], []
    for item, step, work in ended:
        completed = work.error is None and work.waiting is None
        rows.append(
            _step_row(item, step)
            | {
                "status": _step_status(work),
                "started_at": work.started_at,
                "completed_at": None if work.waiting else utc_now(),
                "duration_ms": round(work.duration_ms, 3),
                "result": work.result or {},
                "error_message": str(work.error or ""),
                "error_code": work.error.code if work.error else "",
                "task_run_id": work.task_run_id,
                "progress": work.context.fraction,
                "progress_message": work.context.progress_message,
            }
        )
        if work.waiting:
            begun.append(await _begin_wait(session, item, step, work.waiting))
        lines += [_log_row(item, step, flow_run_id, line) for line in work.context.lines]
        effects += work.context.rows if completed else []
    await _write_steps(session, rows)
    await insert_rows(session, _LOGS, lines)
    await _write_effects(session, effects)
    await waits.begin(session, begun)


async def step_undone(session: AsyncSession, undone: tuple[Item, PlannedStep, StepItem], flow_run_id: UUID) -> None:
    """Record a rollback beside what the step had done; a step whose rollback failed is still done."""
    item, step, work = undone
    row = {
        "execution_id": item.execution_id,
        "identifier": step.identifier,
        "status": Status.COMPLETED if work.error else Status.ROLLED_BACK,
        "result": item.done[step.identifier] | ({} if work.error else {"rollback": work.result}),
        "error_message": str(work.error or ""),
        "error_code": work.error.code if work.error else "",
    }
    await update_rows(session, _STEPS, [row], keys=("execution_id", "identifier"))
    await insert_rows(session, _LOGS, [_log_row(item, step, flow_run_id, line) for line in work.context.lines])
    if work.error:
        session.add(_rollback_failed(item, step, work.error))


async def _begin_wait(session: AsyncSession, item: Item, step: PlannedStep, waiting: Waiting) -> waits.BegunWait:
    """What a step waits for; a workflow that it is to run is started now."""
    child = None
    if waiting.kind == "execution":
        child = await children.start(session, item, step.identifier, waiting)
    return waits.BegunWait(item.execution_id, item.project.id or None, step.identifier, waiting, child)


async def executions_ended(
    session: AsyncSession, outcomes: Sequence[tuple[Item, Outcome]], settings: Settings, *, batch: bool
) -> None:
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
            "completed_at": now if outcome.is_final else None,
        }
        for item, outcome in outcomes
    ]
    await update_rows(session, _EXECUTIONS, rows, keys=("id", "dispatch_no"))
    await _note_unusual(session, outcomes)
    leaving = [item.execution_id for item, outcome in outcomes if batch and outcome.due_at]
    if leaving:
        await session.execute(update(Execution).where(Execution.id.in_(leaving)).values(flow_run_id=None, batch=False))
    if half_done := [item.execution_id for item, _ in outcomes if item.leaves]:  # takes no newer data in
        await session.execute(update(Execution).where(Execution.id.in_(half_done)).values(coalesces=False))
    not_run = [(item, row) for item, outcome in outcomes for row in _not_run(item, outcome)]
    await keep_tries(session, [(item.execution_id, row["identifier"]) for item, row in not_run if item.dispatch_no > 1])
    await _write_steps(session, [row for _, row in not_run])
    await tell.executions_ended(
        session, settings, [item.execution_id for item, outcome in outcomes if outcome.is_final]
    )


async def _note_unusual(session: AsyncSession, outcomes: Sequence[tuple[Item, Outcome]]) -> None:
    """What most executions have nothing of: retries, failures for good, waits, what somebody's parent waits for."""
    rows = [
        {
            "id": item.execution_id,
            "retries": outcome.retries,
            "failed_step": outcome.failed_step,
            "ran_seconds": item.ran_seconds,
            "degraded": bool(item.degraded) or item.owes,
            "ending": "",
        }
        for item, outcome in outcomes
        if outcome.status != Status.COMPLETED or item.degraded or item.owes or item.failed_before
    ]
    if not rows:
        return
    await update_rows(session, _EXECUTIONS, rows, keys=("id",))
    await insert_rows(session, _ATTEMPTS, [_attempt_row(*one) for one in outcomes if one[1].status == Status.RETRYING])
    await dead_letter(session, [item.execution_id for item, outcome in outcomes if outcome.status == Status.FAILED])
    session.add_all(
        _critical_error(*one)
        for one in outcomes
        if one[1].status == Status.FAILED and isinstance(one[0].error, _CRITICAL)
    )
    ended = [item.execution_id for item, outcome in outcomes if outcome.is_final and item.waiting]
    await waits.cancel_all(session, ended)
    await waits.go_on_if_resolved(
        session, [(item.execution_id, item.waiting) for item, outcome in outcomes if outcome.status == Status.WAITING]
    )


def _critical_error(item: Item, outcome: Outcome) -> Sighting:
    return sighting(
        CRITICAL_ERRORS,
        f"{item.workflow_name} failed at {outcome.failed_step}: {outcome.error_code}",
        outcome.error_message,
        error_code=outcome.error_code,
        step=outcome.failed_step,
        execution_id=item.execution_id,
        workflow_id=item.workflow_id,
        project_id=item.project.id or None,
    )


def _rollback_failed(item: Item, step: PlannedStep, error: StepError) -> Sighting:
    return sighting(
        ROLLBACK_FAILED,
        f"{item.workflow_name} could not be rolled back at {step.identifier}",
        str(error),
        error_code=error.code,
        step=step.identifier,
        execution_id=item.execution_id,
        workflow_id=item.workflow_id,
        project_id=item.project.id or None,
    )


def _attempt_row(item: Item, outcome: Outcome) -> Json:
    return {
        "execution_id": item.execution_id,
        "attempt": item.attempt,
        "status": "LEFT_BATCH" if item.leaves else "FAILED",
        "failed_step": outcome.failed_step,
        "error_code": outcome.error_code,
        "error_message": outcome.error_message,
        "asked_by": "",
        "reason": "",
        "from_step": "",
        "ended_at": utc_now(),
    }


def _not_run(item: Item, outcome: Outcome) -> Iterable[Json]:
    """The rows of steps that were not wanted, and, of an execution that has ended, of those not reached."""
    for step in item.plan.steps:
        if reason := item.skipped.get(step.identifier):
            yield _skipped_row(item, step, reason)
    if outcome.is_final:
        cause = item.failed_step.identifier if item.failed_step else "the execution"
        for step in item.left():
            yield _skipped_row(item, step, f"not reached: {cause} {outcome.status.lower()}")


def _skipped_row(item: Item, step: PlannedStep, reason: str) -> Json:
    now = utc_now()
    return _step_row(item, step) | {"status": Status.SKIPPED, "completed_at": now, "error_message": reason}


def _step_status(work: StepItem) -> Status:
    if work.waiting:
        return Status.WAITING
    if work.error is None:
        return Status.COMPLETED
    return Status.CANCELLED if isinstance(work.error, CancelledError) else Status.FAILED


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
        "progress": None,
        "progress_message": "",
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
