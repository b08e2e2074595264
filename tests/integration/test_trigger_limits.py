"""What limits a flow of events: debounce, throttle and concurrency, in one request, in many, and at once."""

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import uuid4

import pytest

from automation.clock import Clock
from automation.database import Database
from automation.engine.claim import RunIdentity, claim
from automation.models import OPEN, Status, utc_now
from tests.integration.rows import execution, flow_run, stored, workflow
from tests.integration.triggering import (
    KIND,
    SETTINGS,
    event,
    page,
    pass_time,
    runs,
    send,
    sent,
    set_status,
    tick,
    timers,
    told,
    trigger,
)

# --- debounce -----------------------------------------------------------------------------------------------


async def test_debounced_events_fire_once_with_the_last_of_them(database: Database) -> None:
    made = await trigger(database, debounce_seconds=5)

    assert await sent(database, event(n=1), event(n=2)) == ["debounced", "debounced"]
    assert await sent(database, event(n=3)) == ["debounced"]
    assert await runs(database, made) == []
    assert await tick(database, after=5) == 1

    [execution] = await runs(database, made)
    assert (execution.trigger_data["n"], execution.event_count) == (3, 3)
    assert await tick(database, after=60) == 0


async def test_each_event_puts_a_debounce_off(database: Database) -> None:
    made = await trigger(database, debounce_seconds=5)

    for _ in range(4):
        await send(database, event())
        assert await tick(database, after=4) == 0
    assert await tick(database, after=2) == 1

    assert len(await runs(database, made)) == 1


async def test_a_debounce_never_waits_longer_than_its_longest_wait(database: Database) -> None:
    made = await trigger(database, debounce_seconds=5, max_wait_seconds=7)

    await send(database, event(n=1))
    assert await tick(database, after=4) == 0
    await send(database, event(n=2))
    assert await tick(database, after=2.9) == 0
    assert await tick(database, after=0.2) == 1
    await send(database, event(n=3))  # a wait of its own
    assert await tick(database, after=4.9) == 0
    assert await tick(database, after=0.2) == 1

    assert [one.trigger_data["n"] for one in await runs(database, made)] == [2, 3]


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))), ids=str)
@pytest.mark.parametrize("cut", [0, 1, 2])
async def test_the_newest_version_wins_in_whatever_order_and_requests_it_comes(
    database: Database, order: tuple[int, ...], cut: int
) -> None:
    made = await trigger(database, "ON_PAGE_UPDATE", "", debounce_seconds=5, key="page")
    events = [page(version) for version in order]

    await send(database, *events[:cut])
    await send(database, *events[cut:])
    await tick(database, after=5)

    [execution] = await runs(database, made)
    assert (execution.version, execution.trigger_data["page"]["version"], execution.event_count) == (3, 3, 3)


async def test_without_versions_the_senders_time_decides_which_event_is_the_last(database: Database) -> None:
    made = await trigger(database, debounce_seconds=5)
    late = (utc_now() - timedelta(hours=1)).isoformat()

    await send(database, event(n="now"), event(n="late") | {"timestamp": late})
    await send(database, event(n="later still") | {"timestamp": late})
    await tick(database, after=5)

    [execution] = await runs(database, made)
    assert (execution.trigger_data["n"], execution.event_count) == ("now", 3)


async def test_each_key_is_debounced_alone(database: Database) -> None:
    made = await trigger(database, debounce_seconds=5, key="data.order")

    await send(database, event(order="a", n=1), event(order="b", n=2), event(order="a", n=3))
    await tick(database, after=5)

    found = {one.key: (one.trigger_data["n"], one.event_count) for one in await runs(database, made)}
    assert found == {"a": (3, 2), "b": (2, 1)}


@pytest.mark.parametrize("key", [None, "data.order"])
async def test_the_platforms_debounce_does_not_mix_projects(database: Database, key: str | None) -> None:
    made = await trigger(database, project_id=None, debounce_seconds=5, **({"key": key} if key else {}))

    await send(database, *(event(project_id=one, order=7, n=one) for one in ("p1", "p2", "p1")))
    await tick(database, after=5)

    assert sorted((one.project_id, one.trigger_data["n"], one.event_count) for one in await runs(database, made)) == [
        ("p1", "p1", 2),
        ("p2", "p2", 1),
    ]


