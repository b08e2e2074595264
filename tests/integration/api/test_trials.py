"""Trying triggers: rehearsals, which change nothing, and replays of past events."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from automation.intake import PastEvent, accept_for
from automation.models import Execution, Trigger, WorkflowStep, utc_now
from tests.integration.api.serving import Api
from tests.integration.rows import every, workflow
from tests.integration.triggering import (
    SETTINGS,
    counts,
    event,
    page,
    pass_time,
    runs,
    send,
    set_status,
    tick,
    trigger,
)


async def rehearse(api: Api, of: Trigger, *, status: int = 200, **body: Any) -> dict[str, Any]:
    """What `test/` answers; whatever it is, no table has a row more or less."""
    before = await counts(api.database)
    answer = await api.post(f"triggers/{of.id}/test/", body)
    assert await counts(api.database) == before
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def replay(api: Api, of: Trigger, *, status: int = 202, key: str | None = None, **body: Any) -> dict[str, Any]:
    """What `replay/` answers, of the last hour unless `body` says otherwise."""
    body = {"since": (utc_now() - timedelta(hours=1)).isoformat(), **body}
    headers = {"Idempotency-Key": key} if key else {}
    answer = await api.post(f"triggers/{of.id}/replay/", body, **headers)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


# --- rehearsing ---------------------------------------------------------------------------------------------


async def test_a_rehearsal_tells_what_was_found_at_each_leaf_and_what_would_run(api: Api) -> None:
    rule = {
        "any": [
            {"field": "data.page.layout", "operator": "==", "value": "grid"},
            {"not": {"field": "data.draft", "operator": "exists"}},
            {"field": "data.never", "operator": "exists"},
        ]
    }
    made = await trigger(api.database, conditions=rule)

    told = await rehearse(api, made, event={"type": "order.paid", "data": {"page": {"layout": "flex"}}})

    assert (told["would_fire"], told["outcome"], told["conditions_hold"]) == (True, "fired", True)
    assert [(leaf["path"], leaf["found"], leaf["missing"], leaf["holds"]) for leaf in told["leaves"]] == [
        ("any.0", "flex", False, False),
        ("any.1.not", None, True, False),
    ]
    assert told["leaves"][0] | {"path": ""} == {
        "path": "",
        "field": "data.page.layout",
        "operator": "==",
        "expected": "grid",
        "found": "flex",
        "missing": False,
        "holds": False,
    }
    assert told["would_run"] == {
        "workflow_id": str(made.workflow_id),
        "workflow_name": "W custom-workflow",
        "steps": [],
    }


async def test_a_rehearsal_names_the_steps_in_their_order(api: Api) -> None:
    steps = (
        WorkflowStep(identifier=name, step_type="TRANSFORM", order=order, depends_on=["a"] if order > 1 else [])
        for name, order in (("b", 2), ("a", 1))
    )
    made = await trigger(api.database, of=await workflow(api.database, *steps, kind="custom-workflow"))

    told = await rehearse(api, made, event={"type": "order.paid", "data": {}})

    assert told["would_run"]["steps"] == [
        {"identifier": "a", "step_type": "TRANSFORM", "order": 1, "depends_on": []},
        {"identifier": "b", "step_type": "TRANSFORM", "order": 2, "depends_on": ["a"]},
    ]


async def test_a_rehearsal_of_a_past_event_gives_its_reason(api: Api) -> None:
    made = await trigger(api.database, conditions={"field": "data.n", "operator": ">", "value": 3})
    await send(api.database, event(id="low/1", n=2))

    told = await rehearse(api, made, event_id="low/1")

    assert (told["would_fire"], told["outcome"], told["conditions_hold"]) == (False, "conditions", False)
    assert told["reason"] == "data.n > 3 does not hold: it is 2"
    assert [leaf["found"] for leaf in told["leaves"]] == [2]


@pytest.mark.parametrize(
    ("type", "data", "reason"),
    [
        ("order.sent", {}, "EVENT hears order.paid, not order.sent"),
        ("order.paid", {"project_id": "p2"}, "the trigger is of project 'p1', the event of 'p2'"),
    ],
)
async def test_an_event_that_the_trigger_does_not_hear_would_not_fire(
    api: Api, type: str, data: dict[str, Any], reason: str
) -> None:
    made = await trigger(api.database)

    told = await rehearse(api, made, event={"type": type, "data": data})

    assert (told["would_fire"], told["outcome"], told["reason"]) == (False, "not_heard", reason)


async def test_a_rehearsal_of_a_trigger_that_is_switched_off_says_so_and_shows_its_leaves(api: Api) -> None:
    rule = {"field": "data.n", "operator": "==", "value": 1}
    made = await trigger(api.database, conditions=rule, is_active=False)

    told = await rehearse(api, made, event={"type": "order.paid", "data": {"n": 1}})

    assert (told["would_fire"], told["outcome"], told["conditions_hold"]) == (False, "inactive", True)
    assert [leaf["holds"] for leaf in told["leaves"]] == [True]


async def test_a_rehearsal_tells_of_debounce_delay_and_silence_when_it_would_fire(api: Api) -> None:
    given = {"type": "order.paid", "data": {}}
    bounced = await rehearse(api, await trigger(api.database, debounce_seconds=60), event=given)
    delayed = await rehearse(api, await trigger(api.database, "DELAYED", delay_seconds=60), event=given)
    silent = await rehearse(api, await trigger(api.database, "TIMEOUT", after_seconds=60), event=given)

    assert [one["outcome"] for one in (bounced, delayed, silent)] == ["debounced", "delayed", "silence_begun"]
    assert all(one["would_fire"] and one["due_at"] for one in (bounced, delayed, silent))


async def test_a_rehearsal_leaves_what_waits_as_it_is(api: Api) -> None:
    made = await trigger(
        api.database, "DELAYED", "order.*", debounce_seconds=60, delay_seconds=5, cancel_on="order.stop"
    )
    await send(api.database, event(n=1))
    await pass_time(api.database, 30)

    assert (await rehearse(api, made, event=event(n=2)))["outcome"] == "debounced"
    told = await rehearse(api, made, event=event("order.stop"))
    assert (told["would_fire"], told["outcome"], told["reason"]) == (
        False,
        "called_off",
        "1 waiting under the key 'p1'",
    )

    await tick(api.database, after=30)
    await tick(api.database, after=5)
    assert [one.trigger_data["n"] for one in await runs(api.database, made)] == [1]


async def test_a_rehearsal_tells_of_throttle_dedupe_and_concurrency(api: Api) -> None:
    limited = await trigger(api.database, throttle={"limit": 1, "per_seconds": 60})
    once = await trigger(api.database, dedupe_key="data.order")
    alone = await trigger(api.database, concurrency="drop")
    replacing = await trigger(api.database, concurrency="replace")
    await send(api.database, event(id="x", order=1))
    given = {"type": "order.paid", "data": {"order": 1}}

    throttled, duplicate, dropped = [await rehearse(api, one, event=given) for one in (limited, once, alone)]

    assert (throttled["outcome"], throttled["would_fire"]) == ("throttled", False)
    assert throttled["reason"].startswith("fired 1 times in 60 s already")
    assert (duplicate["outcome"], duplicate["reason"]) == ("duplicate", "event x had the same dedupe_key '1'")
    assert dropped["outcome"] == "dropped"
    assert (await rehearse(api, replacing, event=given))["outcome"] == "fired"
    assert {one.status for one in await every(api.database, Execution)} == {"PENDING"}


async def test_a_rehearsal_compares_changed_with_what_was_seen_last(api: Api) -> None:
    made = await trigger(api.database, conditions={"not": {"field": "data.title", "operator": "changed"}})
    await send(api.database, event(title="a"))

    same = await rehearse(api, made, event={"type": "order.paid", "data": {"title": "a"}})
    other = await rehearse(api, made, event={"type": "order.paid", "data": {"title": "b"}})
    again = await rehearse(api, made, event={"type": "order.paid", "data": {"title": "a"}})

    assert [(one["would_fire"], one["conditions_hold"]) for one in (same, other, again)] == [
        (True, True),
        (False, False),
        (True, True),
    ]


@pytest.mark.parametrize("trigger_type", ["WEBHOOK", "API_CALL"])
async def test_a_trigger_with_a_door_of_its_own_is_rehearsed_with_any_event(api: Api, trigger_type: str) -> None:
    made = await trigger(api.database, trigger_type, "", conditions={"field": "data.n", "operator": "==", "value": 1})

    plain = await rehearse(api, made, event={"type": "some.thing", "data": {"n": 1}})
    call = await rehearse(api, made, event={"type": "api.call", "data": {"input": {"n": 1}}})

    assert (plain["would_fire"], call["would_fire"]) == (True, True)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ""),
        ({"event": {"type": "a", "data": {}}, "event_id": "x"}, ""),
        ({"event_id": 7}, "event_id"),
        ({"event": []}, "event"),
        ({"event": {"type": "a b", "data": {}}}, "event.type"),
        ({"event": {"type": "a"}}, "event.data"),
        ({"event": {"type": "page.updated", "data": {"page": {"id": "../x"}}}}, "event.data.page.id"),
        ({"other": 1}, "other"),
    ],
)
async def test_a_wrong_rehearsal_is_refused_with_its_field(api: Api, body: dict[str, Any], field: str) -> None:
    made = await trigger(api.database)

    problem = await rehearse(api, made, status=422, **body)

    assert problem.get("field", "") == field


async def test_what_is_not_there_cannot_be_rehearsed(api: Api) -> None:
    made = await trigger(api.database)
    absent = Trigger(id=uuid4())

    assert "Event 'gone' does not exist" in (await rehearse(api, made, status=404, event_id="gone"))["detail"]
    assert "does not exist" in (await rehearse(api, made, status=404, event_id="\0"))["detail"]
    given = {"type": "order.paid", "data": {"project_id": "p1"}}
    assert f"Trigger {absent.id} does not exist." in (await rehearse(api, absent, status=404, event=given))["detail"]


# --- replaying ----------------------------------------------------------------------------------------------


async def past_events(api: Api) -> Trigger:
    """A trigger that was made after the events that it would have heard."""
    await workflow(api.database)
    await send(api.database, event(id="a", n=1), event("order.sent", id="b", n=2), event(id="c", n=3))
    await send(api.database, event(id="d", n=4, project_id="p2"))
    return await trigger(api.database, conditions={"field": "data.n", "operator": "<", "value": 3})


async def test_a_dry_replay_tells_what_would_fire_and_writes_nothing(api: Api) -> None:
    made = await past_events(api)
    before = await counts(api.database)

    told = await replay(api, made, dry_run=True)

    assert told == {
        "dry_run": True,
        "events": [
            {"event_id": "a", "fires": True, "reason": "", "execution_id": None},
            {"event_id": "c", "fires": False, "reason": "data.n < 3 does not hold: it is 3", "execution_id": None},
        ],
    }
    assert await counts(api.database) == before


async def test_a_replay_fires_on_past_events_as_if_they_came_now(api: Api) -> None:
    made = await past_events(api)

    told = await replay(api, made)

    [execution] = await runs(api.database, made)
    assert [one["execution_id"] for one in told["events"]] == [str(execution.id), None]
    assert (execution.event_id, execution.trigger_data["n"], execution.status) == ("a", 1, "PENDING")
    assert execution.due_at <= utc_now()


async def test_a_replay_under_a_key_fires_once_however_often_it_is_sent(api: Api) -> None:
    made = await past_events(api)

    since = (utc_now() - timedelta(hours=1)).isoformat()
    answers = await asyncio.gather(*(replay(api, made, key="monday", since=since) for _ in range(5)))
    assert all(one == answers[0] for one in answers)
    assert len(await runs(api.database, made)) == 1
    await replay(api, made, key="tuesday")
    await replay(api, made)

    assert len(await runs(api.database, made)) == 3


async def test_a_replay_looks_at_its_window_only(api: Api) -> None:
    made = await trigger(api.database)
    before = utc_now()
    await send(api.database, event(id="a"))
    between = utc_now()
    await send(api.database, event(id="b"))

    def ids(told: dict[str, Any]) -> list[str]:
        return [one["event_id"] for one in told["events"]]

    window = {"since": before.isoformat(), "until": between.isoformat()}
    assert ids(await replay(api, made, dry_run=True, **window)) == ["a"]
    assert ids(await replay(api, made, dry_run=True, since=between.isoformat())) == ["b"]
    assert ids(await replay(api, made, dry_run=True, since=utc_now().isoformat())) == []


@pytest.mark.parametrize(
    ("trigger_type", "event_type", "heard"),
    [
        ("ON_PAGE_CHANGE", "", ["created", "updated"]),
        ("ON_PAGE_CHANGE", "page.created", ["created"]),
        ("EVENT", "*", ["created", "updated", "deleted", "paid", "paidlate", "odd"]),
        ("EVENT", "order.*", ["paid", "paidlate"]),
        ("EVENT", "o_d.*", []),
        ("TIMEOUT", "", ["created", "updated", "deleted", "paid", "paidlate", "odd"]),
    ],
)
async def test_a_replay_takes_what_the_trigger_hears(
    api: Api, trigger_type: str, event_type: str, heard: list[str]
) -> None:
    config = {"after_seconds": 60} if trigger_type == "TIMEOUT" else {}
    made = await trigger(api.database, trigger_type, event_type, **config)
    door = await trigger(api.database, "WEBHOOK", "")
    for id, type in (("created", "page.created"), ("updated", "page.updated"), ("deleted", "page.deleted")):
        await send(api.database, page(1, type=type) | {"id": id})
    for id, type in (("paid", "order.paid"), ("paidlate", "order.paid.late"), ("odd", "odd.thing")):
        await send(api.database, event(type, id=id))
    delivery = PastEvent("delivery", "webhook.received", "p1", {"project_id": "p1"}, utc_now())
    await accept_for(api.database, door.id, delivery, source="webhook", settings=SETTINGS)

    assert [one["event_id"] for one in (await replay(api, made, dry_run=True))["events"]] == heard
    assert [one["event_id"] for one in (await replay(api, door, dry_run=True))["events"]] == ["delivery"]


async def test_what_limits_the_flow_of_events_does_not_limit_a_replay(api: Api) -> None:
    made = await trigger(
        api.database,
        debounce_seconds=60,
        throttle={"limit": 1, "per_seconds": 60},
        dedupe_key="data.order",
        concurrency="drop",
    )
    await send(api.database, event(order=1), event(order=1), event(order=1))

    told = await replay(api, made)

    assert [one["fires"] for one in told["events"]] == [True] * 3
    assert len(await runs(api.database, made)) == 3


async def test_executions_of_a_replay_keep_their_order_under_the_triggers_key(api: Api) -> None:
    made = await trigger(api.database, key="data.order")
    await send(api.database, *(event(order="a", n=n) for n in range(3)), event(n=9, id="keyless"))
    await set_status(api.database, made, "COMPLETED")

    told = await replay(api, made)

    assert told["events"][-1] == {
        "event_id": "keyless",
        "fires": False,
        "reason": "the event has no data.order, which is the trigger's key",
        "execution_id": None,
    }
    replayed = [one for one in await runs(api.database, made) if one.status == "PENDING"]
    assert [(one.key, one.coalesces, one.trigger_data["n"]) for one in replayed] == [("a", False, n) for n in range(3)]


async def test_a_trigger_that_is_switched_off_is_not_replayed(api: Api) -> None:
    made = await trigger(api.database, is_active=False)

    assert "switched off" in (await replay(api, made, status=409))["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-01-01T00:00:00"}, "since"),
        ({"until": "2026-01-01"}, "until"),
        ({"dry": True}, "dry"),
        ({"dry_run": "perhaps"}, "dry_run"),
    ],
)
async def test_a_wrong_replay_is_refused_with_its_field(api: Api, body: dict[str, Any], field: str) -> None:
    made = await trigger(api.database)

    assert (await replay(api, made, status=422, **body))["field"] == field
