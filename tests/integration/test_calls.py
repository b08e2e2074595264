"""A call of a workflow goes through its API_CALL trigger, like an event through any other."""

from typing import Any

import pytest
from sqlalchemy import update

from automation import control
from automation.database import Database
from automation.errors import ConflictError, RefusedError, ThrottledError
from automation.intake import Started
from automation.models import Execution, Trigger, Workflow, utc_now
from tests.integration.rows import every
from tests.integration.triggering import SETTINGS, runs, trigger


async def call(database: Database, of: Trigger, **input: Any) -> Started:
    async with database.transaction() as session:
        return await control.execute(session, of.workflow_id, SETTINGS, input=input)


async def api_call(database: Database, **config: Any) -> Trigger:
    return await trigger(database, "API_CALL", "", **config)


async def test_a_call_fires_the_trigger_and_its_input_is_the_data(database: Database) -> None:
    made = await api_call(database)

    started = await call(database, made, n=1)

    [execution] = await runs(database, made)
    assert (execution.id, execution.trigger_type, execution.event_type) == (started.id, "API_CALL", "api.call")
    assert execution.trigger_data == {"project_id": "p1", "input": {"n": 1}}
    assert execution.due_at <= utc_now()


async def test_conditions_and_keys_see_what_is_in_the_input(database: Database) -> None:
    made = await api_call(database, conditions={"field": "data.n", "operator": ">", "value": 3}, key="data.input.user")

    with pytest.raises(ConflictError, match=r"\(API_CALL\) does not fire on this: data.n > 3 does not hold: it is 1"):
        await call(database, made, n=1, user="u")
    with pytest.raises(ConflictError, match=r"the event has no data\.input\.user, which is the trigger's key"):
        await call(database, made, n=4)
    await call(database, made, n=4, user="u")

    assert [one.key for one in await runs(database, made)] == ["u"]
    assert len(await every(database, Execution)) == 1


async def test_an_input_that_breaks_the_schema_is_refused_with_its_field(database: Database) -> None:
    made = await api_call(database, input_schema={"type": "object", "properties": {"n": {"type": "integer"}}})

    with pytest.raises(RefusedError) as refused:
        await call(database, made, n="one")

    assert refused.value.field == "input.n"
    assert await runs(database, made) == []


async def test_a_call_too_much_is_told_when_to_come_again(database: Database) -> None:
    made = await api_call(database, throttle={"limit": 1, "per_seconds": 60})
    await call(database, made)

    with pytest.raises(ThrottledError, match="fired 1 times in 60 s already") as refused:
        await call(database, made)

    assert 55 < refused.value.retry_after <= 60


async def test_a_call_that_queues_is_answered_with_its_execution_that_waits(database: Database) -> None:
    made = await api_call(database, throttle={"limit": 1, "per_seconds": 60, "excess": "queue"})

    first, second = await call(database, made), await call(database, made)

    due = {one.id: one.due_at for one in await runs(database, made)}
    assert 55 < (due[second.id] - due[first.id]).total_seconds() <= 61


async def test_a_call_beside_an_open_execution_is_refused_or_replaces_it(database: Database) -> None:
    dropping, replacing = await api_call(database, concurrency="drop"), await api_call(database, concurrency="replace")
    for one in (dropping, replacing):
        await call(database, one)

    with pytest.raises(ConflictError, match="of the same key is open"):
        await call(database, dropping)
    await call(database, replacing)

    assert [one.status for one in await runs(database, replacing)] == ["CANCELLED", "PENDING"]


async def test_a_trigger_that_is_switched_off_takes_no_calls_and_an_active_one_beside_it_does(
    database: Database,
) -> None:
    off = await trigger(database, "API_CALL", "", is_active=False)
    with pytest.raises(ConflictError, match="switched off"):
        await call(database, off)

    on = await trigger(database, "API_CALL", "", of=off.workflow_id)
    await call(database, off)

    assert [len(await runs(database, one)) for one in (off, on)] == [0, 1]


@pytest.mark.parametrize("values", [{"is_active": False}, {"archived_at": utc_now()}])
async def test_a_workflow_that_does_not_run_takes_no_calls(database: Database, values: dict[str, Any]) -> None:
    made = await api_call(database)
    async with database.transaction() as session:
        await session.execute(update(Workflow).values(**values))

    with pytest.raises(ConflictError):
        await call(database, made)

    assert await every(database, Execution) == []


async def test_a_call_of_the_platforms_workflow_has_no_project(database: Database) -> None:
    made = await trigger(
        database, "API_CALL", "", project_id=None, key="data.n", throttle={"limit": 1, "per_seconds": 9}
    )

    await call(database, made, n=1)

    [execution] = await runs(database, made)
    assert (execution.project_id, execution.trigger_data["input"]) == (None, {"n": 1})