async def test_events_at_the_same_moment_are_one_debounce_that_counts_them_all(database: Database) -> None:
    made = await trigger(database, "ON_PAGE_UPDATE", "", debounce_seconds=5, key="page")

    await asyncio.gather(*(send(database, page(version), page(version, "other")) for version in range(20)))
    await tick(database, after=5)

    assert {one.key: (one.version, one.event_count) for one in await runs(database, made)} == {
        "home": (19, 20),
        "other": (19, 20),
    }


async def test_an_event_that_was_debounced_names_its_timer(database: Database) -> None:
    await trigger(database, debounce_seconds=5)

    await send(database, event(id="a"))
    await send(database, event(id="b"))

    [timer] = await timers(database)
    [a], [b] = await told(database, "a"), await told(database, "b")
    assert a["timer_id"] == b["timer_id"] == str(timer.id)
    assert b["due_at"] == timer.due_at.isoformat()


# --- throttle -----------------------------------------------------------------------------------------------


def throttle(limit: int, per_seconds: float, excess: str = "drop") -> dict[str, Any]:
    return {"throttle": {"limit": limit, "per_seconds": per_seconds, "excess": excess}}


async def test_a_throttle_drops_what_is_too_much_in_a_window_that_slides(database: Database) -> None:
    made = await trigger(database, **throttle(2, 10))

    assert await sent(database, event()) == ["fired"]
    await pass_time(database, 6)
    assert await sent(database, event(), event()) == ["fired", "throttled"]
    await pass_time(database, 3.5)  # 9.5 s after the first
    assert await sent(database, event()) == ["throttled"]
    await pass_time(database, 1)  # the first one's place is free again, the second's is not
    assert await sent(database, event(), event(id="x")) == ["fired", "throttled"]

    assert len(await runs(database, made)) == 3
    [decision] = await told(database, "x")
    assert decision["reason"].startswith("fired 2 times in 10 s already; it may fire again at ")


async def test_a_throttle_that_queues_gives_each_its_turn(database: Database) -> None:
    made = await trigger(database, **throttle(2, 10, "queue"))

    assert await sent(database, *(event(n=n) for n in range(5))) == ["fired"] * 5
    assert await sent(database, event(n=5)) == ["fired"]

    executions = sorted(await runs(database, made), key=lambda one: one.due_at)
    assert [one.trigger_data["n"] for one in executions] == [0, 1, 2, 3, 4, 5]
    began = executions[0].due_at
    waits = [round((one.due_at - began).total_seconds()) for one in executions]
    assert waits == [0, 0, 10, 10, 20, 20]
    for first, third in zip(executions, executions[2:], strict=False):
        assert third.due_at - first.due_at >= timedelta(seconds=9.9)


async def test_a_queue_that_would_last_longer_than_a_year_takes_no_more(database: Database) -> None:
    await trigger(database, **throttle(1, 30 * 86_400, "queue"))

    became = await sent(database, *(event() for _ in range(15)))

    assert became == ["fired"] * 13 + ["throttled"] * 2


async def test_what_has_to_wait_for_its_turn_does_not_put_off_what_it_is_merged_into(database: Database) -> None:
    of = await workflow(database, kind="auto-save")
    made = await trigger(database, "ON_PAGE_UPDATE", "", of=of, **throttle(1, 600, "queue"))

    await send(database, page(1), page(2))

    [execution] = await runs(database, made)
    assert (execution.version, execution.due_at <= utc_now()) == (2, True)


async def test_each_key_is_throttled_alone(database: Database) -> None:
    await trigger(database, project_id=None, key="data.user", **throttle(1, 60))

    a, b, other = (event(user="a"), event(user="b"), event(project_id="p2", user="a"))
    assert await sent(database, a, b, other, event(user="a")) == ["fired", "fired", "fired", "throttled"]


@pytest.mark.parametrize("excess", ["drop", "queue"])
async def test_requests_at_the_same_moment_share_a_throttle(database: Database, excess: str) -> None:
    made = await trigger(database, **throttle(3, 60, excess))

    answers = await asyncio.gather(*(sent(database, event(), event()) for _ in range(10)))

    became = Counter(one for answer in answers for one in answer)
    assert became == ({"fired": 3, "throttled": 17} if excess == "drop" else {"fired": 20})
    now = utc_now() + timedelta(seconds=30)
    assert sum(one.due_at <= now for one in await runs(database, made)) == 3


