"""The steps of the nightly cleanup, on a real PostgreSQL and a real Prefect server."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import LogCreate, WorkPoolCreate
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Completed, Running
from sqlalchemy import func, insert, select, text

from automation import maintenance
from automation.database import Database
from automation.errors import DatabaseError, ValidationError
from automation.models import (
    Activity,
    Alert,
    AlertState,
    AuditEntry,
    Base,
    DedupeKey,
    Delivery,
    Event,
    Execution,
    ExecutionLog,
    FlowRun,
    Owed,
    Silence,
    Status,
    StepExecution,
    Timer,
    Trigger,
    TriggerState,
    Workflow,
    utc_now,
)
from automation.settings import Settings
from automation.steps import ProjectInfo, StepContext
from tasks.maintenance import (
    CleanOldExecutionsConfig,
    CleanTempFilesConfig,
    OptimizeDatabaseConfig,
    clean_old_executions,
    clean_temp_files,
    optimize_database,
)

WORKFLOW = UUID("22222222-2222-2222-2222-222222222222")


@pytest.fixture
def step(database: Database, tmp_path: Path) -> StepContext:
    return StepContext(
        execution_id=uuid4(),
        workflow_id=uuid4(),
        workflow_name="Cleanup Old Data",
        identifier="clean",
        project=ProjectInfo(),
        trigger_type="SCHEDULED",
        event_type="",
        trigger_data={},
        occurred_at=utc_now(),
        results={},
        attempt=1,
        settings=Settings(home=tmp_path),
        database=database,
    )


@pytest.fixture
async def store(database: Database) -> Callable[..., Any]:
    async with database.transaction() as session:
        session.add(Workflow(id=WORKFLOW, name="W", kind="auto-save", trigger_type="ON_PAGE_CHANGE"))

    async def add(*rows: Base) -> None:
        async with database.transaction() as session:
            for row in rows:
                session.add(row)
                await session.flush()

    return add


def execution(days_old: float, status: Status = Status.COMPLETED, **values: Any) -> Execution:
    then = utc_now() - timedelta(days=days_old)
    ended = {"completed_at": then} if status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED) else {}
    return Execution(
        id=uuid4(), workflow_id=WORKFLOW, project_id="p", kind="auto-save", status=status,
        created_at=then, trigger_type="ON_PAGE_CHANGE", **ended | values,
    )  # fmt: skip


def event(event_id: str, days_old: float) -> dict[str, Any]:
    then = utc_now() - timedelta(days=days_old)
    return {
        "id": event_id, "type": "t", "project_id": "p", "source": "api", "data": {},
        "occurred_at": then, "received_at": then,
    }  # fmt: skip


async def kept(database: Database) -> set[UUID]:
    async with database.transaction() as session:
        return set(await session.scalars(select(Execution.id)))


async def count(database: Database, model: type[Base]) -> int:
    async with database.transaction() as session:
        return await session.scalar(select(func.count()).select_from(model)) or 0


@pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING, Status.RETRYING, Status.WAITING])
async def test_what_has_not_ended_is_never_deleted(database: Database, store: Any, status: Status) -> None:
    old = execution(400, status)
    await store(old)
    assert (await maintenance.delete_rows(database, utc_now()))["workflow_executions"] == 0
    assert await kept(database) == {old.id}


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
async def test_an_old_execution_goes_with_its_steps_and_logs(database: Database, store: Any, status: Status) -> None:
    old = execution(40, status)
    await store(
        old,
        StepExecution(execution_id=old.id, identifier="s", step_type="S", order=1, status="COMPLETED"),
        ExecutionLog(execution_id=old.id, level="INFO", message="m"),
    )
    deleted = await maintenance.delete_rows(database, utc_now() - timedelta(days=30))
    assert [await count(database, one) for one in (Execution, StepExecution, ExecutionLog)] == [0, 0, 0]
    assert deleted == {"workflow_executions": 1, "step_executions": 1, "workflow_execution_logs": 1}


async def test_the_age_of_an_execution_counts_from_its_end(database: Database, store: Any) -> None:
    long_one = execution(40, completed_at=utc_now() - timedelta(days=1))
    await store(long_one)
    await maintenance.delete_rows(database, utc_now() - timedelta(days=30))
    assert await kept(database) == {long_one.id}


async def test_older_than_days_decides_what_goes(step: StepContext, store: Any, prefect_api: str) -> None:
    young, old = execution(20), execution(45)
    await store(young, old)
    result = await clean_old_executions.function(step, CleanOldExecutionsConfig(older_than_days=60))
    assert result["rows"] == {}
    result = await clean_old_executions.function(step, CleanOldExecutionsConfig())
    assert result["rows"] == {"workflow_executions": 1}
    assert await kept(step.database) == {young.id}
    result = await clean_old_executions.function(step, CleanOldExecutionsConfig(older_than_days=10))
    assert result["total_rows"] == 1


@pytest.mark.parametrize("days", [0, -1, 10**9, "soon"])
def test_an_age_that_makes_no_sense_is_refused(days: object) -> None:
    with pytest.raises(ValidationError, match="older_than_days"):
        clean_old_executions.parse({"older_than_days": days})


async def test_old_events_activities_and_flow_runs_go_and_young_ones_stay(database: Database, store: Any) -> None:
    for days in (1, 40):
        then = utc_now() - timedelta(days=days)
        await store(
            Event(**event(str(days), days)),
            Activity(idempotency_key=str(days), project_id="p", type="t", created_at=then),
            FlowRun(kind="auto-save", created_at=then, ended_at=then),
            Alert(
                rule="r", severity="CRITICAL", message="m", created_at=then, resolved_at=then, state=AlertState.RESOLVED
            ),
            *(
                Owed(
                    idempotency_key=f"{status}:{days}",
                    neighbour="n",
                    step="s",
                    request={},
                    status=status,
                    created_at=then,
                )
                for status in ("OWED", "DELIVERED")
            ),
            *(
                Delivery(key=f"{status}:{days}", type="workflows.ready", status=status, created_at=then)
                for status in ("PENDING", "DELIVERED")
            ),
        )
    await store(FlowRun(kind="auto-save", created_at=utc_now() - timedelta(days=40)))  # has not ended
    result = await maintenance.delete_rows(database, utc_now() - timedelta(days=30))
    result += await maintenance.delete_events(database, utc_now() - timedelta(days=30))
    assert result == {
        "flow_runs": 1, "events": 1, "activities": 1, "deliveries": 1, "outbox": 1, "alerts": 1,
    }  # fmt: skip
    assert [await count(database, one) for one in (Event, Activity, FlowRun, Alert)] == [1, 1, 2, 1]
    assert [await count(database, one) for one in (Owed, Delivery)] == [3, 3]  # what is owed stays owed


async def test_a_flow_run_stays_while_something_that_stays_refers_to_it(database: Database, store: Any) -> None:
    then = utc_now() - timedelta(days=40)
    current, earlier, alone = (FlowRun(id=uuid4(), kind="generate", ended_at=then) for _ in range(3))
    retried = execution(40, flow_run_id=current.id, completed_at=utc_now())
    await store(
        current, earlier, alone, retried,
        ExecutionLog(execution_id=retried.id, flow_run_id=earlier.id, level="ERROR", message="first try"),
        ExecutionLog(flow_run_id=alone.id, level="INFO", message="of nobody"),
    )  # fmt: skip
    result = await maintenance.delete_rows(database, utc_now() - timedelta(days=30))
    assert result == {"flow_runs": 1, "workflow_execution_logs": 1}
    assert await count(database, ExecutionLog) == 1


async def test_many_batches_go_in_one_call(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(insert(Event), [event(str(number), 40) for number in range(2500)])
    result = await maintenance.delete_events(database, utc_now() - timedelta(days=30))
    assert result["events"] == 2500
    assert await count(database, Event) == 0


async def test_what_triggers_remember_of_events_goes_with_them_and_what_still_waits_stays(
    database: Database, store: Any
) -> None:
    fired, limited = (Trigger(id=uuid4(), workflow_id=WORKFLOW, trigger_type=one) for one in ("TIMEOUT", "ON_PUBLISH"))
    await store(fired, limited)
    for days in (5, 10, 40):
        then = utc_now() - timedelta(days=days)
        await store(
            timer(fired.id, then, status="WAITING", key=f"k{days}"),
            timer(fired.id, then, status="FIRED", key="k"),
            DedupeKey(trigger_id=limited.id, key=f"k{days}", event_id="e", created_at=then),
            TriggerState(trigger_id=limited.id, key=f"k{days}", updated_at=then),
        )

    result = await maintenance.delete_events(database, utc_now() - timedelta(days=7))

    assert result == {"timers": 2, "trigger_dedupe_keys": 2, "trigger_states": 1}  # a throttle may count for 30 days
    assert [await count(database, one) for one in (Timer, DedupeKey, TriggerState)] == [4, 1, 2]


def timer(trigger_id: UUID, then: datetime, *, status: str, key: str) -> Timer:
    return Timer(
        trigger_id=trigger_id, project_id="p", purpose="silence", key=key, status=status, created_at=then, due_at=then,
        ended_at=then if status == "FIRED" else None, event_id="e", event_type="t", event_data={}, occurred_at=then,
    )  # fmt: skip


async def test_a_row_that_somebody_holds_is_left_and_nobody_waits(database: Database, store: Any) -> None:
    held, free = execution(40), execution(41)
    await store(held, free)
    async with database.transaction() as session:
        await session.execute(select(Execution).where(Execution.id == held.id).with_for_update())
        async with asyncio.timeout(10):
            result = await maintenance.delete_rows(database, utc_now() - timedelta(days=30))
    assert result["workflow_executions"] == 1
    assert await kept(database) == {held.id}


async def test_what_hangs_on_a_row_and_is_held_ends_the_deletion_and_not_the_wait_of_others(
    database: Database, store: Any
) -> None:
    old = execution(40)
    await store(old, StepExecution(execution_id=old.id, identifier="s", step_type="S", order=1, status="COMPLETED"))
    async with database.transaction() as session:
        await session.execute(select(StepExecution).with_for_update())
        async with asyncio.timeout(10):
            assert await maintenance.delete_rows(database, utc_now() - timedelta(days=30)) == {}
    assert (await maintenance.delete_rows(database, utc_now() - timedelta(days=30)))["step_executions"] == 1


async def test_an_alert_that_is_not_over_stays_however_old_it_is(database: Database, store: Any) -> None:
    then = utc_now() - timedelta(days=40)
    await store(
        Alert(rule="r", fingerprint="on", severity="WARNING", message="m", created_at=then, state=AlertState.FIRING),
        Alert(
            rule="r", severity="WARNING", message="m", created_at=then, state=AlertState.RESOLVED, resolved_at=utc_now()
        ),
        Silence(until=then, created_by="ana"),
        Silence(until=utc_now() + timedelta(days=1), created_at=then, created_by="ana"),
    )
    assert await maintenance.delete_rows(database, utc_now() - timedelta(days=30)) == {"silences": 1}


async def test_the_audit_stays_for_as_long_as_its_own_setting_says(
    step: StepContext, store: Any, prefect_api: str
) -> None:
    for days in (40, 400):
        await store(
            AuditEntry(
                at=utc_now() - timedelta(days=days), actor="ana", action="update", object_type="workflow", object_id="w"
            )
        )
    result = await clean_old_executions.function(step, CleanOldExecutionsConfig())
    assert result["rows"] == {"audit": 1}
    assert await count(step.database, AuditEntry) == 1


async def test_the_result_and_the_log_say_what_went_and_what_room_that_left(
    step: StepContext, store: Any, prefect_api: str
) -> None:
    await store(*(execution(40) for _ in range(300)))
    async with step.database.engine.connect() as connection:
        await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(text("ANALYZE"))

    result = await clean_old_executions.function(step, CleanOldExecutionsConfig())

    assert result["rows"] == {"workflow_executions": 300}
    assert result["freed_bytes"] > 300 * 100
    assert "workflow_executions 300" in step.lines[-1].message
    assert "for new ones" in step.lines[-1].message


async def test_what_is_written_meanwhile_never_waits_for_a_deletion(database: Database, store: Any) -> None:
    old = [execution(40) for _ in range(3000)]
    async with database.transaction() as session:
        session.add_all(old)
        await session.flush()
        session.add_all(
            StepExecution(execution_id=one.id, identifier=f"s{number}", step_type="S", order=1, status="COMPLETED")
            for one in old
            for number in range(3)
        )
    deletion = asyncio.create_task(maintenance.delete_rows(database, utc_now() - timedelta(days=30)))
    written = 0
    while not deletion.done():
        async with database.transaction() as session:
            await session.execute(text("SET LOCAL lock_timeout = '200ms'"))  # an error for who has to wait
            young = execution(0, Status.PENDING)
            session.add(young)
            await session.flush()
            session.add(
                StepExecution(execution_id=young.id, identifier="s", step_type="S", order=1, status="COMPLETED")
            )
            young.status = Status.COMPLETED
        written += 1
    assert await deletion == {"workflow_executions": 3000, "step_executions": 9000}
    assert written > 10
    assert await count(database, Execution) == written


async def test_backups_of_long_deleted_pages_go_too(step: StepContext, prefect_api: str) -> None:
    deleted = step.settings.runtime_root / "p/pages/.deleted/old.json"
    deleted.parent.mkdir(parents=True)
    deleted.write_text("{}")
    then = (utc_now() - timedelta(days=40)).timestamp()
    os.utime(deleted, (then, then))
    result = await clean_old_executions.function(step, CleanOldExecutionsConfig())
    assert result["page_backups"] == {"files": 1, "bytes": 2}
    assert not deleted.exists()


async def _flow_run(client: PrefectClient, pool: str) -> UUID:
    with contextlib.suppress(ObjectAlreadyExists):
        await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    flow_id = await client.create_flow_from_name("cleanup-test")
    deployment_id = await client.create_deployment(flow_id, name=f"in-{pool}", work_pool_name=pool)
    return (await client.create_flow_run_from_deployment(deployment_id)).id


async def _until_logs(client: PrefectClient, run: UUID, count: int) -> None:
    """Prefect stores and deletes log lines in the background."""
    these = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
    async with asyncio.timeout(20):
        while len(await client.read_logs(these)) != count:
            await asyncio.sleep(0.1)


async def test_ended_flow_runs_of_a_pool_go_from_prefect_with_their_logs(prefect_api: str) -> None:
    async with get_client() as client:
        ended, running = [await _flow_run(client, "ours") for _ in range(2)]
        foreign = await _flow_run(client, "others")
        for run in (ended, foreign):
            await client.set_flow_run_state(run, Completed(), force=True)
        await client.set_flow_run_state(running, Running(), force=True)
        await client.create_logs(
            [LogCreate(name="prefect", level=20, message="m", timestamp=utc_now(), flow_run_id=ended)]
        )
        await _until_logs(client, ended, 1)
        assert await maintenance.delete_prefect_runs(utc_now() - timedelta(days=1), "ours") == 0
        assert await maintenance.delete_prefect_runs(utc_now() + timedelta(seconds=5), "ours") == 1
        with pytest.raises(ObjectNotFound):
            await client.read_flow_run(ended)
        assert (await client.read_flow_run(running)).state_name == "Running"
        assert (await client.read_flow_run(foreign)).state_name == "Completed"
        await _until_logs(client, ended, 0)


async def test_more_runs_than_prefect_deletes_at_once_go_in_one_call(prefect_api: str) -> None:
    async with get_client() as client:
        for _ in range(51):
            await client.set_flow_run_state(await _flow_run(client, "many"), Completed(), force=True)
    assert await maintenance.delete_prefect_runs(utc_now() + timedelta(seconds=5), "many") == 51


async def test_older_than_hours_decides_and_a_build_of_an_unfinished_execution_stays(
    step: StepContext, store: Any
) -> None:
    unfinished, ended = execution(3, Status.RETRYING), execution(3)
    await store(unfinished, ended)
    builds = step.settings.runtime_root / "p/builds"
    then = (utc_now() - timedelta(hours=30)).timestamp()
    for one in (unfinished, ended):
        (builds / str(one.id)).mkdir(parents=True)
        (builds / str(one.id) / "build.json").write_text("{}")
        os.utime(builds / str(one.id), (then, then))
    result = await clean_temp_files.function(step, CleanTempFilesConfig(older_than_hours=48))
    assert (result["files"], result["bytes"]) == (0, 0)
    result = await clean_temp_files.function(step, CleanTempFilesConfig())
    assert (result["files"], result["bytes"]) == (1, 2)
    assert result["folders"]["runtime"]["after"] < result["folders"]["runtime"]["before"]
    assert [path.name for path in builds.iterdir()] == [str(unfinished.id)]


@pytest.fixture
async def block(prefect_api: str, database: Database) -> AsyncIterator[None]:
    await maintenance.save_database_block(database.url)
    yield
    await maintenance.save_database_block(database.url)


async def _maintained(database: Database) -> tuple[int, int]:
    """How often the events table was vacuumed and analysed by command."""
    query = text("SELECT vacuum_count, analyze_count FROM pg_stat_user_tables WHERE relname = 'events'")
    async with database.transaction() as session:
        row = (await session.execute(query)).one()
    return int(row.vacuum_count), int(row.analyze_count)


@pytest.mark.parametrize(
    ("vacuum", "analyze", "commands"),
    [
        (True, True, ["VACUUM", "ANALYZE"]),
        (True, False, ["VACUUM"]),
        (False, True, ["ANALYZE"]),
        (False, False, []),
    ],
)
async def test_vacuum_and_analyze_run_as_they_are_asked_for(
    step: StepContext, block: None, vacuum: bool, analyze: bool, commands: list[str]
) -> None:
    before = await _maintained(step.database)
    result = await optimize_database.function(step, OptimizeDatabaseConfig(vacuum=vacuum, analyze=analyze))
    after = await _maintained(step.database)
    assert (after[0] - before[0], after[1] - before[1]) == (int(vacuum), int(analyze))
    assert result["commands"] == commands
    assert ("events" in result["tables"]) == bool(commands)
    if not commands:
        assert "Nothing done" in step.lines[0].message


async def test_a_vacuum_gives_the_space_of_deleted_rows_back(step: StepContext, block: None) -> None:
    async with step.database.transaction() as session:
        await session.execute(insert(Event), [event(str(number), 40) for number in range(5000)])
    async with step.database.transaction() as session:
        await session.execute(text("DELETE FROM events"))
    result = await optimize_database.function(step, OptimizeDatabaseConfig(analyze=False))
    size = result["tables"]["events"]
    assert 0 <= size["after"] < size["before"]
    assert result["bytes"]["after"] < result["bytes"]["before"]


async def test_a_table_that_somebody_holds_is_left_and_nobody_waits(step: StepContext, block: None) -> None:
    async with step.database.transaction() as session:
        await session.execute(text("LOCK TABLE events IN SHARE UPDATE EXCLUSIVE MODE"))
        async with asyncio.timeout(30):
            result = await optimize_database.function(step, OptimizeDatabaseConfig())
    assert "events" in result["tables"]


async def test_the_password_of_the_database_is_not_readable_in_the_block(block: None) -> None:
    await maintenance.save_database_block("postgresql://user:s3cret@db.example.org:5433/a?sslmode=require")
    async with get_client() as client:
        document = await client.read_block_document_by_name(
            maintenance.DATABASE_BLOCK, "sqlalchemy-connector", include_secrets=False
        )
    assert document.data["connection_info"]["host"] == "db.example.org"
    assert document.data["connection_info"]["query"] == {"sslmode": "require"}
    assert "s3cret" not in str(document.data)


async def test_a_missing_block_says_what_to_do(step: StepContext, block: None) -> None:
    async with get_client() as client:
        document = await client.read_block_document_by_name(maintenance.DATABASE_BLOCK, "sqlalchemy-connector")
        await client.delete_block_document(document.id)
    with pytest.raises(DatabaseError, match="automation deploy"):
        await optimize_database.function(step, OptimizeDatabaseConfig())
