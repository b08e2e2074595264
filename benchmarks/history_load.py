"""A past for the tables: executions with their steps, log lines, events and flow runs, made by the database."""

from typing import Any

from sqlalchemy import Insert, insert, literal_column, select, text

from automation.database import Database
from automation.models import Base, Ending, Event, Execution, ExecutionLog, FlowRun, StepExecution
from automation.monitoring.fold import fold_all
from benchmarks.pages import PROJECTS

PAGES = 20_000
"""Pages that the past is about, so that a page has 50 executions in a million."""

_CHUNK = 50_000
_PER_RUN = 50
"""Executions that a batch run carried."""

_AT = "now() - interval '30 days' + n * interval '2 seconds'"
_EXECUTION = "md5('execution-' || n)::uuid"
_RUN = f"md5('run-' || n / {_PER_RUN})::uuid"
_TABLES = ("workflow_executions", "step_executions", "workflow_execution_logs", "events", "flow_runs", "timings")


async def load(database: Database, first: int, last: int) -> None:
    """Past executions number `first` to `last`, and statistics as autovacuum would have made them."""
    for start in range(first, last + 1, _CHUNK):
        end = min(start + _CHUNK - 1, last)
        async with database.transaction() as session:
            # without the checks of foreign keys, which take ten times as long as the rows
            await session.execute(text("SET LOCAL session_replication_role = replica"))
            for statement in _statements(start, end):
                await session.execute(statement)
    await fold_all(database)
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text(f"VACUUM (ANALYZE) {', '.join(_TABLES)}"))


def _statements(first: int, last: int) -> list[Insert]:
    numbers = f"generate_series({first}, {last}) AS n"
    workflows = f"""{numbers} JOIN workflows AS w
        ON w.kind = 'auto-save' AND w.project_id = 'project-' || n % {PROJECTS}"""
    steps = """(VALUES ('validate-page', 'VALIDATE_PAGE', 1), ('save-to-runtime', 'SAVE_TO_RUNTIME', 2),
        ('log-activity', 'LOG_ACTIVITY', 3)) AS s(identifier, step_type, position)"""
    return [
        _fill(FlowRun, f"{numbers} WHERE n % {_PER_RUN} = 0", {
            "id": _RUN, "prefect_id": "gen_random_uuid()", "idempotency_key": f"'batch:' || {_RUN}",
            "kind": "'auto-save'", "mode": "'batch'", "state": "'COMPLETED'", "state_name": "'Completed'",
            "accepts": "false", "logs_done": "true",
            **dict.fromkeys(("state_at", "created_at", "claimed_at", "ended_at", "logs_read_at"), _AT),
        }),
        _fill(Event, numbers, {
            "id": "'event-' || n", "type": "'page.updated'", "project_id": f"'project-' || n % {PROJECTS}",
            "source": "'api'", "data": "'{}'::jsonb", "execution_ids": f"ARRAY[{_EXECUTION}]",
            **dict.fromkeys(("occurred_at", "received_at"), _AT),
        }),
        _fill(Execution, workflows, {
            "id": _EXECUTION, "workflow_id": "w.id", "project_id": "w.project_id", "kind": "w.kind",
            "key": f"'page-' || n % {PAGES}", "batch": "true", "flow_run_id": _RUN,
            "status": "CASE WHEN n % 50 = 7 THEN 'FAILED' ELSE 'COMPLETED' END",
            "trigger_type": "'ON_PAGE_CHANGE'", "event_type": "'page.updated'",
            "trigger_data": "jsonb_build_object('page', jsonb_build_object('id', 'page-' || n))",
            "attempt": "1", "dispatch_no": "1",
            **dict.fromkeys(("created_at", "due_at", "started_at", "completed_at", "occurred_at"), _AT),
        }),
        _fill(Ending, numbers, {
            "execution_id": _EXECUTION, "kind": "'auto-save'", "attempt": "1",
            "status": "CASE WHEN n % 50 = 7 THEN 'FAILED' ELSE 'COMPLETED' END",
            "created_at": _AT, "started_at": _AT, "ended_at": f"{_AT} + (n % 97 * n % 89) * interval '1 ms'",
            "cancel_requested_at": "NULL::timestamptz", "asked_at": "NULL::timestamptz", "after_attempt": "-1",
            "step": "''",
            "error_code": "CASE WHEN n % 50 = 7 THEN 'NETWORK_ERROR' ELSE '' END",
            "error_message": "CASE WHEN n % 50 = 7 THEN 'no answer from 10.0.0.' || n % 256 ELSE '' END",
        }),
        _fill(StepExecution, f"{numbers}, {steps}", {
            "execution_id": _EXECUTION, "project_id": f"'project-' || n % {PROJECTS}",
            "identifier": "s.identifier", "step_type": "s.step_type", "order": "s.position",
            "status": "'COMPLETED'", "duration_ms": "1.5", "task_run_id": _RUN,
            **dict.fromkeys(("started_at", "completed_at"), _AT),
        }),
        _fill(ExecutionLog, numbers, {
            "execution_id": _EXECUTION, "flow_run_id": _RUN, "project_id": f"'project-' || n % {PROJECTS}",
            "step_identifier": "'save-to-runtime'", "timestamp": _AT, "level": "'INFO'",
            "message": "'Page ' || n || ': 4096 bytes written.'",
        }),
    ]  # fmt: skip


def _fill(model: type[Base], source: str, values: dict[str, str]) -> Insert:
    """INSERT … SELECT; columns that are not named get their model's default."""
    columns: list[Any] = [literal_column(sql).label(name) for name, sql in values.items()]
    return insert(model).from_select(list(values), select(*columns).select_from(text(source)))
