"""Lists are read by an index, in its order, however long the table is."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import event, text

from tests.integration.api.serving import Api

ID = str(uuid4())
LISTS: list[tuple[str, dict[str, Any]]] = [
    ("alerts/", {}),
    ("alerts/", {"project_id": "p1"}),
    ("api-keys/", {}),
    ("audit/", {}),
    ("audit/", {"project_id": "p1"}),
    ("dead-letters/", {}),
    ("deliveries/", {}),
    ("deliveries/", {"execution_id": ID}),
    ("events/", {}),
    ("events/", {"project_id": "p1"}),
    ("executions/", {}),
    ("executions/", {"project_id": "p1"}),
    ("executions/", {"workflow_id": ID}),
    ("executions/", {"status": "FAILED"}),
    ("executions/", {"parent_id": ID}),
    ("executions/", {"degraded": True}),
    ("integrations/", {}),
    ("integrations/", {"project_id": "p1"}),
    ("logs/", {}),
    ("logs/", {"project_id": "p1"}),
    ("logs/", {"execution_id": ID}),
    ("logs/", {"min_level": "ERROR"}),
    ("projects/", {}),
    ("silences/", {}),
    ("triggers/", {}),
    ("triggers/", {"workflow_id": ID}),
    ("workflows/", {}),
    ("workflows/", {"project_id": "p1"}),
]


@contextmanager
def statements(api: Api) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are sent meanwhile, with their parameters."""
    seen: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        seen.append((statement, parameters))

    engine = api.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def plan_of(api: Api, statement: str, parameters: Any) -> str:
    """How PostgreSQL would read it, if reading a whole table or sorting it were expensive."""
    async with api.database.transaction() as session:
        for way in ("enable_seqscan", "enable_sort", "enable_bitmapscan"):
            await session.execute(text(f"SET LOCAL {way} = off"))
        connection = await session.connection()
        rows = await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize(("path", "filters"), LISTS, ids=lambda one: one if isinstance(one, str) else "-".join(one))
async def test_a_list_is_read_by_an_index(api: Api, path: str, filters: dict[str, Any]) -> None:
    with statements(api) as seen:
        answer = await api.get(path, **filters)
    assert answer.status_code == 200, answer.text

    lists = [one for one in seen if "LIMIT" in one[0] and "ORDER BY" in one[0]]
    assert lists
    for statement, parameters in lists:
        plan = await plan_of(api, statement, parameters)
        assert "Seq Scan" not in plan, plan
        assert "Index" in plan, plan
        if not filters or set(filters) == {"project_id"}:  # others find few rows, which may be sorted
            assert not re.search(r"(?<!Incremental )Sort  ", plan), plan
