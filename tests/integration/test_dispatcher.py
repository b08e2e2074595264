"""The dispatcher against a real Prefect server: what is due becomes a flow run, once, and in turn."""

import asyncio
import contextlib
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun as PrefectRun
from sqlalchemy import update

from automation.database import Database
from automation.dispatcher import Dispatcher, assign
from automation.models import Execution, FlowRun, Status, utc_now
from automation.settings import Settings
from tests.integration.rows import every, execution, flow_run, stored, stored_run, workflow

pytestmark = pytest.mark.usefixtures("deployed")


def settings(**values: Any) -> Settings:
    return Settings(**values)


async def runs_of(prefect: PrefectClient, id_: UUID) -> list[PrefectRun]:
    """Prefect's runs that carry this execution."""
    chosen = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"execution:{id_}"]))
    return await prefect.read_flow_runs(flow_run_filter=chosen)


@contextlib.asynccontextmanager
async def away() -> Any:
    """A client of a Prefect server that does not answer."""
    async with PrefectClient("http://127.0.0.1:9/api") as client:
        yield client


async def make_old(database: Database) -> None:
    """As if everything that is stored had been stored a minute ago."""
    async with database.transaction() as session:
        await session.execute(update(FlowRun).values(created_at=utc_now() - timedelta(minutes=1)))


async def test_what_is_due_becomes_a_run_of_its_deployment(database: Database, prefect: PrefectClient) -> None:
    of = await workflow(database)
    id_ = await execution(database, of)

    assert await Dispatcher(database, prefect, settings()).round() == 1

    [run] = await runs_of(prefect, id_)
    held = await stored(database, id_)
    row = await stored_run(database, held.flow_run_id or uuid4())
    assert run.id == row.prefect_id
    assert run.idempotency_key == row.idempotency_key == f"{id_}:1"
    assert run.parameters == {"executions": [str(id_)]}
    assert (run.name, run.work_pool_name, run.work_queue_name) == ("W publish", "automation", "publish")
    assert {"project:p1", f"workflow:{of}", f"execution:{id_}"} <= set(run.tags)


