"""The intake on a real database: events in, executions out."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from automation.database import Database
from automation.intake import Accepted, accept, parse_event
from automation.models import Base, Event, Execution, FlowRun, Project, Status, Trigger, Workflow
from automation.models.base import utc_now
from automation.settings import Settings
from tests.integration.statements import statements

SETTINGS = Settings()


def page_event(page: str = "home", project: str = "p1", **fields: Any) -> dict[str, Any]:
    version = {"version": fields.pop("version")} if "version" in fields else {}
    data = {"project_id": project, "page": {"id": page, "name": page, "config": {"n": 1}, **version}}
    return {"type": "page.updated", "data": data, **fields}


async def send(database: Database, *raw: dict[str, Any]) -> list[Accepted]:
    return await accept(database, [parse_event(one) for one in raw], source="api", settings=SETTINGS)


async def rows(database: Database, model: type[Base]) -> list[Any]:
    async with database.transaction() as session:
        return list((await session.execute(select(model))).scalars())


async def test_a_created_project_has_its_three_workflows_with_steps_and_triggers(database: Database) -> None:
    project = {"id": "p1", "name": "Shop", "owner": {"id": "u1", "email": "u1@example.org"}}
    await send(database, {"type": "project.created", "data": {"project_id": "p1", "project": project}})

    workflows = {one.kind: one for one in await rows(database, Workflow)}
    assert {kind: one.name for kind, one in workflows.items()} == {
        "auto-save": "Auto-save Shop",
        "generate": "Generate Application",
        "publish": "Publish Release",
    }
    triggers = {(one.trigger_type, one.event_type) for one in await rows(database, Trigger)}
    assert {("ON_PAGE_CHANGE", ""), ("EVENT", "page.deleted"), ("ON_PUBLISH", "")} <= triggers
    [stored] = await rows(database, Project)
    assert (stored.name, stored.owner_email) == ("Shop", "u1@example.org")


async def test_an_event_and_its_executions_are_stored_together_and_named_in_the_answer(database: Database) -> None:
    [answer] = await send(database, page_event())

    [event] = await rows(database, Event)
    [execution] = await rows(database, Execution)
    assert event.execution_ids == [execution.id] == [one.id for one in answer.executions]
    assert (execution.kind, execution.key, execution.status) == ("auto-save", "home", "PENDING")
    assert execution.trigger_data["page"]["id"] == "home"


async def test_an_event_id_seen_before_changes_nothing(database: Database) -> None:
    first, second = page_event(id="e1", version=1), page_event(id="e1", version=9)

    [one] = await send(database, first)
    [two] = await send(database, second)

    assert (one.duplicate, two.duplicate) == (False, True)
    assert [e.id for e in one.executions] == [e.id for e in two.executions]
    [execution] = await rows(database, Execution)
    assert (execution.event_count, execution.version) == (1, 1)


async def test_the_same_id_twice_in_one_list_counts_once(database: Database) -> None:
    answers = await send(database, page_event(id="e1"), page_event(id="e1"))

    assert [one.duplicate for one in answers] == [False, True]
    assert answers[0].executions == answers[1].executions
    assert len(await rows(database, Execution)) == 1


async def test_ten_copies_at_once_make_one_execution(database: Database) -> None:
    answers = await asyncio.gather(*(send(database, page_event(id="e1")) for _ in range(10)))

    assert sorted(answer.duplicate for [answer] in answers) == [False] + [True] * 9
    assert len(await rows(database, Execution)) == 1


async def test_while_an_execution_waits_newer_data_replaces_its_data(database: Database) -> None:
    await send(database, page_event(version=1), page_event(version=3))
    await send(database, page_event(version=2))

    [execution] = await rows(database, Execution)
    assert (execution.version, execution.trigger_data["page"]["version"], execution.event_count) == (3, 3, 3)


async def test_without_versions_the_senders_time_decides(database: Database) -> None:
    now = datetime.now(UTC)
    await send(database, page_event(timestamp=now.isoformat(), id="late"))
    await send(database, page_event(timestamp=(now - timedelta(hours=1)).isoformat(), id="early"))

    [execution] = await rows(database, Execution)
    assert (execution.occurred_at, execution.event_count) == (now, 2)


async def test_an_event_from_the_future_counts_as_now(database: Database) -> None:
    await send(database, page_event(timestamp="2999-01-01T00:00:00Z"))

    [execution] = await rows(database, Execution)
    assert execution.occurred_at <= utc_now()


async def test_the_second_edit_after_a_save_waits_for_the_interval(database: Database) -> None:
    await send(database, page_event())
    async with database.transaction() as session:
        execution = (await session.execute(select(Execution))).scalar_one()
        session.add(run := FlowRun(kind="auto-save"))
        await session.flush()
        execution.flow_run_id, execution.status, execution.started_at = run.id, Status.COMPLETED, utc_now()

    await send(database, page_event())

    [done, waiting] = sorted(await rows(database, Execution), key=lambda one: one.created_at)
    assert waiting.due_at - done.started_at == timedelta(seconds=SETTINGS.auto_save_interval)


async def test_a_publish_makes_waiting_saves_of_its_project_due_at_once(database: Database) -> None:
    await send(database, page_event("home"), page_event("other", project="p2"))
    later = utc_now() + timedelta(seconds=30)
    async with database.transaction() as session:
        for execution in (await session.execute(select(Execution))).scalars():
            execution.due_at = later

    await send(database, {"type": "project.published", "data": {"project_id": "p1"}})

    due = {one.key: one.due_at for one in await rows(database, Execution)}
    assert due["home"] <= utc_now()
    assert due["other"] == later


async def test_a_newer_execution_supersedes_one_that_is_retrying(database: Database) -> None:
    await send(database, page_event(version=1))
    async with database.transaction() as session:
        execution = (await session.execute(select(Execution))).scalar_one()
        execution.status = Status.RETRYING

    await send(database, page_event(version=2))

    old, new = sorted(await rows(database, Execution), key=lambda one: one.version)
    assert (old.status, new.status) == ("CANCELLED", "PENDING")
    assert "superseded" in old.error_message


async def test_a_page_event_of_an_unknown_project_creates_it_and_a_late_project_event_names_it(
    database: Database,
) -> None:
    await send(database, page_event())
    await send(
        database,
        {
            "type": "project.created",
            "timestamp": "2026-01-01T00:00:00Z",
            "data": {"project_id": "p1", "project": {"id": "p1", "name": "Shop", "owner": {"email": "o@example.org"}}},
        },
    )

    [project] = await rows(database, Project)
    assert (project.name, project.owner_email) == ("Shop", "o@example.org")
    assert "Auto-save Shop" in {one.name for one in await rows(database, Workflow)}
    assert len(await rows(database, Workflow)) == 3


async def test_an_older_project_event_does_not_rename_a_project(database: Database) -> None:
    def renamed(name: str, at: str) -> dict[str, Any]:
        return {"type": "project.updated", "timestamp": at, "data": {"project_id": "p1", "project": {"name": name}}}

    await send(database, renamed("New", "2026-02-01T00:00:00Z"))
    await send(database, renamed("Old", "2026-01-01T00:00:00Z"))

    [project] = await rows(database, Project)
    assert project.name == "New"


async def test_a_rare_event_leaves_prefects_trigger_time_and_a_page_event_does_not(database: Database) -> None:
    await send(database, page_event(), {"type": "project.published", "data": {"project_id": "p1"}})

    due = {one.kind: one.due_at for one in await rows(database, Execution)}
    assert due["auto-save"] <= utc_now()
    assert due["generate"] > utc_now() + timedelta(seconds=SETTINGS.dispatch_grace - 2)


@pytest.mark.parametrize("size", [1, 200])
async def test_a_list_costs_a_fixed_number_of_statements(database: Database, size: int) -> None:
    await send(database, page_event("warm"))
    with statements(database) as seen:
        await send(database, *(page_event(f"page-{number}") for number in range(size)))

    assert len(seen) <= 10
    async with database.transaction() as session:
        total = (await session.execute(select(func.count()).select_from(Execution))).scalar_one()
    assert total == size + 1
