"""Triggers over HTTP, one by one."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from automation.models import Trigger, WebhookSecret
from tests.integration.api.serving import Api
from tests.integration.rows import every

HOURLY = {"trigger_type": "SCHEDULED", "config": {"cron": "0 * * * *"}}
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


async def workflow(api: Api, *triggers: dict[str, Any], project_id: str | None = "p1") -> dict[str, Any]:
    answer = await api.post("workflows/", {"name": "W", "project_id": project_id, "triggers": triggers})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def trigger(api: Api, **body: Any) -> dict[str, Any]:
    """A trigger of a workflow of its own."""
    [made] = (await workflow(api, body))["triggers"]
    assert isinstance(made, dict)
    return made


async def last_slot(api: Api, id_: str) -> datetime | None:
    async with api.database.transaction() as session:
        return (await session.get_one(Trigger, UUID(id_))).last_slot


async def test_a_trigger_is_added_shown_changed_and_deleted(api: Api) -> None:
    of = await workflow(api)
    body = {"workflow_id": of["id"], "trigger_type": "EVENT", "event_type": "order.paid"}

    answer = await api.post("triggers/", body)

    assert answer.status_code == 201
    made = answer.json()
    assert set(made) == {
        "id", "workflow_id", "project_id", "trigger_type", "event_type", "conditions", "config", "is_active",
        "created_at", "updated_at", "last_triggered",
    }  # fmt: skip
    assert (made["workflow_id"], made["project_id"]) == (of["id"], "p1")
    assert (await api.get(f"triggers/{made['id']}/")).json() == made

    put = await api.client.put(f"triggers/{made['id']}/", json={"trigger_type": "EVENT", "event_type": "order.*"})
    assert put.json()["event_type"] == "order.*"
    patched = await api.client.patch(f"triggers/{made['id']}/", json={"config": {"debounce_seconds": 2}})
    assert (patched.json()["event_type"], patched.json()["config"]) == ("order.*", {"debounce_seconds": 2})

    assert (await api.client.delete(f"triggers/{made['id']}/")).status_code == 204
    assert (await api.get(f"triggers/{made['id']}/")).status_code == 404


async def test_what_is_not_there_is_404(api: Api) -> None:
    path = f"triggers/{uuid4()}/"
    body = {"trigger_type": "API_CALL"}

    assert (await api.get(path)).status_code == 404
    assert (await api.client.put(path, json=body)).status_code == 404
    assert (await api.client.patch(path, json={})).status_code == 404
    assert (await api.client.delete(path)).status_code == 404
    assert (await api.post("triggers/", {"workflow_id": str(uuid4()), **body})).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"config": {"cron": "0 * * * *", "croon": 1}}, "config.croon"),
        ({"config": {"cron": "61 * * * *"}}, "config.cron"),
        ({"trigger_type": "DELAYED"}, "config.delay_seconds"),
        ({"event_type": "x.y"}, "event_type"),
        ({"conditions": {"field": "x", "operator": "like", "value": 1}}, "conditions.operator"),
        ({"is_active": 1}, "is_active"),
        ({"triger_type": "EVENT"}, "triger_type"),
        ({"secret": "whsec_x"}, "secret"),
    ],
)
async def test_a_change_that_would_make_it_wrong_is_refused_at_its_place(
    api: Api, body: dict[str, Any], field: str
) -> None:
    made = await trigger(api, **HOURLY)

    answer = await api.client.patch(f"triggers/{made['id']}/", json=body)

    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert (await api.get(f"triggers/{made['id']}/")).json() == made


async def test_the_list_is_narrowed_and_read_page_by_page(api: Api) -> None:
    first = await workflow(api, {"trigger_type": "API_CALL"}, {"trigger_type": "WEBHOOK", "is_active": False})
    second = await workflow(api, {"trigger_type": "WEBHOOK"}, project_id=None)
    call, hook = (one["id"] for one in first["triggers"])
    other = second["triggers"][0]["id"]

    async def found(**params: str) -> list[str]:
        return [one["id"] for one in (await api.get("triggers/", **params)).json()["results"]]

    assert await found(workflow_id=first["id"]) == [hook, call]
    assert await found(trigger_type="WEBHOOK") == [other, hook]
    assert await found(trigger_type="WEBHOOK", is_active="false") == [hook]
    assert {call, hook} <= set(await found(project_id="p1"))
    assert other not in await found(project_id="p1")
    page = (await api.get("triggers/", trigger_type="WEBHOOK", page_size="1")).json()
    rest = (await api.client.get(page["next"])).json()
    assert [one["id"] for one in page["results"] + rest["results"]] == [other, hook]


async def test_a_schedule_begins_anew_when_its_times_change_or_it_is_switched_on_again(api: Api) -> None:
    made = await trigger(api, **HOURLY)
    path = f"triggers/{made['id']}/"

    async def begins(**body: Any) -> bool:
        async with api.database.transaction() as session:
            await session.execute(text("UPDATE triggers SET last_slot = :at"), {"at": LONG_AGO})
        assert (await api.client.patch(path, json=body)).status_code == 200
        return await last_slot(api, made["id"]) != LONG_AGO

    assert await begins(config={"cron": "30 * * * *"})
    assert await begins(config={"cron": "30 * * * *", "timezone": "Europe/Paris"})
    assert not await begins(config={"cron": "30 * * * *", "timezone": "Europe/Paris", "catch_up": "all"})
    assert not await begins(is_active=False)
    assert await begins(is_active=True)


async def test_a_webhook_has_its_secret_and_another_scheme_another_secret(api: Api) -> None:
    of = await workflow(api)
    made = (await api.post("triggers/", {"workflow_id": of["id"], "trigger_type": "WEBHOOK"})).json()
    path = f"triggers/{made['id']}/"

    assert made["secret"].startswith("whsec_")
    assert "secret" not in (await api.client.patch(path, json={"is_active": False})).json()
    changed = (await api.client.patch(path, json={"config": {"scheme": "github"}})).json()

    assert [one.secret for one in await every(api.database, WebhookSecret)] == [changed["secret"]]
    assert changed["secret"] != made["secret"]
    await api.client.put(path, json={"trigger_type": "API_CALL"})
    assert await every(api.database, WebhookSecret) == []


async def test_a_workflow_has_at_most_fifty_triggers(api: Api) -> None:
    of = await workflow(api, *[{"trigger_type": "EVENT", "event_type": f"x.{n}"} for n in range(50)])

    answer = await api.post("triggers/", {"workflow_id": of["id"], "trigger_type": "API_CALL"})

    assert answer.status_code == 422


async def test_what_cannot_be_right_any_more_can_still_be_switched_off(api: Api) -> None:
    made = await trigger(api, trigger_type="API_CALL")
    async with api.database.transaction() as session:
        await session.execute(text("""UPDATE triggers SET config = '{"of_an_older_version": true}'"""))

    answer = await api.client.patch(f"triggers/{made['id']}/", json={"is_active": False})

    assert (answer.status_code, answer.json()["is_active"]) == (200, False)
