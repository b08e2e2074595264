"""The same work as a flow for Prefect's stock worker: three tasks, each one of the steps."""

import asyncio
import json
import os
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
from prefect import flow, task

from automation.errors import ValidationError
from automation.runtime import store
from automation.runtime.diff import page_changes
from automation.runtime.documents import check_page

Json = dict[str, Any]

DATABASE = "BENCH_DATABASE_URL"
FILES = "BENCH_RUNTIME_ROOT"
"""Variables that say where everything is."""

TABLE = """
    CREATE TABLE activities (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, project_id varchar(128), user_id varchar(128),
        page_id varchar(128), changes jsonb, created_at timestamptz DEFAULT now())"""


@task
async def validate(page: Json) -> None:
    """VALIDATE_PAGE, the same function as ours."""
    if faults := check_page(page):
        raise ValidationError("; ".join(faults))


@task
async def save(project_id: str, page: Json) -> Json:
    """SAVE_TO_RUNTIME, likewise."""
    stamp = store.Stamp(datetime.now(UTC), store.version_of(page))
    root = Path(os.environ[FILES])
    outcome = await asyncio.to_thread(store.save_page, root, project_id, page, stamp, backup_previous=True)
    return page_changes(outcome.previous, page)


@task
async def log_activity(data: Json, changes: Json) -> None:
    """LOG_ACTIVITY: one row."""
    row = (data["project_id"], data["user_id"], data["page"]["id"], json.dumps(changes))
    await asyncio.to_thread(_insert, row)


@flow
async def save_page(data: Json) -> None:
    """Validate the page, save it, tell Insights."""
    await validate(data["page"])
    changes = await save(data["project_id"], data["page"])
    await log_activity(data, changes)


def _insert(row: tuple[str, ...]) -> None:
    with closing(psycopg2.connect(os.environ[DATABASE])) as connection, connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO activities (project_id, user_id, page_id, changes) VALUES (%s, %s, %s, %s)", row)
