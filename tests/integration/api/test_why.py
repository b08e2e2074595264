"""Why did it (not) fire: events with what each trigger made of them."""

from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from sqlalchemy import update

from automation.intake import PastEvent, accept_for
from automation.models import Trigger, Workflow, utc_now
from tests.integration.api.serving import Api
from tests.integration.rows import workflow
from tests.integration.triggering import (
    SETTINGS,
    event,
    runs,
    send,
    tick,
    trigger,
)


async def why(api: Api, event_id: str, of: Trigger | None = None) -> dict[str, Any]:
    """An event as the API explains it, or what one trigger made of it."""
    answer = await api.get(f"events/{quote(event_id, safe='')}/")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return next(one for one in found["triggers"] if one["trigger_id"] == str(of.id)) if of else found


# --- one event ----------------------------------------------------------------------------------------------


async def test_an_event_tells_what_it_was_and_which_trigger_fired(api: Api) -> None:
    made = await trigger(api.database)
    [answer] = await send(api.database, event(id="x", n=1))
    execution = str(answer.executions[0].id)

    found = await why(api, "x")

    assert {name: found[name] for name in ("id", "type", "project_id", "source", "data", "execution_ids")} == {
        "id": "x",
        "type": "order.paid",
        "project_id": "p1",
        "source": "api",
        "data": {"project_id": "p1", "n": 1},
        "execution_ids": [execution],
    }
    [told] = found["triggers"]
    assert told == {
        "trigger_id": str(made.id),
        "workflow_id": str(made.workflow_id),
        "workflow_name": "W custom-workflow",
        "trigger_type": "EVENT",
        "event_type": "order.paid",
        "fired": True,
        "outcome": "fired",
        "reason": "",
        "execution_id": execution,
        "due_at": None,
    }


async def test_every_trigger_of_the_project_and_of_the_platform_has_an_answer(api: Api) -> None:
    yes = {"field": "data.n", "operator": "==", "value": 1}
    no = {"all": [yes, {"field": "data.n", "operator": ">", "value": 5}, {"field": "data.m", "operator": "exists"}]}
    fires = await trigger(api.database, conditions=yes)
    refuses = await trigger(api.database, conditions=no)
    deaf = await trigger(api.database, event_type="order.sent")
    studio = await trigger(api.database, "ON_PAGE_CHANGE", "")
    off = await trigger(api.database, is_active=False)
    own_door = await trigger(api.database, "WEBHOOK", "")
    platform = await trigger(api.database, event_type="*", project_id=None)
    await trigger(api.database, project_id="p2")

    await send(api.database, event(id="x", n=1))

    found = {
        one["trigger_id"]: (one["fired"], one["outcome"], one["reason"]) for one in (await why(api, "x"))["triggers"]
    }
    assert found == {
        str(fires.id): (True, "fired", ""),
        str(refuses.id): (False, "conditions", "all.1: data.n > 5 does not hold: it is 1"),
        str(deaf.id): (False, "not_heard", "EVENT hears order.sent, not order.paid"),
        str(studio.id): (False, "not_heard", "ON_PAGE_CHANGE hears page.created or page.updated, not order.paid"),
        str(off.id): (False, "inactive", "the trigger or its workflow is switched off"),
        str(own_door.id): (False, "not_heard", "WEBHOOK hears no events of others"),
        str(platform.id): (True, "fired", ""),
    }


async def test_a_trigger_that_was_made_after_the_event_says_so(api: Api) -> None:
    await workflow(api.database)
    await send(api.database, event(id="x"))
    later = await trigger(api.database)

    assert (await why(api, "x", later))["reason"] == "the trigger was made or changed after this event"


async def test_a_debounced_event_is_told_through_all_that_became_of_it(api: Api) -> None:
    made = await trigger(api.database, debounce_seconds=60)
    await send(api.database, event(id="a"))

    first = await why(api, "a", made)
    assert (first["fired"], first["outcome"]) == (False, "debounced")
    assert first["reason"].startswith("waits until ")
    assert first["due_at"]

    await send(api.database, event(id="b"))
    waits = await why(api, "a", made)
    assert (waits["outcome"], waits["reason"]) == ("superseded", "event b came after it and stands for it")

    await tick(api.database, after=60)
    [execution] = await runs(api.database, made)
    last, old = await why(api, "b", made), await why(api, "a", made)
    assert (last["fired"], last["outcome"], last["execution_id"]) == (True, "fired", str(execution.id))
    assert (old["fired"], old["outcome"], old["execution_id"]) == (False, "superseded", str(execution.id))
    assert (await why(api, "b"))["execution_ids"] == [str(execution.id)]


async def test_a_delayed_event_is_told_while_it_waits_and_when_it_was_called_off_or_fired(api: Api) -> None:
    made = await trigger(api.database, "DELAYED", delay_seconds=60, cancel_on="stop", key="data.order")
    await send(api.database, event(id="a", order=1), event(id="b", order=2))

    waiting = await why(api, "a", made)
    assert (waiting["fired"], waiting["outcome"]) == (False, "delayed")

    await send(api.database, event("stop", id="no", order=1))
    await tick(api.database, after=60)
    off, fired, stop = (await why(api, "a", made), await why(api, "b", made), await why(api, "no", made))
    assert (off["fired"], off["outcome"], off["reason"]) == (False, "called_off", "called off by event no")
    assert (fired["fired"], fired["outcome"]) == (True, "fired")
    assert (stop["outcome"], stop["reason"]) == ("called_off", "1 waiting under the key '1'")


