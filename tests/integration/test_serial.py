"""Executions of one trigger key that all run: strictly one after the other, in the order of their events."""

from datetime import timedelta
from uuid import UUID, uuid5

import pytest
from sqlalchemy import update

from automation import control
from automation.database import Database
from automation.dispatcher import assign
from automation.engine.claim import Claim, RunIdentity, claim
from automation.models import Execution, Status, Trigger, utc_now
from tests.integration.rows import stored
from tests.integration.triggering import KIND, SETTINGS, event, runs, send, trigger


async def queue(database: Database, *orders: str) -> tuple[Trigger, list[UUID]]:
    """A keyed trigger, and its executions for events that came in one request."""
    made = await trigger(database, key="data.order")
    await send(database, *(event(order=order, n=n) for n, order in enumerate(orders)))
    found = sorted(await runs(database, made), key=lambda one: one.trigger_data["n"])
    return made, [one.id for one in found]


async def dispatched(database: Database) -> list[UUID]:
    """The executions that get a flow run now."""
    async with database.transaction() as session:
        return [UUID(one.parameters["executions"][0]) for one in await assign.assign(session, 10)]


async def claimed(database: Database, id_: UUID) -> Claim:
    """A flow run of its own, the same each time, asks for an execution."""
    async with database.transaction() as session:
        return await claim(session, RunIdentity(uuid5(id_, "its run"), None, KIND, "a run"), [id_], SETTINGS)


async def put(database: Database, id_: UUID, **values: object) -> None:
    async with database.transaction() as session:
        await session.execute(update(Execution).where(Execution.id == id_).values(**values))


async def test_of_one_request_the_first_of_each_key_is_dispatched(database: Database) -> None:
    _, [a1, a2, b1, a3] = await queue(database, "a", "a", "b", "a")

    assert set(await dispatched(database)) == {a1, b1}
    assert await dispatched(database) == []
    for first, second in ((a1, a2), (a2, a3)):
        assert [item.execution_id for item in (await claimed(database, first)).items] == [first]
        assert await dispatched(database) == []
        await put(database, first, status=Status.COMPLETED)
        assert await dispatched(database) == [second]


@pytest.mark.parametrize("status", [Status.RETRYING, Status.WAITING])
@pytest.mark.parametrize("held", [True, False])
async def test_while_an_older_one_waits_for_its_next_try_no_newer_one_begins(
    database: Database, status: Status, held: bool
) -> None:
    _, [older, newer] = await queue(database, "a", "a")
    await dispatched(database)
    free = {} if held else {"flow_run_id": None}
    await put(database, older, status=status, due_at=utc_now() + timedelta(hours=1), **free)

    assert await dispatched(database) == []
    asked = await claimed(database, newer)  # somebody starts it in Prefect's UI
    assert (asked.items, asked.blocked) == ([], [newer])

    await put(database, older, status=Status.FAILED)
    assert [item.execution_id for item in (await claimed(database, newer)).items] == [newer]


async def test_an_older_one_that_is_retried_by_hand_goes_before_a_newer_one_that_has_not_begun(
    database: Database,
) -> None:
    _, [older, newer] = await queue(database, "a", "a")
    await dispatched(database)
    await put(database, older, status=Status.FAILED)
    assert await dispatched(database) == [newer]
    async with database.transaction() as session:
        await control.retry(session, older)

    assert (await claimed(database, newer)).blocked == [newer]
    assert await dispatched(database) == [older]
    assert [item.execution_id for item in (await claimed(database, older)).items] == [older]
    assert (await claimed(database, newer)).blocked == [newer]
    await put(database, older, status=Status.COMPLETED)

    assert [item.execution_id for item in (await claimed(database, newer)).items] == [newer]


async def test_an_older_one_that_is_retried_while_a_newer_one_runs_waits_for_it(database: Database) -> None:
    _, [older, newer] = await queue(database, "a", "a")
    await dispatched(database)
    await put(database, older, status=Status.FAILED)
    await claimed(database, newer)
    async with database.transaction() as session:
        await control.retry(session, older)

    assert await dispatched(database) == []
    assert (await claimed(database, older)).blocked == [older]
    assert (await stored(database, newer)).status == "RUNNING"


async def test_one_whose_turn_comes_later_is_not_overtaken_by_a_newer_one(database: Database) -> None:
    _, [older, newer] = await queue(database, "a", "a")
    await put(database, older, due_at=utc_now() + timedelta(hours=1))

    assert await dispatched(database) == []

    await put(database, older, due_at=utc_now())
    assert await dispatched(database) == [older]
    assert (await stored(database, newer)).flow_run_id is None


async def test_keys_do_not_wait_for_each_other(database: Database) -> None:
    _, ids = await queue(database, "a", "b", "c")

    assert sorted(await dispatched(database)) == sorted(ids)
    for id_ in ids:
        assert [item.execution_id for item in (await claimed(database, id_)).items] == [id_]
