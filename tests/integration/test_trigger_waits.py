"""What waits for its time: delayed events, what calls them off, silences, and waits one behind the other."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from automation.database import Database
from automation.models import Trigger, Workflow, utc_now
from tests.integration.triggering import (
    event,
    outcomes,
    pass_time,
    runs,
    send,
    sent,
    tick,
    timers,
    told,
    trigger,
)

# --- delays -------------------------------------------------------------------------------------------------


async def test_a_delayed_event_fires_when_its_time_has_come_and_not_before(database: Database) -> None:
    made = await trigger(database, "DELAYED", delay_seconds=60)

    assert await sent(database, event(n=1, id="x")) == ["delayed"]
    assert await tick(database, after=59) == 0
    assert await runs(database, made) == []
    assert await tick(database, after=1) == 1

    [execution] = await runs(database, made)
    assert (execution.trigger_data["n"], execution.event_id, execution.due_at <= utc_now()) == (1, "x", True)


async def test_each_delayed_event_fires_for_itself(database: Database) -> None:
    made = await trigger(database, "DELAYED", delay_seconds=60)

    await send(database, event(n=1), event(n=2))
    await pass_time(database, 30)
    await send(database, event(n=3))

    assert [await tick(database, after=30), await tick(database, after=30)] == [2, 1]
    assert sorted(one.trigger_data["n"] for one in await runs(database, made)) == [1, 2, 3]


async def test_two_delays_of_one_workflow_that_are_overdue_together_both_fire(database: Database) -> None:
    one = await trigger(database, "DELAYED", delay_seconds=60)
    two = await trigger(database, "DELAYED", of=one.workflow_id, delay_seconds=120)

    await send(database, event())
    assert await tick(database, after=600) == 2

    assert [len(await runs(database, one)), len(await runs(database, two))] == [1, 1]


async def test_cancel_on_calls_off_what_waits_under_the_same_key(database: Database) -> None:
    made = await trigger(database, "DELAYED", delay_seconds=60, cancel_on="order.cancelled", key="data.order")

    await send(database, event(order="a", id="a"), event(order="a"), event(order="b"))
    assert await sent(database, event("order.cancelled", order="a", id="no")) == ["called_off"]
    await tick(database, after=60)

    assert [one.trigger_data["order"] for one in await runs(database, made)] == ["b"]
    assert (await told(database, "no"))[0]["reason"] == "2 waiting under the key 'a'"
    ended = [one for one in await timers(database) if one.status == "CANCELLED"]
    assert [one.reason for one in ended] == ["called off by event no"] * 2
    assert all(one.ended_at for one in ended)


@pytest.mark.parametrize(
    ("cancel_on", "type", "is_called_off"),
    [
        ("order.*", "order.sent", True),
        ("*", "shop.closed", True),
        ("order.cancelled", "order.cancelled.partly", False),
        ("order.cancelled", "order.sent", False),
    ],
)
async def test_cancel_on_is_a_name_a_prefix_or_everything(
    database: Database, cancel_on: str, type: str, is_called_off: bool
) -> None:
    made = await trigger(database, "DELAYED", delay_seconds=60, cancel_on=cancel_on)

    await send(database, event())
    await send(database, event(type))
    await tick(database, after=60)

    assert (await runs(database, made) == []) is is_called_off


async def test_without_a_key_an_event_of_the_project_calls_off_and_one_of_another_does_not(database: Database) -> None:
    made = await trigger(database, "DELAYED", project_id=None, delay_seconds=60, cancel_on="stop")

    await send(database, event(project_id="p1"), event(project_id="p2"))
    await send(database, event("stop", "p2"))
    await tick(database, after=60)

    assert [one.project_id for one in await runs(database, made)] == ["p1"]


@pytest.mark.parametrize(("types", "fired"), [(("order.paid", "stop"), 0), (("stop", "order.paid"), 1)])
async def test_within_one_request_the_order_of_the_events_decides(
    database: Database, types: tuple[str, ...], fired: int
) -> None:
    made = await trigger(database, "DELAYED", delay_seconds=60, cancel_on="stop")

    answers = await send(database, *map(event, types))
    await tick(database, after=60)

    assert len(await runs(database, made)) == fired
    assert outcomes(answers)[types.index("stop")] == ["called_off"]


async def test_what_calls_off_needs_no_conditions_and_leaves_no_trace_in_them(database: Database) -> None:
    rule = {
        "all": [{"field": "data.total", "operator": ">", "value": 9}, {"field": "data.total", "operator": "changed"}]
    }
    made = await trigger(
        database, "DELAYED", delay_seconds=60, cancel_on="stop", conditions=rule, dedupe_key="data.total"
    )

    await send(database, event(total=10), event(total=20))
    assert await sent(database, event("stop")) == ["called_off"]
    assert await sent(database, event("stop", total=3)) == ["called_off"]
    assert await sent(database, event(total=20), event(total=30)) == ["conditions", "delayed"]
    await tick(database, after=60)

    assert [one.trigger_data["total"] for one in await runs(database, made)] == [30]


async def test_an_event_that_only_calls_off_does_not_begin_to_wait_itself(database: Database) -> None:
    made = await trigger(database, "DELAYED", "order.*", delay_seconds=60, cancel_on="order.cancelled")

    assert await sent(database, event("order.paid"), event("order.cancelled")) == ["called_off", "called_off"]
    assert await tick(database, after=60) == 0

    assert await runs(database, made) == []


async def test_a_delay_that_its_own_event_calls_off_begins_anew(database: Database) -> None:
    made = await trigger(database, "DELAYED", delay_seconds=60, cancel_on="order.*")

    await send(database, event(n=1))
    await pass_time(database, 30)
    assert outcomes(await send(database, event(n=2))) == [["called_off", "delayed"]]

    assert [await tick(database, after=30), await tick(database, after=30)] == [0, 1]
    assert [one.trigger_data["n"] for one in await runs(database, made)] == [2]


async def test_what_calls_off_without_the_key_says_so(database: Database) -> None:
    await trigger(database, "DELAYED", delay_seconds=60, cancel_on="stop", key="data.order")

    assert await sent(database, event(order=1), event("stop")) == ["delayed", "no_key"]
    assert await tick(database, after=60) == 1


async def test_an_event_and_its_cancellation_at_the_same_moment_never_fire_twice(database: Database) -> None:
    made = await trigger(database, "DELAYED", delay_seconds=60, cancel_on="stop", key="data.order")
    pairs = [(event(order=n), event("stop", order=n)) for n in range(10)]

    await asyncio.gather(*(send(database, one) for pair in pairs for one in pair))
    await send(database, *(stop | {"id": f"again-{n}"} for n, (_, stop) in enumerate(pairs)))

    assert await tick(database, after=60) == 0
    assert await runs(database, made) == []


# --- silences -----------------------------------------------------------------------------------------------


async def test_a_silence_fires_once_with_the_last_event_before_it(database: Database) -> None:
    made = await trigger(database, "TIMEOUT", "order.*", after_seconds=60)

    assert await sent(database, event(n=1), event(n=2)) == ["silence_begun", "silence_begun"]
    assert await tick(database, after=60) == 1
    assert await tick(database, after=3600) == 0

    [execution] = await runs(database, made)
    assert (execution.trigger_data["n"], execution.event_count, execution.trigger_type) == (2, 2, "TIMEOUT")


async def test_each_event_restarts_the_clock_of_a_silence_and_the_next_one_begins_another(database: Database) -> None:
    made = await trigger(database, "TIMEOUT", "", after_seconds=60)

    for n in range(3):
        await send(database, event("any.thing", n=n))
        assert await tick(database, after=59) == 0
    assert await tick(database, after=1) == 1
    await send(database, event("another", n=3))
    assert await tick(database, after=60) == 1

    assert [one.trigger_data["n"] for one in await runs(database, made)] == [2, 3]


async def test_what_the_conditions_refuse_does_not_restart_the_clock(database: Database) -> None:
    await trigger(database, "TIMEOUT", "", after_seconds=60, conditions={"field": "data.alive", "operator": "exists"})

    await send(database, event(alive=1))
    await pass_time(database, 40)
    assert await sent(database, event()) == ["conditions"]

    assert await tick(database, after=20) == 1


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        ({}, ["p1"]),
        ({"key": "project"}, ["p1"]),
        ({"key": "page"}, ["a", "b"]),
        ({"key": "user"}, ["u1", "u2"]),
        ({"key": "data.device.id"}, ["d1", "d2"]),
    ],
)
async def test_each_key_has_its_own_silence(database: Database, config: dict[str, Any], keys: list[str]) -> None:
    made = await trigger(database, "TIMEOUT", "", after_seconds=60, **config)

    await send(
        database,
        event(page={"id": "a"}, user_id="u1", device={"id": "d1"}),
        event(page={"id": "b"}, user_id="u2", device={"id": "d2"}),
        event(page={"id": "a"}, user_id="u1", device={"id": "d1"}),
    )

    assert sorted(one.key for one in await timers(database)) == keys
    assert await tick(database, after=60) == len(keys)
    assert len(await runs(database, made)) == len(keys)


async def test_the_platforms_silences_are_of_each_project(database: Database) -> None:
    made = await trigger(database, "TIMEOUT", "", project_id=None, after_seconds=60)

    await send(database, event(project_id="p1"), event(project_id="p2"))
    await pass_time(database, 30)
    await send(database, event(project_id="p2"))
    assert await tick(database, after=30) == 1

    assert [one.project_id for one in await runs(database, made)] == ["p1"]


async def test_a_silence_that_ends_is_throttled_like_any_firing(database: Database) -> None:
    limit = {"limit": 1, "per_seconds": 3600}
    made = await trigger(database, "TIMEOUT", "", after_seconds=60, throttle=limit)

    for _ in range(2):
        await send(database, event())
        await tick(database, after=60)

    assert len(await runs(database, made)) == 1
    assert [one.outcome for one in await timers(database)] == ["fired", "throttled"]


# --- one wait behind the other --------------------------------------------------------------------------------


async def test_what_is_debounced_and_then_delayed_waits_for_both(database: Database) -> None:
    made = await trigger(database, "DELAYED", debounce_seconds=5, delay_seconds=60, cancel_on="stop")

    await send(database, event(n=1), event(n=2))
    assert await tick(database, after=5) == 1
    assert await runs(database, made) == []
    first, second = await timers(database)
    assert (first.purpose, first.status, first.outcome, first.next_id) == ("debounce", "FIRED", "delayed", second.id)
    assert (second.purpose, second.event_count, second.status) == ("delay", 2, "WAITING")
    assert second.due_at - utc_now() > timedelta(seconds=50)
    assert await tick(database, after=60) == 1

    [execution] = await runs(database, made)
    assert (execution.trigger_data["n"], execution.event_count) == (2, 2)
    ended = {one.purpose: one.execution_id for one in await timers(database)}
    assert ended == {"debounce": None, "delay": execution.id}


@pytest.mark.parametrize("after", [0, 5])
async def test_cancel_on_ends_either_wait(database: Database, after: float) -> None:
    made = await trigger(database, "DELAYED", debounce_seconds=5, delay_seconds=60, cancel_on="stop")

    await send(database, event())
    await tick(database, after=after)
    await send(database, event("stop"))
    await tick(database, after=5)
    await tick(database, after=60)

    assert await runs(database, made) == []


# --- switched off meanwhile -----------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [Trigger, Workflow])
@pytest.mark.parametrize(
    "config",
    [
        {"trigger_type": "DELAYED", "delay_seconds": 60},
        {"trigger_type": "TIMEOUT", "after_seconds": 60},
        {"debounce_seconds": 60},
    ],
)
async def test_what_waits_does_not_fire_when_it_was_switched_off_meanwhile(
    database: Database, config: dict[str, Any], model: type[Trigger | Workflow]
) -> None:
    made = await trigger(database, **config)
    await send(database, event())
    async with database.transaction() as session:
        await session.execute(update(model).values(is_active=False))

    assert await tick(database, after=60) == 1

    assert await runs(database, made) == []
    [timer] = await timers(database)
    assert (timer.status, timer.outcome) == ("CANCELLED", "inactive")


async def test_what_waits_goes_with_its_trigger(database: Database) -> None:
    made = await trigger(database, "DELAYED", delay_seconds=60)
    await send(database, event())
    async with database.transaction() as session:
        await session.delete(await session.get_one(Trigger, made.id))

    assert await tick(database, after=60) == 0
