"""Triggers on a real database: which events each hears, its conditions, and what it remembers of its decisions."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from automation.database import Database
from automation.intake import PastEvent, accept_for
from automation.models import Event, Execution, Trigger, Workflow, utc_now
from automation.triggers.types import STUDIO
from tests.integration.rows import every, workflow
from tests.integration.triggering import (
    SETTINGS,
    event,
    outcomes,
    page,
    runs,
    send,
    sent,
    tick,
    timers,
    told,
    trigger,
)

STUDIO_EVENTS = sorted({one for types in STUDIO.values() for one in types} | {"page.deleted", "order.paid"})


def studio_event(type: str) -> dict[str, Any]:
    return event(type, page={"id": "home"})


# --- what is heard ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trigger_type", STUDIO)
async def test_studios_triggers_fire_on_their_events_and_on_no_others(database: Database, trigger_type: str) -> None:
    made = await trigger(database, trigger_type, "")

    await send(database, *map(studio_event, STUDIO_EVENTS))

    assert sorted(one.event_type for one in await runs(database, made)) == sorted(STUDIO[trigger_type])


async def test_an_event_type_narrows_what_a_studio_trigger_hears(database: Database) -> None:
    made = await trigger(database, "ON_PAGE_CHANGE", "page.created")

    await send(database, page(1, type="page.created"), page(2))

    assert [one.event_type for one in await runs(database, made)] == ["page.created"]


@pytest.mark.parametrize(
    ("pattern", "heard"),
    [
        ("order.paid", ["order.paid"]),
        ("order.*", ["order.paid", "order.paid.late", "order.sent"]),
        ("order.paid.*", ["order.paid.late"]),
        ("*", ["order", "order.paid", "order.paid.late", "order.sent", "orders.paid"]),
    ],
)
async def test_an_event_trigger_hears_a_name_a_prefix_or_everything(
    database: Database, pattern: str, heard: list[str]
) -> None:
    made = await trigger(database, "EVENT", pattern)

    await send(database, *map(event, ["order", "order.paid", "order.paid.late", "order.sent", "orders.paid"]))

    assert sorted(one.event_type for one in await runs(database, made)) == heard


@pytest.mark.parametrize("project_id", ["p1", None])
async def test_events_of_several_types_in_one_request_are_each_heard_once(
    database: Database, project_id: str | None
) -> None:
    await trigger(database, "DELAYED", "*", project_id=project_id, delay_seconds=60, cancel_on="b.*")

    answers = await send(database, event("a.b"), event("a.c"), event("b.d"), event("a.b.c"))

    assert outcomes(answers) == [["called_off"], ["called_off"], ["called_off"], ["delayed"]]
    assert len(await timers(database)) == 1


async def test_a_trigger_of_a_project_hears_no_other_project(database: Database) -> None:
    made = await trigger(database, event_type="*")

    await send(database, event(project_id="p2"))

    assert await runs(database, made) == []


async def test_the_platforms_workflow_hears_every_project_and_runs_for_the_events_own(database: Database) -> None:
    made = await trigger(database, project_id=None)

    await send(database, event(project_id="p1"), event(project_id="p2"))

    assert sorted(one.project_id or "" for one in await runs(database, made)) == ["p1", "p2"]


async def test_a_trigger_and_a_workflow_that_are_switched_off_do_not_fire_and_say_so(database: Database) -> None:
    off = await trigger(database, is_active=False)
    of_off = await trigger(database)
    async with database.transaction() as session:
        await session.execute(update(Workflow).where(Workflow.id == of_off.workflow_id).values(is_active=False))

    [answer] = await send(database, event(id="x"))

    assert answer.executions == []
    assert outcomes([answer]) == [["inactive", "inactive"]]
    assert {one["trigger_id"] for one in await told(database, "x")} == {str(off.id), str(of_off.id)}


async def test_an_archived_workflow_concerns_no_event_any_more(database: Database) -> None:
    made = await trigger(database)
    async with database.transaction() as session:
        await session.execute(update(Workflow).where(Workflow.id == made.workflow_id).values(archived_at=utc_now()))

    assert outcomes(await send(database, event())) == [[]]


async def test_two_triggers_of_one_workflow_run_it_once_for_an_event(database: Database) -> None:
    one = await trigger(database)
    two = await trigger(database, event_type="order.*", of=one.workflow_id)

    [answer] = await send(database, event())

    assert len(answer.executions) == 1
    assert sorted(outcomes([answer])[0]) == ["fired", "same_workflow"]
    assert len(await runs(database, one)) + len(await runs(database, two)) == 1


async def test_a_second_trigger_fires_when_the_firsts_conditions_do_not_hold(database: Database) -> None:
    no = {"field": "data.n", "operator": "==", "value": 2}
    first = await trigger(database, conditions=no)
    second = await trigger(database, event_type="*", of=first.workflow_id)

    [answer] = await send(database, event(n=1))

    assert sorted(outcomes([answer])[0]) == ["conditions", "fired"]
    assert len(await runs(database, second)) == 1


async def test_an_event_of_the_type_that_calls_have_is_heard_like_any_other(database: Database) -> None:
    made = await trigger(database, event_type="*", conditions={"field": "data.n", "operator": "==", "value": 1})

    await send(database, event("api.call", n=1), event("api.call", n=1, input=3), event("api.call", input={"n": 1}))

    assert len(await runs(database, made)) == 3


# --- conditions ---------------------------------------------------------------------------------------------


async def test_conditions_filter_and_their_first_reason_is_kept(database: Database) -> None:
    rule = {
        "all": [
            {"field": "data.page.config.layout", "operator": "==", "value": "grid"},
            {"field": "data.n", "operator": ">", "value": 3},
        ]
    }
    made = await trigger(database, conditions=rule)
    grid = {"config": {"layout": "grid"}}

    assert await sent(database, event(page=grid, n=4), event(page=grid, n=3, id="low")) == ["fired", "conditions"]
    assert await sent(database, event(n=9, id="none")) == ["conditions"]

    assert [one.trigger_data["n"] for one in await runs(database, made)] == [4]
    assert (await told(database, "low"))[0]["reason"] == "all.1: data.n > 3 does not hold: it is 3"
    assert "data.page.config.layout" in (await told(database, "none"))[0]["reason"]


CHANGED = {"field": "data.title", "operator": "changed"}


async def test_changed_compares_with_the_event_before_in_the_same_request_and_in_earlier_ones(
    database: Database,
) -> None:
    await trigger(database, conditions=CHANGED)

    assert await sent(database, *(event(title=title) for title in "aab")) == ["fired", "conditions", "fired"]
    assert await sent(database, event(title="b")) == ["conditions"]
    assert await sent(database, event(title="c"), event(title="c")) == ["fired", "conditions"]
    assert await sent(database, event()) == ["fired"]  # it was there, and is no more
    assert await sent(database, event()) == ["conditions"]


async def test_changed_is_remembered_of_events_that_other_conditions_refuse(database: Database) -> None:
    await trigger(database, conditions={"all": [{"field": "data.ok", "operator": "exists"}, CHANGED]})

    assert await sent(database, event(title="a", ok=1), event(title="b"), event(title="b", ok=1)) == [
        "fired",
        "conditions",
        "conditions",
    ]


async def test_changed_looks_at_each_page_and_each_project_alone(database: Database) -> None:
    await trigger(database, project_id=None, conditions=CHANGED)

    def titled(page_id: str, project_id: str = "p1") -> dict[str, Any]:
        return event(project_id=project_id, page={"id": page_id}, title="the same")

    assert await sent(database, titled("a"), titled("b"), titled("a", "p2"), titled("a")) == [
        "fired",
        "fired",
        "fired",
        "conditions",
    ]


async def test_of_many_requests_at_once_one_sees_the_change(database: Database) -> None:
    await trigger(database, conditions=CHANGED)

    answers = await asyncio.gather(*(sent(database, event(title="a")) for _ in range(10)))

    assert sorted(one for [one] in answers) == ["conditions"] * 9 + ["fired"]


# --- dedupe -------------------------------------------------------------------------------------------------


async def test_a_dedupe_key_fires_once_within_a_request_and_in_later_ones(database: Database) -> None:
    made = await trigger(database, dedupe_key="data.order")

    assert await sent(database, event(order=1, id="first"), event(order=1), event(order=2)) == [
        "fired",
        "duplicate",
        "fired",
    ]
    assert await sent(database, event(order=2), event(order=3), event(order=1, id="again")) == [
        "duplicate",
        "fired",
        "duplicate",
    ]

    assert [one.trigger_data["order"] for one in await runs(database, made)] == [1, 2, 3]
    assert "event first had the same dedupe_key '1'" in (await told(database, "again"))[0]["reason"]


async def test_a_dedupe_key_fires_once_for_requests_at_the_same_moment(database: Database) -> None:
    made = await trigger(database, dedupe_key="{{ data.order }}-{{ type }}")

    answers = await asyncio.gather(*(sent(database, event(order=1)) for _ in range(20)))

    assert sorted(one for [one] in answers) == ["duplicate"] * 19 + ["fired"]
    assert len(await runs(database, made)) == 1


async def test_an_event_without_its_dedupe_key_does_not_fire(database: Database) -> None:
    await trigger(database, dedupe_key="data.order")

    [answer] = await send(database, event())

    assert (outcomes([answer]), answer.decisions[0]["reason"]) == (
        [["no_key"]],
        "the event has no data.order, which is the trigger's dedupe_key",
    )


async def test_projects_do_not_share_the_platforms_dedupe_keys(database: Database) -> None:
    made = await trigger(database, project_id=None, dedupe_key="data.order")

    await send(database, event(project_id="p1", order=1), event(project_id="p2", order=1))

    assert len(await runs(database, made)) == 2


async def test_an_event_that_its_conditions_refuse_does_not_use_up_its_dedupe_key(database: Database) -> None:
    await trigger(database, dedupe_key="data.order", conditions={"field": "data.ok", "operator": "exists"})

    assert await sent(database, event(order=1), event(order=1, ok=1)) == ["conditions", "fired"]


# --- keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {"debounce_seconds": 1},
        {"throttle": {"limit": 1, "per_seconds": 60}},
        {"concurrency": "drop"},
        {"concurrency": "replace"},
        {},
    ],
)
async def test_an_event_without_the_triggers_key_does_not_fire(database: Database, config: dict[str, Any]) -> None:
    await trigger(database, key="data.order.id", **config)

    [answer] = await send(database, event(order=None))

    assert answer.decisions[0]["outcome"] == "no_key"
    assert answer.decisions[0]["reason"] == "the event has no data.order.id, which is the trigger's key"


@pytest.mark.parametrize(
    "config",
    [
        {"debounce_seconds": 1},
        {"throttle": {"limit": 1, "per_seconds": 60}},
        {"concurrency": "drop"},
        {"conditions": CHANGED},
        {"dedupe_key": "data.title"},
    ],
)
@pytest.mark.parametrize("project_id", ["p1", None])
async def test_a_key_of_any_length_fits(database: Database, config: dict[str, Any], project_id: str | None) -> None:
    made = await trigger(database, key="data.title", project_id=project_id, **config)
    project = "p" * 120 if project_id is None else project_id
    long = "é" * 5000

    await send(database, event(project_id=project, title=long + "1"), event(project_id=project, title=long + "2"))
    await tick(database, after=2)

    assert len(await runs(database, made)) == 2


# --- decisions ----------------------------------------------------------------------------------------------


async def test_what_became_of_an_event_stands_at_it(database: Database) -> None:
    fired = await trigger(database)
    refused = await trigger(database, conditions={"field": "data.n", "operator": "exists"})
    await trigger(database, event_type="order.sent")

    [answer] = await send(database, event(id="x"))

    decisions = {one["trigger_id"]: one for one in await told(database, "x")}
    assert decisions == {one["trigger_id"]: one for one in answer.decisions}
    assert decisions.keys() == {str(fired.id), str(refused.id)}
    assert decisions[str(fired.id)] == {
        "trigger_id": str(fired.id),
        "workflow_id": str(fired.workflow_id),
        "outcome": "fired",
        "execution_id": str(answer.executions[0].id),
    }


async def test_an_execution_knows_its_trigger_and_its_event_and_the_trigger_when_it_fired(database: Database) -> None:
    made = await trigger(database)

    await send(database, event(id="x"))

    [execution] = await runs(database, made)
    assert (execution.event_id, execution.trigger_type, execution.kind) == ("x", "EVENT", "custom-workflow")
    [row] = await every(database, Trigger)
    assert row.last_triggered is not None


async def test_a_repeated_event_adds_no_decision(database: Database) -> None:
    await trigger(database)
    await send(database, event(id="x"))
    before = await told(database, "x")

    [again] = await send(database, event(id="x"))

    assert (again.duplicate, again.decisions) == (True, [])
    assert await told(database, "x") == before


# --- events for one trigger -----------------------------------------------------------------------------------


async def test_an_event_that_is_meant_for_one_trigger_fires_no_other(database: Database) -> None:
    made = await trigger(database, "WEBHOOK", "", conditions={"field": "data.n", "operator": ">", "value": 1})
    await trigger(database, event_type="*")

    def delivery(id: str, n: int) -> PastEvent:
        return PastEvent(id, "webhook.received", "p1", {"project_id": "p1", "n": n}, utc_now())

    async def deliver(one: PastEvent) -> Any:
        return await accept_for(database, made.id, one, source="webhook", settings=SETTINGS)

    assert outcomes([await deliver(delivery("a", 2)), await deliver(delivery("b", 1))]) == [["fired"], ["conditions"]]
    again = await deliver(delivery("a", 2))
    assert (again.duplicate, len(again.executions)) == (True, 1)
    assert len(await every(database, Execution)) == 1
    assert len(await every(database, Event)) == 2


async def test_copies_of_a_delivery_at_once_run_once(database: Database) -> None:
    made = await trigger(database, "WEBHOOK", "", of=await workflow(database, kind="custom-workflow"))
    delivery = PastEvent("a", "webhook.received", "p1", {"project_id": "p1"}, utc_now())

    answers = await asyncio.gather(
        *(accept_for(database, made.id, delivery, source="webhook", settings=SETTINGS) for _ in range(10))
    )

    assert sorted(one.duplicate for one in answers) == [False] + [True] * 9
    assert len(await runs(database, made)) == 1
