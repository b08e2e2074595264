"""The mirror: Prefect's runs and logs in our tables, and what becomes of what is lost."""

import asyncio
import contextlib
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import State
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import LogCreate
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Completed, Crashed, Failed, Pending, Running
from sqlalchemy import func, select

from automation.database import Database
from automation.mirror import Mirror, count, logs, reaper, settle, states, verify
from automation.models import Execution, ExecutionLog, FlowRun, Status, StepExecution, utc_now
from automation.settings import Settings
from tests.integration.flows import create
from tests.integration.rows import every, execution, stored, stored_run, workflow, write

pytestmark = pytest.mark.usefixtures("deployed")

SETTINGS = Settings()
LONG_AGO = timedelta(hours=1)
CLEAN = {"states": 0, "unfinished": 0, "untouched": 0, "outcomes": 0, "crashed_after_commit": 0}


@pytest.fixture
def mirror(database: Database, prefect: PrefectClient) -> Mirror:
    return Mirror(database, prefect, SETTINGS)


async def carried(
    database: Database, prefect: PrefectClient, state: State[Any] | None = None, **values: Any
) -> tuple[UUID, UUID, UUID]:
    """An execution in the hands of a run; its id, our id of the run, and Prefect's."""
    id_ = await execution(database, await workflow(database), **values)
    run = await create(prefect, "publish", executions=[str(id_)])
    if state:
        await prefect.set_flow_run_state(run.id, state, force=True)
    row = FlowRun(id=uuid4(), prefect_id=run.id, kind="publish", state="SCHEDULED")
    await write(database, row)
    await change(database, Execution, id_, flow_run_id=row.id)
    return id_, row.id, run.id


async def change(database: Database, model: type[Any], id_: UUID, **values: Any) -> None:
    async with database.transaction() as session:
        row = await session.get_one(model, id_)
        for name, value in values.items():
            setattr(row, name, value)


async def settled(database: Database) -> None:
    async with database.transaction() as session:
        await settle.settle_ended(session, SETTINGS)


@pytest.fixture(autouse=True)
def _nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """So what looks wrong need not be looked at again later."""
    monkeypatch.setattr(verify, "_AGAIN", 0.0)


async def counts(database: Database, prefect: PrefectClient) -> dict[str, int]:
    return await count(database, prefect)


@pytest.mark.parametrize(
    ("state", "ended"),
    [
        (Pending(), False),
        (Running(), False),
        (AwaitingRetry(), False),
        (Completed(), True),
        (Failed(), True),
        (Crashed(), True),
        (Cancelled(), True),
    ],
    ids=lambda one: one.name if isinstance(one, State) else None,
)
async def test_a_runs_state_is_copied(
    database: Database, prefect: PrefectClient, mirror: Mirror, state: State[Any], ended: bool
) -> None:
    _, row_id, _ = await carried(database, prefect, state)

    await mirror.read_open()

    row = await stored_run(database, row_id)
    assert (row.state, row.state_name, row.ended_at is not None) == (state.type.value, state.name, ended)


