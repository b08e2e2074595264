"""The audit: who changed what and asked for what, with the object before and after; and its secrets stay secret."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from automation.models import Trigger, Wait, Workflow
from automation.redaction import REDACTED
from tests.integration.api.serving import Api, page_event
from tests.integration.test_claim import waits_for_a_lock

HIDDEN = "hunter2-of-the-platform"
STEP = {
    "identifier": "call",
    "step_type": "HTTP_REQUEST",
    "config": {"url": "https://example.com/", "headers": {"Authorization": f"Bearer {HIDDEN}"}},
}


async def audit(api: Api, **filters: Any) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = (await api.get("audit/", **filters)).json()["results"]
    return results


async def a_workflow(api: Api, **values: Any) -> dict[str, Any]:
    answer = await api.post("workflows/", {"name": "Nightly", "project_id": "p1", "steps": [STEP]} | values)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


# --- changes --------------------------------------------------------------------------------------------------------


async def test_a_change_says_who_what_when_and_what_was_there_before(api: Api) -> None:
    key = (await api.post("api-keys/", {"name": "alice", "scopes": ["manage"]})).json()
    bearer = {"Authorization": f"Bearer {key['key']}", "X-Request-Id": "deploy-7"}
    workflow = await a_workflow(api)
    path = f"workflows/{workflow['id']}/"
    changed = await api.client.patch(path, json={"description": "at night"}, headers=bearer)
    assert changed.status_code == 200
    assert changed.headers["x-request-id"] == "deploy-7"
    assert (await api.client.delete(path, headers=bearer)).status_code == 204

    gone, change, made = await audit(api, object_type="workflow", object_id=workflow["id"])
    assert [one["action"] for one in (made, change, gone)] == ["create", "update", "delete"]
    assert (made["actor"], made["key_id"], made["before"]) == ("api", None, None)
    assert (change["actor"], change["key_id"], change["request_id"]) == ("alice", key["id"], "deploy-7")
    assert (change["before"]["description"], change["after"]["description"]) == ("", "at night")
    assert change["project_id"] == "p1"
    assert (gone["before"]["name"], gone["after"]) == ("Nightly", None)


async def test_every_change_of_a_trigger_is_there_and_no_secret_of_it(api: Api) -> None:
    workflow = await a_workflow(api)
    made = await api.post("triggers/", {"workflow_id": workflow["id"], "trigger_type": "WEBHOOK"})
    trigger, secret = made.json()["id"], made.json()["secret"]
    path = f"triggers/{trigger}/"
    second = (await api.post(f"{path}secret/")).json()["secret"]
    await api.client.patch(path, json={"is_active": False})
    await api.client.put(path, json={"trigger_type": "API_CALL"})
    await api.client.delete(path)

    entries = (await audit(api, object_type="trigger", object_id=trigger))[::-1]
    assert [one["action"] for one in entries] == ["create", "change-secret", "update", "update", "delete"]
    assert entries[0]["after"]["secret"] == REDACTED
    assert (entries[2]["before"]["is_active"], entries[2]["after"]["is_active"]) == (True, False)
    async with api.database.transaction() as session:
        stored = str((await session.execute(text("SELECT * FROM audit"))).all())
    assert secret not in stored
    assert second not in stored
    assert HIDDEN not in stored


async def test_what_is_refused_or_fails_leaves_nothing(api: Api) -> None:
    workflow = await a_workflow(api)
    before = len(await audit(api))

    assert (await api.client.patch(f"workflows/{workflow['id']}/", json={"kind": "publish"})).status_code == 409
    assert (await api.client.patch(f"workflows/{workflow['id']}/", json={"nome": "x"})).status_code == 422
    assert (await api.client.delete(f"workflows/{uuid4()}/")).status_code == 404
    assert (await api.get("workflows/")).status_code == 200

    assert len(await audit(api)) == before


# --- wishes ---------------------------------------------------------------------------------------------------------


async def test_every_retry_cancel_approval_redrive_and_run_is_there(api: Api) -> None:
    workflow = await api.workflow()
    failed = await api.execution(workflow, "FAILED")
    waiting = await api.execution(workflow)
    asking = await api.execution(workflow, "WAITING")
    async with api.database.transaction() as session:
        session.add(Wait(execution_id=asking, project_id="p1", identifier="ask", kind="approval"))

    assert (await api.post(f"executions/{failed}/retry/", {"reason": "the network is back"})).status_code == 202
    assert (await api.post(f"executions/{waiting}/cancel/")).status_code == 202
    answered = await api.post(f"executions/{asking}/approve/", {"approve": True, "by": "bob", "comment": "fine"})
    assert answered.status_code == 202
    assert (await api.post(f"executions/{asking}/approve/", {"approve": True})).status_code == 200  # nothing new
    assert (await api.post(f"workflows/{workflow}/execute/")).status_code == 202

    [retry] = await audit(api, object_id=str(failed))
    [cancel] = await audit(api, object_id=str(waiting))
    [approve] = await audit(api, object_id=str(asking))
    [run] = await audit(api, object_id=str(workflow))
    assert (retry["action"], retry["before"]["status"], retry["after"]["status"]) == ("retry", "FAILED", "RETRYING")
    assert retry["after"]["reason"] == "the network is back"
    assert (cancel["action"], cancel["before"]["status"], cancel["after"]["status"]) == (
        "cancel",
        "PENDING",
        "CANCELLED",
    )
    assert (approve["action"], approve["before"]["status"]) == ("approve", "WAITING")
    assert (approve["after"]["by"], approve["after"]["comment"]) == ("bob", "fine")
    assert run["action"] == "execute"
    assert {one["project_id"] for one in (retry, cancel, approve, run)} == {"p1"}


async def test_of_many_each_has_its_own_entry(api: Api) -> None:
    one, two = await api.workflow("p1"), await api.workflow("p2")
    ids = {str(await api.execution(workflow, "FAILED")) for workflow in (one, one, two)}

    await api.post("executions/retry/", {"status": "FAILED"})

    entries = await audit(api, action="retry")
    assert {entry["object_id"] for entry in entries} == ids
    assert sorted(entry["project_id"] for entry in entries) == ["p1", "p1", "p2"]


async def test_a_replay_is_there_and_a_rehearsal_is_not(api: Api) -> None:
    workflow = await api.workflow()
    trigger = uuid4()
    async with api.database.transaction() as session:
        session.add(
            Trigger(id=trigger, workflow_id=workflow, project_id="p1", trigger_type="EVENT", event_type="page.updated")
        )
    window = {"since": "2026-01-01T00:00:00Z"}

    assert (await api.post(f"triggers/{trigger}/replay/", window | {"dry_run": True})).status_code == 202
    assert (await api.post(f"triggers/{trigger}/test/", {"event": page_event()})).status_code == 200
    assert await audit(api) == []
    assert (await api.post(f"triggers/{trigger}/replay/", window)).status_code == 202
    assert [one["action"] for one in await audit(api)] == ["replay"]


# --- the list -------------------------------------------------------------------------------------------------------


async def test_it_is_narrowed_by_who_what_and_when_and_read_page_by_page(api: Api) -> None:
    for number in range(5):
        await api.post("api-keys/", {"name": f"k{number}", "scopes": ["read"]})
    middle = (await audit(api))[2]

    assert len(await audit(api, action="create", object_type="api-key", actor="api")) == 5
    assert await audit(api, actor="nobody") == []
    assert await audit(api, project_id="p1") == []
    assert len(await audit(api, since=middle["at"])) == 3
    first = (await api.get("audit/", page_size=2)).json()
    second = (await api.client.get(first["next"])).json()
    third = (await api.client.get(second["next"])).json()
    seen = [one["after"]["name"] for page in (first, second, third) for one in page["results"]]
    assert seen == ["k4", "k3", "k2", "k1", "k0"]
    assert third["next"] is None


@pytest.mark.parametrize("query", ["since=yesterday", "since=2026-01-01T00:00:00", "object_id=%00", "actor=a%0Ab"])
async def test_a_wrong_filter_is_named(api: Api, query: str) -> None:
    answer = await api.client.get(f"audit/?{query}")

    assert (answer.status_code, answer.json()["field"]) == (422, query.partition("=")[0])


# --- what is hidden, elsewhere --------------------------------------------------------------------------------------


async def test_a_steps_secret_is_never_answered_and_comes_back_unharmed(api: Api) -> None:
    workflow = await a_workflow(api, config={"smtp_password": HIDDEN, "retry": {}})
    path = f"workflows/{workflow['id']}/"
    got = await api.get(path)
    for answer in (got, await api.get("workflows/"), await api.get(f"{path}versions/"), await api.get(f"{path}steps/")):
        assert HIDDEN not in answer.text
    shown = got.json()
    assert shown["steps"][0]["config"]["headers"]["Authorization"] == REDACTED

    for method in ("PUT", "PATCH"):
        body = shown | {"description": f"by {method}"}
        assert (await api.client.request(method, path, json=body)).status_code == 200
    await api.client.patch(f"steps/{shown['steps'][0]['id']}/", json={"config": shown["steps"][0]["config"]})

    async with api.database.transaction() as session:
        [config] = (await session.scalars(text("SELECT config FROM workflow_steps WHERE identifier = 'call'"))).all()
        assert config == STEP["config"]
        assert (
            await session.scalar(text("SELECT config ->> 'smtp_password' FROM workflows WHERE name = 'Nightly'"))
            == HIDDEN
        )


async def test_a_secret_that_is_replaced_meanwhile_does_not_come_back(api: Api) -> None:
    workflow = await a_workflow(api, config={"smtp_password": HIDDEN})
    shown = (await api.get(f"workflows/{workflow['id']}/")).json()

    async with api.database.transaction() as session:
        row = await session.get_one(Workflow, UUID(workflow["id"]), with_for_update=True)
        row.config = {"smtp_password": "the next one"}
        await session.flush()
        late = asyncio.create_task(api.client.put(f"workflows/{workflow['id']}/", json=shown))
        await waits_for_a_lock(api.database)

    assert (await late).status_code == 412
    async with api.database.transaction() as session:
        row = await session.get_one(Workflow, UUID(workflow["id"]))
        assert row.config == {"smtp_password": "the next one"}


async def test_where_nothing_is_hidden_the_placeholder_is_refused(api: Api) -> None:
    step = STEP | {"config": {"url": "https://example.com/", "headers": {"Authorization": REDACTED}}}
    field = "steps.0.config.headers.Authorization"

    made = await api.post("workflows/", {"name": "W", "project_id": "p1", "steps": [step]})
    assert (made.status_code, made.json()["field"]) == (422, field)
    workflow = await a_workflow(api)
    moved = await api.client.patch(f"workflows/{workflow['id']}/", json={"steps": [step | {"identifier": "other"}]})
    assert (moved.status_code, moved.json()["field"]) == (422, field)


async def test_what_an_event_carries_is_shown_without_its_secrets(api: Api) -> None:
    event = page_event(id="evt-1")
    event["data"] |= {"user": {"password": HIDDEN}, "hook": f"https://me:{HIDDEN}@host/"}
    assert (await api.post("events/", event)).status_code == 202
    execution = await api.execution(
        await api.workflow(),
        "FAILED",
        trigger_data=event["data"],
        result={"token": HIDDEN},
        error_message=f"401 for https://me:{HIDDEN}@host/ with password={HIDDEN}",
    )

    for path in ("events/evt-1/", f"executions/{execution}/", "executions/", "dead-letters/"):
        answer = await api.get(path)
        assert answer.status_code == 200
        assert HIDDEN not in answer.text
    assert (await api.stored(UUID(str(execution)))).trigger_data["user"]["password"] == HIDDEN