async def test_an_event_that_is_debounced_and_then_delayed_is_followed_to_its_end(api: Api) -> None:
    made = await trigger(api.database, "DELAYED", debounce_seconds=5, delay_seconds=60)
    await send(api.database, event(id="a"), event(id="b"))
    await tick(api.database, after=5)

    assert (await why(api, "b", made))["reason"].startswith("waits until ")
    await tick(api.database, after=60)

    assert (await why(api, "b", made))["fired"]
    assert (await why(api, "a", made))["outcome"] == "superseded"


async def test_what_was_switched_off_while_it_waited_says_so(api: Api) -> None:
    made = await trigger(api.database, "DELAYED", delay_seconds=60)
    await send(api.database, event(id="x"))
    async with api.database.transaction() as session:
        await session.execute(update(Trigger).values(is_active=False))
    await tick(api.database, after=60)

    told = await why(api, "x", made)
    assert (told["outcome"], told["reason"]) == ("called_off", "the trigger or its workflow is switched off")


async def test_a_trigger_that_was_deleted_since_still_stands_at_its_event(api: Api) -> None:
    made = await trigger(api.database)
    [answer] = await send(api.database, event(id="x"))
    async with api.database.transaction() as session:
        await session.delete(await session.get_one(Trigger, made.id))

    told = await why(api, "x", made)

    assert (told["fired"], told["workflow_name"], told["trigger_type"]) == (True, "", "")
    assert told["execution_id"] == str(answer.executions[0].id)


async def test_a_workflow_that_was_archived_since_is_told_where_it_fired_and_nowhere_else(api: Api) -> None:
    made = await trigger(api.database)
    await send(api.database, event(id="before"))
    async with api.database.transaction() as session:
        await session.execute(update(Workflow).values(archived_at=utc_now()))
    await send(api.database, event(id="after"))

    assert (await why(api, "before", made))["workflow_name"] == "W custom-workflow"
    assert (await why(api, "after"))["triggers"] == []


async def test_an_event_through_another_triggers_door_says_so(api: Api) -> None:
    made, other = await trigger(api.database, "WEBHOOK", ""), await trigger(api.database, event_type="*")
    delivery = PastEvent("x", "webhook.received", "p1", {"project_id": "p1"}, utc_now())
    await accept_for(api.database, made.id, delivery, source="webhook", settings=SETTINGS)

    assert (await why(api, "x", made))["fired"]
    assert (await why(api, "x", other))["reason"] == "the event came through another trigger's own door"


@pytest.mark.parametrize(
    "id",
    ["a/b", "a//b", "/a", "a/", "a:b", "webhook:1:2", "50%25", "100%", "a?b=c", "a#b", "a+b", "a..b", "test", '"<&>'],
)
async def test_an_event_with_any_id_is_found(api: Api, id: str) -> None:
    await send(api.database, event(id=id))

    assert (await why(api, id))["id"] == id


@pytest.mark.parametrize("id", ["absent", "%00", "%0A", "x" * 200, "é", "%ED%A0%80"])
async def test_an_event_that_does_not_exist_is_not_found(api: Api, id: str) -> None:
    answer = await api.get(f"events/{id}/")

    assert (answer.status_code, answer.json()["title"]) == (404, "Not found")


# --- the list -----------------------------------------------------------------------------------------------


async def test_events_are_listed_newest_first_page_by_page(api: Api) -> None:
    for n in range(7):
        await send(api.database, event(id=f"e-{n}"))

    first = (await api.get("events/", page_size=3)).json()
    second = (await api.client.get(first["next"])).json()
    third = (await api.client.get(second["next"])).json()

    assert [[one["id"] for one in found["results"]] for found in (first, second, third)] == [
        ["e-6", "e-5", "e-4"],
        ["e-3", "e-2", "e-1"],
        ["e-0"],
    ]
    assert third["next"] is None
    assert (await api.client.get(third["previous"])).json()["results"] == second["results"]
    assert "data" not in first["results"][0]


async def test_events_of_one_request_are_all_listed_however_the_pages_fall(api: Api) -> None:
    await send(api.database, *(event(id=f"e/{n}") for n in range(10)))

    seen: list[str] = []
    address: str | None = "events/?page_size=3"
    while address:
        found = (await api.client.get(address)).json()
        seen += [one["id"] for one in found["results"]]
        address = found["next"]

    assert sorted(seen) == sorted(f"e/{n}" for n in range(10))


async def test_events_are_filtered_by_project_and_type(api: Api) -> None:
    await send(api.database, event(id="a"), event("order.sent", id="b"), event(id="c", project_id="p2"))

    async def ids(**params: str) -> list[str]:
        return sorted(one["id"] for one in (await api.get("events/", **params)).json()["results"])

    assert await ids(project_id="p1") == ["a", "b"]
    assert await ids(type="order.paid") == ["a", "c"]
    assert await ids(project_id="p1", type="order.paid") == ["a"]
    assert await ids(project_id="absent") == []


@pytest.mark.parametrize("path", ["events/", "events/x/", "triggers/{id}/test/", "triggers/{id}/replay/"])
async def test_nothing_is_told_without_the_key(api: Api, path: str) -> None:
    method = "GET" if path.startswith("events") else "POST"
    address = path.format(id=uuid4())

    answer = await api.client.request(method, address, headers={"Authorization": "Bearer wrong"})

    assert answer.status_code == 401