async def test_a_run_that_somebody_else_made_appears(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    run = await create(prefect, "cleanup")
    await prefect.set_flow_run_state(run.id, Completed(), force=True)

    await mirror.read_windows()

    rows = {one.prefect_id: one for one in await every(database, FlowRun)}
    assert (rows[run.id].kind, rows[run.id].state) == ("cleanup", "COMPLETED")


async def test_a_strangers_long_names_do_not_stop_the_mirror(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    _, row_id, prefect_id = await carried(database, prefect)
    await prefect.set_flow_run_state(prefect_id, Running(name="x" * 200), force=True)
    await prefect.create_logs(
        [LogCreate(name="x", level=12345, message="odd", timestamp=utc_now(), flow_run_id=prefect_id)]
    )

    await mirror.round()

    assert (await stored_run(database, row_id)).state_name == "x" * 50
    assert [one.level for one in await every(database, ExecutionLog) if one.message == "odd"] == ["CRITICAL"]


async def test_equal_idempotency_keys_of_two_flows_are_two_runs(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    ids = set()
    for kind in ("publish", "cleanup"):
        deployment = await prefect.read_deployment_by_name(f"{kind}/{kind}")
        run = await prefect.create_flow_run_from_deployment(deployment.id, idempotency_key="daily")
        ids.add(run.id)

    await mirror.read_windows()
    await mirror.read_windows()

    assert ids <= {one.prefect_id for one in await every(database, FlowRun)}


async def test_a_run_that_was_deleted_in_prefect_ends_and_its_execution_goes_on(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    id_, row_id, prefect_id = await carried(database, prefect)
    await prefect.delete_flow_run(prefect_id)

    await mirror.round()

    assert (await stored_run(database, row_id)).state == "DELETED"
    assert ((await stored(database, id_)).status, (await stored(database, id_)).flow_run_id) == ("PENDING", None)


async def test_a_crashed_run_hands_its_execution_on_three_times_and_then_it_has_failed(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    id_, row_id, _ = await carried(database, prefect, Crashed(), status=Status.RUNNING, attempt=1)
    await mirror.round()
    lost = []
    for attempt in range(2, 6):
        lost.append((await stored(database, id_)).status)
        await change(database, Execution, id_, status=Status.RUNNING, attempt=attempt, flow_run_id=row_id)
        await settled(database)

    assert lost == [Status.RETRYING] * 3 + [Status.FAILED]
    failed = await stored(database, id_)
    assert failed.error_code == "WORKER_LOST"
    assert await counts(database, prefect) == CLEAN


async def test_a_step_that_was_under_way_in_a_crashed_run_has_failed(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    id_, _, _ = await carried(database, prefect, Crashed(), status=Status.RUNNING, attempt=1)
    await write(
        database,
        StepExecution(execution_id=id_, identifier="a", step_type="A", order=1, status=Status.COMPLETED),
        StepExecution(execution_id=id_, identifier="b", step_type="B", order=2, status=Status.RUNNING),
    )

    await mirror.round()

    found = {one.identifier: (one.status, one.error_code) for one in await every(database, StepExecution)}
    assert found == {"a": ("COMPLETED", ""), "b": ("FAILED", "WORKER_LOST")}


async def test_what_was_not_begun_waits_again_and_each_time_longer(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    id_, _, _ = await carried(database, prefect, Crashed(), dispatch_no=6)

    await mirror.round()

    waiting = await stored(database, id_)
    assert (waiting.status, waiting.flow_run_id, waiting.lost_count) == (Status.PENDING, None, 0)
    assert timedelta(seconds=3) < waiting.due_at - utc_now() <= timedelta(seconds=5)


@pytest.mark.parametrize(("mine", "other"), [(3, 2), (2, 3)])
async def test_of_two_that_wait_on_one_key_after_a_crash_the_newer_data_stays(
    database: Database, prefect: PrefectClient, mirror: Mirror, mine: int, other: int
) -> None:
    id_, _, _ = await carried(database, prefect, Crashed(), key="home", version=mine)
    of = (await stored(database, id_)).workflow_id
    waiting = await execution(database, of, key="home", version=other)

    await mirror.round()

    found = {one.version: one for one in (await stored(database, id_), await stored(database, waiting))}
    assert (found[3].status, found[3].event_count, found[3].flow_run_id) == (Status.PENDING, 2, None)
    assert found[2].status == Status.CANCELLED
    assert str(found[3].id) in found[2].error_message


async def test_what_waits_again_without_a_key_takes_no_others_place(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    id_, _, _ = await carried(database, prefect, Crashed(), version=3)
    of = (await stored(database, id_)).workflow_id
    others = [await execution(database, of, version=version) for version in (2, 4)]

    await mirror.round()

    found = [await stored(database, one) for one in (id_, *others)]
    assert [(one.status, one.flow_run_id, one.event_count) for one in found] == [(Status.PENDING, None, 1)] * 3


async def test_a_run_cancelled_in_prefect_cancels_its_execution(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    id_, _, _ = await carried(database, prefect, Cancelled())

    await mirror.round()

    assert (await stored(database, id_)).status == Status.CANCELLED
    assert await counts(database, prefect) == CLEAN


async def test_prefects_cancel_button_is_a_request_to_the_engine(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    id_, _, prefect_id = await carried(database, prefect, Running(), status=Status.RUNNING)
    await prefect.set_flow_run_state(prefect_id, Cancelling())

    await mirror.read_open()

    asked = await stored(database, id_)
    assert asked.cancel_requested_at is not None
    assert asked.status == Status.RUNNING


async def test_what_the_engine_has_committed_stands_whatever_becomes_of_the_run(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    id_, _, _ = await carried(database, prefect, Crashed(), status=Status.COMPLETED)
    await write(
        database, StepExecution(execution_id=id_, identifier="a", step_type="A", order=1, status=Status.COMPLETED)
    )

    await mirror.round()

    assert (await stored(database, id_)).status == Status.COMPLETED
    assert await counts(database, prefect) == CLEAN | {"crashed_after_commit": 1}


IMPATIENT = Settings(lease_seconds=0.001, pending_seconds=0.001)


async def reap(database: Database, prefect: PrefectClient, mirror: Mirror, settings: Settings = SETTINGS) -> int:
    await mirror.read_open()
    return await reaper.reap(database, prefect, settings)


async def state_of(prefect: PrefectClient, prefect_id: UUID) -> str:
    state = (await prefect.read_flow_run(prefect_id)).state
    assert state is not None
    return str(state.name)


@pytest.mark.parametrize("becomes", ["Crashed", "Cancelled"])
async def test_a_run_whose_lease_ran_out_is_ended(
    database: Database, prefect: PrefectClient, mirror: Mirror, becomes: str
) -> None:
    _, row_id, prefect_id = await carried(database, prefect, Running())
    if becomes == "Cancelled":
        await prefect.set_flow_run_state(prefect_id, Cancelling())
    await change(database, FlowRun, row_id, claimed_at=utc_now() - LONG_AGO, lease_until=utc_now() - LONG_AGO)

    assert await reap(database, prefect, mirror, IMPATIENT) == 1

    assert await state_of(prefect, prefect_id) == becomes


async def test_a_lost_run_adds_one_line_to_the_log_whatever_its_name(
    database: Database, prefect: PrefectClient, mirror: Mirror, caplog: pytest.LogCaptureFixture
) -> None:
    _, _, prefect_id = await carried(database, prefect, Running())
    await prefect.update_flow_run(prefect_id, name="Auto-save Shop\n2026-01-15 INFO all is well")

    assert await reap(database, prefect, mirror, IMPATIENT) == 1

    (line,) = [record.getMessage() for record in caplog.records if str(prefect_id) in record.getMessage()]
    assert "Shop\\n2026" in line
    assert "\n" not in line


async def test_a_run_with_a_lease_is_left_alone(database: Database, prefect: PrefectClient, mirror: Mirror) -> None:
    _, row_id, prefect_id = await carried(database, prefect, Running())
    await change(database, FlowRun, row_id, claimed_at=utc_now(), lease_until=utc_now() + timedelta(seconds=60))

    assert await reap(database, prefect, mirror, IMPATIENT) == 0
    assert await state_of(prefect, prefect_id) == "Running"


@pytest.mark.parametrize("state", [Pending, Running])
async def test_a_run_whose_process_died_before_it_took_a_lease_is_ended_after_a_while(
    database: Database, prefect: PrefectClient, mirror: Mirror, state: Any
) -> None:
    _, _, prefect_id = await carried(database, prefect, state())

    assert await reap(database, prefect, mirror) == 0
    assert await reap(database, prefect, mirror, IMPATIENT) == 1

    assert await state_of(prefect, prefect_id) == "Crashed"


async def test_the_lease_of_the_try_before_does_not_end_the_one_that_just_began(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    _, row_id, prefect_id = await carried(database, prefect, Pending())
    await change(database, FlowRun, row_id, lease_until=utc_now() - timedelta(seconds=1))

    assert await reap(database, prefect, mirror) == 0
    assert await state_of(prefect, prefect_id) == "Pending"


async def test_a_run_that_waits_needs_no_lease(database: Database, prefect: PrefectClient, mirror: Mirror) -> None:
    waits = AwaitingRetry(scheduled_time=utc_now() + LONG_AGO)
    _, row_id, prefect_id = await carried(database, prefect, waits)
    await change(database, FlowRun, row_id, lease_until=utc_now() - LONG_AGO)

    assert await reap(database, prefect, mirror) == 0

    assert (await stored_run(database, row_id)).lease_until is None
    assert await state_of(prefect, prefect_id) == "AwaitingRetry"


async def logged(prefect: PrefectClient, prefect_id: UUID, *lines: dict[str, Any]) -> None:
    made = [
        LogCreate(**{"name": "prefect.flow_runs", "level": 20, "timestamp": utc_now(), "flow_run_id": prefect_id} | one)
        for one in lines
    ]
    await prefect.create_logs(made)


async def test_every_line_is_copied_once_with_its_step(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    id_, _, prefect_id = await carried(database, prefect, Running())
    task_run = uuid4()
    await write(
        database,
        StepExecution(
            execution_id=id_, identifier="save", step_type="SAVE", order=1, status="COMPLETED", task_run_id=task_run
        ),
    )
    await mirror.read_open()
    await logged(
        prefect,
        prefect_id,
        {"message": "begins"},
        {"message": "a\nb", "level": 40, "task_run_id": task_run},
        {"message": "the engine's own", "name": "prefect.task_runs.step", "task_run_id": task_run},
    )

    for _ in range(3):
        await logs.copy(database, prefect)

    lines = sorted(await every(database, ExecutionLog), key=lambda one: one.message)
    assert [(one.message, one.level, one.step_identifier, one.execution_id) for one in lines] == [
        ("a\\nb", "ERROR", "save", id_),
        ("begins", "INFO", "", id_),
    ]


async def test_a_line_of_a_step_under_way_gets_its_step_when_that_is_recorded(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    id_, _, prefect_id = await carried(database, prefect, Running())
    await mirror.read_open()
    task_run = uuid4()
    await logged(prefect, prefect_id, {"message": "half done", "task_run_id": task_run})
    await logs.copy(database, prefect)
    assert [one.step_identifier for one in await every(database, ExecutionLog)] == [""]

    await write(
        database,
        StepExecution(
            execution_id=id_, identifier="save", step_type="SAVE", order=1, status="COMPLETED", task_run_id=task_run
        ),
    )
    await logs.copy(database, prefect)

    assert [one.step_identifier for one in await every(database, ExecutionLog)] == ["save"]


async def test_lines_that_come_long_after_they_were_logged_are_found_at_the_end(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    _, row_id, prefect_id = await carried(database, prefect, Completed())
    await mirror.read_open()
    await logs.copy(database, prefect)
    await logged(prefect, prefect_id, {"message": "late", "timestamp": utc_now() - LONG_AGO})
    await logs.copy(database, prefect)
    assert await every(database, ExecutionLog) == []

    await change(database, FlowRun, row_id, ended_at=utc_now() - logs.LATE - timedelta(seconds=1))
    await logs.copy(database, prefect)

    assert [one.message for one in await every(database, ExecutionLog)] == ["late"]
    assert (await stored_run(database, row_id)).logs_done


async def test_more_lines_than_a_page_holds_are_all_copied(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    _, _, prefect_id = await carried(database, prefect, Running())
    await mirror.read_open()
    for start in range(0, 450, 150):
        await logged(prefect, prefect_id, *({"message": f"line {n}"} for n in range(start, start + 150)))

    await logs.copy(database, prefect)

    async with database.transaction() as session:
        assert await session.scalar(select(func.count()).select_from(ExecutionLog)) == 450


async def test_verify_finds_a_state_that_differs(database: Database, prefect: PrefectClient, mirror: Mirror) -> None:
    _, row_id, _ = await carried(database, prefect, Running())
    await mirror.read_open()
    assert await counts(database, prefect) == CLEAN

    await change(database, FlowRun, row_id, state="PENDING")

    assert await counts(database, prefect) == CLEAN | {"states": 1}


async def test_verify_finds_an_unfinished_execution_of_an_ended_run(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    await carried(database, prefect, Completed(), status=Status.RUNNING)
    await mirror.read_open()

    assert await counts(database, prefect) == CLEAN | {"unfinished": 1}


async def test_verify_finds_a_completed_execution_that_nobody_touched(
    database: Database, prefect: PrefectClient, mirror: Mirror
) -> None:
    await carried(database, prefect, Completed(), status=Status.COMPLETED)
    await mirror.read_open()

    assert await counts(database, prefect) == CLEAN | {"untouched": 1}


@pytest.mark.parametrize(
    ("state", "status"),
    [(Completed, Status.FAILED), (Completed, Status.CANCELLED), (Failed, Status.CANCELLED), (Failed, Status.COMPLETED)],
)
async def test_verify_finds_an_execution_that_ended_otherwise_than_its_run(
    database: Database, prefect: PrefectClient, mirror: Mirror, state: Any, status: Status
) -> None:
    id_, _, _ = await carried(database, prefect, state(), status=status)
    await write(
        database, StepExecution(execution_id=id_, identifier="a", step_type="A", order=1, status=Status.COMPLETED)
    )
    await mirror.read_open()

    assert await counts(database, prefect) == CLEAN | {"outcomes": 1}
    assert await count(database, prefect, since=utc_now() + LONG_AGO) == CLEAN


async def test_a_row_of_a_run_that_never_came_to_be_is_dropped(database: Database) -> None:
    kept, dropped = FlowRun(id=uuid4(), kind="publish"), FlowRun(id=uuid4(), kind="publish")
    for one in (kept, dropped):
        one.created_at = utc_now() - LONG_AGO
    await write(database, kept, dropped)
    await execution(database, await workflow(database), flow_run_id=kept.id)

    async with database.transaction() as session:
        await states.drop_orphans(session)

    assert [one.id for one in await every(database, FlowRun)] == [kept.id]


async def test_when_the_process_that_mirrors_dies_another_one_takes_over(
    database: Database, prefect: PrefectClient
) -> None:
    rounds: list[int] = []

    class Watched(Mirror):
        number = 0

        async def round(self) -> None:
            rounds.append(self.number)
            await super().round()

    quick = Settings(mirror_interval=0.05)
    tasks = []
    for number in (1, 2):
        one = Watched(database, prefect, quick)
        one.number = number
        tasks.append(asyncio.create_task(one.run()))
        if number == 1:
            await until(lambda: 1 in rounds)
    try:
        tasks[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[0]
        assert 2 not in rounds
        await until(lambda: 2 in rounds)
    finally:
        tasks[1].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await tasks[1]


async def until(true: Any) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)