async def test_nothing_is_sent_before_it_is_stored(
    database: Database, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = await execution(database, await workflow(database))
    create, seen = prefect.create_flow_run_from_deployment, []

    async def watched(*args: Any, **kwargs: Any) -> PrefectRun:
        seen.extend(await every(database, FlowRun))
        return await create(*args, **kwargs)

    monkeypatch.setattr(prefect, "create_flow_run_from_deployment", watched)
    await Dispatcher(database, prefect, settings()).round()

    assert [one.idempotency_key for one in seen] == [f"{id_}:1"]
    assert [one.prefect_id for one in seen] == [None]


async def test_what_could_not_be_sent_stays_stored_and_is_sent_once_later(
    database: Database, prefect: PrefectClient
) -> None:
    id_ = await execution(database, await workflow(database))
    async with away() as gone:
        assert await Dispatcher(database, gone, settings()).round() == 0
    assert (await stored(database, id_)).flow_run_id is not None
    assert await runs_of(prefect, id_) == []

    await make_old(database)
    dispatcher = Dispatcher(database, prefect, settings())
    assert [await dispatcher.round(), await dispatcher.round()] == [1, 0]

    assert len(await runs_of(prefect, id_)) == 1


async def test_a_run_whose_confirmation_was_lost_is_not_made_twice(database: Database, prefect: PrefectClient) -> None:
    id_ = await execution(database, await workflow(database))
    dispatcher = Dispatcher(database, prefect, settings())
    await dispatcher.round()
    async with database.transaction() as session:
        await session.execute(update(FlowRun).values(prefect_id=None, state="NEW"))
    await make_old(database)

    await asyncio.gather(dispatcher.round(), Dispatcher(database, prefect, settings()).round())

    [run] = await runs_of(prefect, id_)
    assert [one.prefect_id for one in await every(database, FlowRun)] == [run.id]


async def test_a_run_that_was_just_stored_is_left_to_the_one_who_stored_it(database: Database) -> None:
    await execution(database, await workflow(database))
    async with database.transaction() as session:
        await assign.assign(session, 5)
        assert await assign.unsent(session, timedelta(seconds=10)) == []
        assert len(await assign.unsent(session, timedelta(0))) == 1


async def test_a_run_whose_execution_went_to_another_one_is_not_sent(database: Database) -> None:
    id_ = await execution(database, await workflow(database))
    async with database.transaction() as session:
        await assign.assign(session, 5)
    other = await flow_run(database)
    async with database.transaction() as session:
        (await session.get_one(Execution, id_)).flow_run_id = other

        assert await assign.unsent(session, timedelta(0)) == []


async def order_of_assignment(database: Database, capacity: int) -> list[UUID]:
    async with database.transaction() as session:
        return [UUID(one.parameters["executions"][0]) for one in await assign.assign(session, capacity)]


async def test_one_projects_flood_does_not_delay_anothers_first(database: Database) -> None:
    flood, quiet = await workflow(database, project_id="flood"), await workflow(database, project_id="quiet")
    began = utc_now() - timedelta(minutes=10)
    async with database.transaction() as session:
        session.add_all(
            Execution(
                id=uuid4(), workflow_id=flood, project_id="flood", kind="publish", trigger_type="API_CALL",
                due_at=began + timedelta(milliseconds=number),
            )
            for number in range(1500)
        )  # fmt: skip
    last = await execution(database, quiet)

    assert last in await order_of_assignment(database, 2)


async def test_within_a_project_the_oldest_goes_first(database: Database) -> None:
    of = await workflow(database)
    now = utc_now()
    ids = [await execution(database, of, due_at=now - timedelta(seconds=age)) for age in (1, 3, 2)]

    assert await order_of_assignment(database, 3) == [ids[1], ids[2], ids[0]]


async def test_the_rest_waits_in_the_table_while_enough_is_in_flight(
    database: Database, prefect: PrefectClient
) -> None:
    of = await workflow(database)
    ids = [await execution(database, of) for _ in range(5)]
    await flow_run(database, state="SCHEDULED", state_name="AwaitingRetry")
    await flow_run(database, state="PAUSED", state_name="Suspended")
    await flow_run(database, state="RUNNING")
    dispatcher = Dispatcher(database, prefect, settings(max_in_flight=3))

    assert [await dispatcher.round(), await dispatcher.round()] == [2, 0]

    async with database.transaction() as session:
        await session.execute(update(FlowRun).values(ended_at=utc_now()))
    assert await dispatcher.round() == 3
    assert None not in [(await stored(database, id_)).flow_run_id for id_ in ids]


async def test_executions_of_one_key_are_handed_out_one_at_a_time(database: Database) -> None:
    of = await workflow(database)
    first = await execution(database, of, key="k", status=Status.RUNNING, flow_run_id=await flow_run(database))
    second = await execution(database, of, key="k")
    free = await execution(database, of, key="other")

    assert await order_of_assignment(database, 5) == [free]

    async with database.transaction() as session:
        (await session.get_one(Execution, first)).status = Status.COMPLETED
    assert await order_of_assignment(database, 5) == [second]


async def test_a_publish_is_handed_out_after_the_saves_of_its_project(database: Database) -> None:
    saves, generates = await workflow(database, kind="auto-save"), await workflow(database, kind="generate")
    save = await execution(database, saves, status=Status.RUNNING, flow_run_id=await flow_run(database))
    publish = await execution(database, generates)

    assert await order_of_assignment(database, 5) == []

    async with database.transaction() as session:
        (await session.get_one(Execution, save)).status = Status.COMPLETED
    assert await order_of_assignment(database, 5) == [publish]


@pytest.mark.parametrize(
    "values",
    [
        {"due_at": utc_now() + timedelta(hours=1)},
        {"status": Status.RUNNING},
        {"status": Status.WAITING},
        {"status": Status.COMPLETED},
        {"status": Status.CANCELLED},
    ],
    ids=["not due", "running", "waiting", "completed", "cancelled"],
)
async def test_what_is_not_waiting_or_not_due_is_left_alone(database: Database, values: dict[str, Any]) -> None:
    await execution(database, await workflow(database), **values)

    assert await order_of_assignment(database, 5) == []


async def test_two_dispatchers_side_by_side_hand_each_execution_out_once(database: Database) -> None:
    of = await workflow(database)
    ids = {await execution(database, of) for _ in range(20)}

    handed = await asyncio.gather(*(order_of_assignment(database, 10) for _ in range(4)))

    flat = [id_ for some in handed for id_ in some]
    assert len(flat) == len(set(flat))
    while more := await order_of_assignment(database, 10):
        flat += more
    assert set(flat) == ids


async def test_the_loop_is_woken_by_new_work_and_by_the_clock(database: Database, prefect: PrefectClient) -> None:
    of = await workflow(database)
    loop = asyncio.create_task(Dispatcher(database, prefect, settings()).run())
    try:
        soon = await execution(database, of, due_at=utc_now() + timedelta(seconds=0.3))
        async with asyncio.timeout(20):
            while not await runs_of(prefect, soon):
                assert not loop.done()
        assert utc_now() >= (await stored(database, soon)).due_at
    finally:
        loop.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loop


async def test_a_workflow_of_the_platform_is_dispatched_although_it_has_no_project(database: Database) -> None:
    of = await workflow(database, project_id=None, kind="cleanup")
    id_ = await execution(database, of)

    async with database.transaction() as session:
        [dispatch] = await assign.assign(session, 5)

    assert dispatch.parameters == {"executions": [str(id_)]}


# --- limits of projects -----------------------------------------------------------------------------------------


async def flood(database: Database, project_id: str, count: int, **values: Any) -> UUID:
    """A workflow of a project that has so many executions waiting."""
    of = await workflow(database, project_id=project_id)
    began = utc_now() - timedelta(minutes=10)
    for number in range(count):
        await execution(database, of, due_at=began + timedelta(milliseconds=number), **values)
    return of


async def taken(database: Database, capacity: int, turn: assign.Turn) -> list[str]:
    """The projects of what is assigned, in its order."""
    async with database.transaction() as session:
        return [tag(one.tags) for one in await assign.assign(session, capacity, turn)]


def tag(tags: tuple[str, ...]) -> str:
    return next((one.removeprefix("project:") for one in tags if one.startswith("project:")), "")


async def test_a_project_has_no_more_runs_in_flight_than_its_limit_and_others_go_on(database: Database) -> None:
    await flood(database, "big", 8)
    await flood(database, "small", 1)
    turn = assign.Turn(limit=3)

    handed = [one for _ in range(4) for one in await taken(database, 6, turn)]

    assert (handed.count("big"), handed.count("small")) == (3, 1)


async def test_a_run_that_ends_or_waits_for_a_retry_makes_room_for_the_next_of_its_project(database: Database) -> None:
    await flood(database, "big", 8)
    turn = assign.Turn(limit=2)
    assert await taken(database, 8, turn) == ["big"] * 2
    first, second = await every(database, FlowRun)
    assert await taken(database, 8, turn) == []

    await alter(database, first, state="SCHEDULED", state_name="AwaitingRetry")
    assert await taken(database, 8, turn) == ["big"]
    await alter(database, second, ended_at=utc_now())
    assert await taken(database, 8, turn) == ["big"]


async def alter(database: Database, run: FlowRun, **values: Any) -> None:
    async with database.transaction() as session:
        await session.execute(update(FlowRun).where(FlowRun.id == run.id).values(**values))


async def test_a_project_may_have_a_limit_of_its_own_or_none_and_the_platform_has_none(database: Database) -> None:
    await flood(database, "big", 6)
    await flood(database, "free", 6)
    await flood(database, "other", 6)
    of = await workflow(database, project_id=None, kind="cleanup")
    for _ in range(3):
        await execution(database, of)
    turn = assign.Turn(limit=1, limits={"big": 4, "free": 0})

    handed = [one for _ in range(8) for one in await taken(database, 6, turn)]

    assert {name: handed.count(name) for name in set(handed)} == {"big": 4, "free": 6, "other": 1, "": 3}


async def test_what_a_batch_run_carries_does_not_count_against_a_project(database: Database) -> None:
    of = await flood(database, "big", 2)
    batch = await flow_run(database, mode="batch")
    for _ in range(3):
        await execution(database, of, status=Status.RUNNING, flow_run_id=batch, batch=True)

    assert await taken(database, 5, assign.Turn(limit=2)) == ["big"] * 2


@pytest.mark.parametrize("limit", [0, 2])
async def test_projects_take_turns_although_only_one_place_at_a_time_becomes_free(
    database: Database, limit: int
) -> None:
    for name in ("a", "b", "c"):
        await flood(database, name, 4)
    turn = assign.Turn(limit=limit)

    assert [one for _ in range(5) for one in await taken(database, 1, turn)] == ["a", "b", "c", "a", "b"]


async def test_a_project_whose_executions_all_have_to_wait_does_not_keep_others_from_their_turn(
    database: Database,
) -> None:
    of = await workflow(database, project_id="a")
    await execution(database, of, key="k", status=Status.RUNNING, flow_run_id=await flow_run(database))
    await execution(database, of, key="k")
    await flood(database, "b", 2)

    assert [await taken(database, 1, assign.Turn()) for _ in range(3)] == [["b"], ["b"], []]


async def test_the_dispatcher_keeps_the_limit_of_the_settings(database: Database, prefect: PrefectClient) -> None:
    await flood(database, "big", 4)

    await Dispatcher(database, prefect, settings(project_concurrency=2)).round()

    assert len(await every(database, FlowRun)) == 2