# --- concurrency --------------------------------------------------------------------------------------------


async def test_drop_makes_no_execution_beside_an_open_one_of_its_key(database: Database) -> None:
    made = await trigger(database, concurrency="drop", key="data.order")

    assert await sent(database, event(order="a"), event(order="b"), event(order="a")) == ["fired", "fired", "dropped"]
    for status in (Status.PENDING, Status.RUNNING, Status.RETRYING, Status.WAITING):
        await set_status(database, made, status)
        assert await sent(database, event(order="a", id=status)) == ["dropped"]
    first = (await runs(database, made))[0]
    assert (await told(database, "RUNNING"))[0]["reason"] == f"execution {first.id} of the same key is open"
    for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
        await set_status(database, made, status)
        assert await sent(database, event(order="a")) == ["fired"]


async def test_drop_without_a_key_is_one_at_a_time_for_the_workflow_and_in_each_project(database: Database) -> None:
    await trigger(database, project_id=None, concurrency="drop")

    became = await sent(database, *(event(project_id=one, n=n) for n, one in enumerate(("p1", "p2", "p1"))))

    assert became == ["fired", "fired", "dropped"]


@pytest.mark.parametrize("status", [Status.PENDING, Status.RETRYING, Status.WAITING])
async def test_replace_ends_what_waits_and_takes_its_place(database: Database, status: Status) -> None:
    made = await trigger(database, concurrency="replace")
    await send(database, event(n=1))
    await set_status(database, made, status)

    assert await sent(database, event(n=2)) == ["fired"]

    old, new = await runs(database, made)
    assert (old.status, old.error_message) == ("CANCELLED", f"replaced by {new.id}, a newer execution")
    assert (new.status, new.trigger_data["n"], old.completed_at is not None) == ("PENDING", 2, True)


async def test_replace_ends_what_a_flow_run_holds_that_has_not_begun(database: Database) -> None:
    made = await trigger(database, concurrency="replace")
    held = await execution(
        database, made.workflow_id, key="", coalesces=False, flow_run_id=await flow_run(database, claimed_at=None)
    )

    await send(database, event())

    assert (await stored(database, held)).status == "CANCELLED"


async def test_replace_asks_what_runs_to_stop(database: Database) -> None:
    made = await trigger(database, concurrency="replace")
    await send(database, event(n=1))
    await set_status(database, made, Status.RUNNING)

    assert await sent(database, event(n=2)) == ["fired"]

    old, new = await runs(database, made)
    assert (old.status, old.cancel_requested_at is not None, new.status) == ("RUNNING", True, "PENDING")


async def test_of_one_request_the_last_event_replaces_the_others(database: Database) -> None:
    made = await trigger(database, concurrency="replace")

    assert await sent(database, event(n=1), event(n=2, id="last")) == ["replaced", "fired"]

    assert [one.trigger_data["n"] for one in await runs(database, made)] == [2]


async def test_requests_at_the_same_moment_make_exactly_one_where_others_are_dropped(database: Database) -> None:
    made = await trigger(database, concurrency="drop", key="data.order")

    answers = await asyncio.gather(*(sent(database, event(order=n % 2), event(order=(n + 1) % 2)) for n in range(20)))

    assert Counter(one for answer in answers for one in answer) == {"fired": 2, "dropped": 38}
    assert sorted(one.key or "" for one in await runs(database, made)) == ["0", "1"]


async def test_requests_at_the_same_moment_leave_exactly_one_where_the_newest_replaces(database: Database) -> None:
    made = await trigger(database, concurrency="replace")

    await asyncio.gather(*(send(database, event()) for _ in range(20)))

    found = Counter(one.status for one in await runs(database, made))
    assert found == {"PENDING": 1, "CANCELLED": 19}


