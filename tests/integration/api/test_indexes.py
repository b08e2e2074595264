"""Lists are read by an index, in their order, however long the table is; what is rare is found by one of its own."""

import re
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from automation.models import Json, Status
from tests.integration.api.serving import Api
from tests.integration.statements import statements

ID = str(uuid4())
FOUND_BY: list[tuple[str, dict[str, Any], str]] = [
    ("alerts/", {"project_id": "p1"}, "ix_alerts_project_id_created_at"),
    ("alerts/", {"open": True}, "ix_alerts_open"),
    ("audit/", {"project_id": "p1"}, "ix_audit_project_id_at_id"),
    ("audit/", {"actor": "studio"}, "ix_audit_actor_at_id"),
    ("audit/", {"object_type": "workflow", "object_id": ID}, "ix_audit_object"),
    ("dead-letters/", {"project_id": "p1"}, "ix_dead_letters_open"),
    ("deliveries/", {"project_id": "p1"}, "ix_deliveries_project_id_created_at"),
    ("deliveries/", {"execution_id": ID}, "ix_deliveries_execution_id"),
    ("events/", {"project_id": "p1"}, "ix_events_project_id_received_at"),
    ("events/", {"type": "project.published"}, "ix_events_type_received_at"),
    ("executions/", {"project_id": "p1"}, "ix_workflow_executions_project_id_created_at"),
    ("executions/", {"workflow_id": ID}, "ix_workflow_executions_workflow_id_key_created_at"),
    ("executions/", {"status": "FAILED"}, "ix_workflow_executions_unsuccessful"),
    ("executions/", {"status": "WAITING"}, "ix_workflow_executions_open"),
    ("executions/", {"kind": "publish"}, "ix_workflow_executions_kind"),
    ("executions/", {"parent_id": ID}, "ix_workflow_executions_parent_id"),
    ("executions/", {"degraded": True}, "ix_workflow_executions_degraded"),
    ("integrations/", {"project_id": "p1"}, "ix_integrations_project_id"),
    ("triggers/", {"project_id": "p1"}, "ix_triggers_project_id_created_at"),
    ("triggers/", {"workflow_id": ID}, "ix_triggers_workflow_id"),
    ("workflows/", {"project_id": "p1"}, "ix_workflows_project_id_kind"),
]
"""What is rare however long the table is. Of other filters (a status that most have, a type of which there are few)
the list is read in its order until a page is full."""


async def read_by(api: Api, path: str, filters: dict[str, Any]) -> list[tuple[str, Any]]:
    """The statements by which a list is read."""
    with statements(api.database) as seen:
        answer = await api.get(path, **filters)
    assert answer.status_code == 200, answer.text
    found = [one for one in seen if "LIMIT" in one[0] and "ORDER BY" in one[0]]
    assert found, path
    return found


UNCOUNTED = (
    "UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relnamespace = 'public'::regnamespace",
    "DELETE FROM pg_statistic WHERE starelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)",
)
"""What makes PostgreSQL forget what it has counted of that which earlier tests have left."""


async def plan_of(api: Api, statement: str, parameters: Any) -> str:
    """How PostgreSQL would read it, if the tables were long and few of their rows wanted."""
    async with api.database.rehearsal() as session:
        for change in UNCOUNTED:
            await session.execute(text(change))
        for way in ("enable_seqscan", "enable_sort", "enable_bitmapscan", "enable_mergejoin", "enable_hashjoin"):
            await session.execute(text(f"SET LOCAL {way} = off"))
        connection = await session.connection()
        rows = await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        return "\n".join(row[0] for row in rows)


def samples(schema: Json, document: Json) -> list[Any]:
    """Values of a query parameter."""
    if "$ref" in schema:
        return samples(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    if "anyOf" in schema:
        return samples(schema["anyOf"][0], document)
    if "enum" in schema:
        return list(schema["enum"])
    if schema.get("type") == "boolean":
        return [True, False]
    return [{"uuid": ID, "date-time": "2026-01-15T10:30:00Z"}.get(schema.get("format", ""), "p1")]


async def test_every_list_is_read_by_an_index_whatever_it_is_narrowed_to(api: Api) -> None:
    workflow = str(await api.workflow())
    execution = str(await api.execution(await api.workflow("p2"), Status.FAILED))
    document = (await api.client.get("openapi.json")).json()
    tried = 0
    for path, methods in document["paths"].items():
        parameters = {one["name"]: one for one in methods.get("get", {}).get("parameters", ()) if one["in"] == "query"}
        if "cursor" not in parameters:
            continue
        address = path.removeprefix("/api/automation/")
        address = address.replace("workflows/{id}", f"workflows/{workflow}")
        address = address.replace("executions/{id}", f"executions/{execution}")
        filters: list[dict[str, Any]] = [{}]
        for name, one in parameters.items():
            if name not in ("cursor", "page_size"):
                filters += [{name: value} for value in samples(one["schema"], document)]
        for given in filters:
            plan = "\n".join([await plan_of(api, *one) for one in await read_by(api, address, given)])
            assert "Seq Scan" not in plan, (address, given, plan)
            # other filters find few rows, which may be sorted, as may the versions of one workflow
            if set(given) <= {"project_id"} and not path.endswith("/versions/"):
                assert not re.search(r"(?<!Incremental )Sort  ", plan), (address, given, plan)
            tried += 1
    assert tried > 70


@pytest.mark.parametrize(("path", "filters", "index"), FOUND_BY, ids=lambda one: one if isinstance(one, str) else "-")
async def test_what_is_rare_has_an_index_of_its_own(api: Api, path: str, filters: dict[str, Any], index: str) -> None:
    [(statement, parameters)] = await read_by(api, path, filters)

    # without its order, by which a table that is all but empty would be read as well
    unordered = statement.split("ORDER BY")[0]
    plan = await plan_of(api, unordered, parameters[: len(set(re.findall(r"\$\d+", unordered)))])

    assert f"using {index} " in plan, plan
