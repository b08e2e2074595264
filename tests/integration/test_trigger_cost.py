"""What an event costs does not grow with triggers that it cannot concern."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from automation.database import Database
from automation.intake import parse_event
from automation.intake.matching import concerned
from automation.models import Project, Trigger, Workflow
from automation.models.bulk import insert_rows
from tests.integration.rows import every
from tests.integration.statements import statements
from tests.integration.triggering import event, send, trigger

OTHERS = 10_000


async def write_others(database: Database, number: int) -> None:
    """Triggers that hear the same events in other projects, of every kind that there is."""
    configs: list[tuple[str, str, dict[str, Any]]] = [
        ("EVENT", "order.paid", {}),
        ("EVENT", "*", {"throttle": {"limit": 1, "per_seconds": 1}}),
        ("DELAYED", "order.*", {"delay_seconds": 5, "cancel_on": "order.paid"}),
        ("TIMEOUT", "", {"after_seconds": 5}),
        ("ON_PAGE_UPDATE", "", {"debounce_seconds": 5}),
    ]
    async with database.transaction() as session:
        session.add_all(Project(id=f"other-{n}", name="") for n in range(100))
        await session.flush()
        workflows = [
            Workflow(id=uuid4(), name="", project_id=f"other-{n}", kind="custom-workflow", trigger_type="EVENT")
            for n in range(100)
        ]
        session.add_all(workflows)
        await session.flush()
        rows = []
        for n in range(number):
            of = workflows[n % 100]
            type_, name, config = configs[n % len(configs)]
            rows.append(
                {
                    "id": uuid4(),
                    "workflow_id": of.id,
                    "project_id": of.project_id,
                    "trigger_type": type_,
                    "event_type": name,
                    "conditions": {"field": "data.n", "operator": "==", "value": n},
                    "config": config,
                    "is_active": True,
                    "created_at": of.created_at,
                    "updated_at": of.created_at,
                }
            )
        await insert_rows(session, Trigger.table(), rows)


async def one_of_each(database: Database) -> list[UUID]:
    limits = {"throttle": {"limit": 5, "per_seconds": 1}, "dedupe_key": "id", "concurrency": "replace", "key": "data.n"}
    made = [
        await trigger(database),
        await trigger(database, event_type="*", conditions={"field": "data.n", "operator": "changed"}, **limits),
        await trigger(database, "DELAYED", delay_seconds=60, cancel_on="stop", debounce_seconds=1),
        await trigger(database, "TIMEOUT", "", after_seconds=60),
    ]
    return [one.id for one in made]


@pytest.mark.parametrize("kinds", ["none", "one of each"])
async def test_an_event_runs_the_same_statements_however_many_triggers_other_projects_have(
    database: Database, kinds: str
) -> None:
    if kinds == "one of each":
        await one_of_each(database)
    await send(database, event(n=0))
    with statements(database) as alone:
        await send(database, event(n=1))

    await write_others(database, OTHERS)
    with statements(database) as beside:
        await send(database, event(n=2))

    assert [statement for statement, _ in beside] == [statement for statement, _ in alone]
    assert len(await every(database, Trigger)) >= OTHERS


async def test_triggers_are_found_by_their_index_alone(database: Database) -> None:
    await one_of_each(database)
    await write_others(database, OTHERS)
    async with database.transaction() as session:
        await session.execute(text("ANALYZE triggers"))
        await session.execute(text("ANALYZE workflows"))

    found = event("order.paid", "other-7")
    with statements(database) as seen:
        async with database.transaction() as session:
            await concerned(session, [parse_event(found)])
    [(statement, parameters)] = [one for one in seen if "FROM unnest" in one[0]]

    for mode in ("force_custom_plan", "force_generic_plan"):
        async with database.transaction() as session:
            await session.execute(text(f"SET LOCAL plan_cache_mode = {mode}"))
            connection = await session.connection()
            rows = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT TEXT) {statement}", parameters)
            plan = "\n".join(line for (line,) in rows)
        assert "ix_triggers_matching" in plan, plan
        assert "ix_triggers_cancelling" in plan, plan
        assert "Seq Scan on triggers" not in plan, plan