async def test_queued_executions_of_a_key_all_wait_and_none_takes_anothers_place(database: Database) -> None:
    made = await trigger(database, "ON_PAGE_UPDATE", "", concurrency="queue", key="page")

    await send(database, page(2), page(1))
    await send(database, page(3))

    executions = await runs(database, made)
    assert [(one.version, one.event_count, one.coalesces) for one in executions] == [
        (2, 1, False),
        (1, 1, False),
        (3, 1, False),
    ]
    assert len({one.created_at for one in executions}) == 3


async def test_the_stages_come_one_after_the_other(database: Database) -> None:
    """What is debounced is throttled when its wait is over, and what is throttled is no open execution."""
    made = await trigger(database, debounce_seconds=2, concurrency="drop", key="data.order", **throttle(1, 60))

    await send(database, event(order="a"))
    await tick(database, after=2)
    await send(database, event(order="a"))
    await tick(database, after=2)
    await pass_time(database, 60)
    await send(database, event(order="a"))
    await tick(database, after=2)

    assert [one.outcome for one in await timers(database)] == ["fired", "throttled", "dropped"]
    assert len(await runs(database, made)) == 1


# --- many at once -------------------------------------------------------------------------------------------


async def test_lists_whose_keys_come_in_any_order_never_wait_for_each_other_in_a_circle(database: Database) -> None:
    of = await workflow(database, kind="auto-save")
    await trigger(database, "ON_PAGE_UPDATE", "", of=of)
    pages = [f"page-{n}" for n in range(6)]
    configs: list[dict[str, Any]] = [
        {"debounce_seconds": 0.02, "max_wait_seconds": 0.05},
        {"debounce_seconds": 0.01, "dedupe_key": "data.page.version"},
        throttle(5, 1),
        throttle(5, 1, "queue"),
        {"concurrency": "drop"},
        {"concurrency": "replace"},
        {"conditions": {"any": [{"field": "data.page.version", "operator": "changed"}, {"all": []}]}},
    ]
    for config in configs:
        await trigger(database, "ON_PAGE_UPDATE", "", key="page", **config)
    await trigger(database, "TIMEOUT", "page.*", key="page", after_seconds=0.02)
    await trigger(
        database, "DELAYED", "page.*", key="page", debounce_seconds=0.01, delay_seconds=0.01, cancel_on="page.gone"
    )

    async def request(number: int) -> None:
        order = pages if number % 2 else pages[::-1]
        shift = number % len(pages)
        types = ("page.updated", "page.gone") if number % 3 else ("page.gone", "page.updated")
        events = [page(number, one, type=type) for one in order[shift:] + order[:shift] for type in types]
        await send(database, *events)

    async def fire() -> None:
        for _ in range(40):
            await Clock(database, SETTINGS).round()

    for start in (0, 20):
        await asyncio.gather(*(request(start + number) for number in range(20)), fire(), fire())


async def test_lists_that_save_pages_and_publish_at_once_never_wait_for_each_other_in_a_circle(
    database: Database,
) -> None:
    await send(database, *(page(0, project_id=one) for one in ("a", "b")))  # with their default workflows

    async def request(number: int) -> None:
        events = [page(number, f"page-{n}", project) for n in range(4) for project in ("a", "b")]
        events += [event("project.published", project) for project in ("a", "b")]
        shift = number % len(events)
        await send(database, *(events[shift:] + events[:shift])[:: 1 if number % 2 else -1])

    for start in (0, 20):
        await asyncio.gather(*(request(start + number) for number in range(20)))


async def test_what_is_replaced_while_it_is_claimed_is_either_ended_or_told_to_stop(database: Database) -> None:
    made = await trigger(database, "ON_PAGE_UPDATE", "", concurrency="replace", key="page")
    pages = [f"page-{n}" for n in range(8)]

    async def claims() -> None:
        for one in await runs(database, made):
            if one.status == Status.PENDING:
                async with database.transaction() as session:
                    await claim(session, RunIdentity(uuid4(), None, KIND, "a run"), [one.id], SETTINGS)

    for _ in range(3):
        lists = (send(database, *(page(n, one) for one in (pages if n % 2 else pages[::-1]))) for n in range(10))
        await asyncio.gather(*lists, claims(), claims())

    going_on: dict[str | None, int] = Counter(
        one.key for one in await runs(database, made) if one.status in OPEN and one.cancel_requested_at is None
    )
    assert going_on == dict.fromkeys(pages, 1)
