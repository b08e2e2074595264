"""The design that is replaced, as its description has it: a Celery task that runs the three steps one by one.

It is given every advantage that its description leaves open: it does not read the workflow's definition, and
an activity is committed together with its step's log.
"""

import os
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from celery import Celery  # type: ignore[import-untyped]
from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Identity, MetaData, String, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from automation.database import driver_url
from automation.errors import ValidationError
from automation.runtime import store
from automation.runtime.diff import page_changes
from automation.runtime.documents import check_page

Json = dict[str, Any]

REDIS = "BENCH_REDIS_URL"
DATABASE = "BENCH_DATABASE_URL"
FILES = "BENCH_RUNTIME_ROOT"
"""Variables that say where everything is."""

app = Celery("benchmarks", broker=os.environ[REDIS], backend=os.environ[REDIS])
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_soft_time_limit=300,
    task_time_limit=600,
    broker_connection_retry_on_startup=True,
)

metadata = MetaData()
executions = Table(
    "automation_workflowexecution", metadata,
    Column("id", String(36), primary_key=True),
    Column("workflow_id", String(128), index=True),
    Column("status", String(20)),
    Column("started_at", DateTime(timezone=True)),
    Column("completed_at", DateTime(timezone=True)),
    Column("trigger_data", JSONB),
    Column("result", JSONB),
    Column("error_message", Text),
)  # fmt: skip
logs = Table(
    "automation_workflowexecutionlog", metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("execution_id", ForeignKey("automation_workflowexecution.id"), index=True),
    Column("step_identifier", String(100)),
    Column("level", String(10)),
    Column("message", Text),
    Column("details", JSONB),
    Column("created_at", DateTime(timezone=True)),
)  # fmt: skip
activities = Table(
    "insights_activity", metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("execution_id", String(36)),
    Column("project_id", String(128), index=True),
    Column("user_id", String(128)),
    Column("page_id", String(128)),
    Column("changes", JSONB),
    Column("created_at", DateTime(timezone=True)),
)  # fmt: skip

Statement = tuple[sa.Executable, Json]

# built once: SQLAlchemy needs as long to build a statement as to send it
_NEW_EXECUTION, _NEW_LOG, _NEW_ACTIVITY = (sa.insert(table) for table in (executions, logs, activities))
_END = (
    sa.update(executions)
    .where(executions.c.id == sa.bindparam("execution"))
    .values({name: sa.bindparam(name) for name in ("status", "completed_at", "result")})
)


@app.task(bind=True, max_retries=3)  # type: ignore[untyped-decorator]
def execute_workflow(self: Any, workflow_id: str, trigger_data: Json) -> None:
    """Auto-save: an execution row, three steps with a log row each, every one committed when it is done."""
    execution_id = self.request.id
    try:
        started = {
            "id": execution_id, "workflow_id": workflow_id, "status": "RUNNING", "started_at": _now(),
            "trigger_data": trigger_data, "result": {}, "error_message": "",
        }  # fmt: skip
        _commit((_NEW_EXECUTION, started))
        page = trigger_data["page"]
        _commit(_log(execution_id, "VALIDATE_PAGE", validate(page)))
        saved = save(trigger_data["project_id"], page, execution_id)
        result = {"bytes": saved["bytes"]}
        _commit(_log(execution_id, "SAVE_TO_RUNTIME", result))
        activity = {
            "execution_id": execution_id, "project_id": trigger_data["project_id"],
            "user_id": trigger_data["user_id"], "page_id": page["id"], "changes": saved["changes"],
            "created_at": _now(),
        }  # fmt: skip
        _commit((_NEW_ACTIVITY, activity), _log(execution_id, "LOG_ACTIVITY", {"logged": True}))
        _commit((_END, {"execution": execution_id, "status": "COMPLETED", "completed_at": _now(), "result": result}))
    except Exception as error:
        raise self.retry(exc=error, countdown=60) from error


def validate(page: Json) -> Json:
    """The first step, the same function as ours."""
    if faults := check_page(page):
        raise ValidationError("; ".join(faults))
    return {"valid_pages": 1, "errors": []}


def save(project_id: str, page: Json, execution_id: str) -> Json:
    """The second one, likewise: atomic, the previous version kept, never an older page over a newer one."""
    stamp = store.Stamp(_now(), store.version_of(page), execution_id)
    root = Path(os.environ[FILES])
    outcome = store.save_page(root, project_id, page, stamp, backup_previous=True)
    return {"bytes": len(store.encode_page(page, stamp)), "changes": page_changes(outcome.previous, page)}


def _log(execution_id: str, step: str, details: Json) -> Statement:
    return _NEW_LOG, {
        "execution_id": execution_id, "step_identifier": step, "level": "INFO",
        "message": f"{step} completed", "details": details, "created_at": _now(),
    }  # fmt: skip


def _commit(*statements: Statement) -> None:
    with _engine().begin() as connection:
        for statement, values in statements:
            connection.execute(statement, values)


@lru_cache
def _engine() -> sa.Engine:
    """The connections of this process: each child of the pool makes its own, after the fork."""
    return sa.create_engine(driver_url(os.environ[DATABASE], "psycopg2"))


def _now() -> datetime:
    return datetime.now(UTC)
