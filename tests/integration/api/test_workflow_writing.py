"""Creating, changing and deleting workflows over HTTP."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from httpx import Response
from sqlalchemy import select, text

from automation.intake import timers
from automation.models import Project, Status, Timer, Trigger, WebhookSecret, Workflow, WorkflowStep, utc_now
from automation.models.channels import SCHEDULES_CHANNEL, TRIGGERS_CHANNEL
from deployments.platform import apply_platform_workflows
from tests.integration.api.serving import Api, page_event
from tests.integration.rows import every
from tests.unit.authoring.documents import AUTO_SAVE, CLEANUP, GENERATE

CLEANUP_SCHEDULE = {"trigger_type": "SCHEDULED", "config": {"cron": "0 5 * * *"}}
TRANSFORM = {"step_type": "TRANSFORM", "config": {"output": {"n": 1}}}


async def post(api: Api, **body: Any) -> dict[str, Any]:
    answer = await api.post("workflows/", {"name": "W", "project_id": "p1", **body})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def put(api: Api, id_: str, **body: Any) -> Response:
    return await api.client.put(f"workflows/{id_}/", json={"name": "W", **body})


async def patch(api: Api, id_: str, **body: Any) -> Response:
    return await api.client.patch(f"workflows/{id_}/", json=body)


async def system_workflow(api: Api, kind: str) -> dict[str, Any]:
    """A default workflow of project p1, as GET shows it."""
    await api.post("events/", page_event())
    [found] = (await api.get("workflows/", project_id="p1", kind=kind)).json()["results"]
    shown: dict[str, Any] = (await api.get(f"workflows/{found['id']}/")).json()
    return shown


async def timer(api: Api, trigger_id: str) -> UUID:
    """A firing that waits at a trigger."""
    made = Timer(
        id=uuid4(), trigger_id=UUID(trigger_id), project_id="p1", purpose=timers.Purpose.DELAY, key="",
        due_at=utc_now(), event_id="e", event_type="x.y", event_data={}, occurred_at=utc_now(),
    )  # fmt: skip
    async with api.database.transaction() as session:
        session.add(made)
    return made.id


async def stored_timer(api: Api, id_: UUID) -> Timer:
    async with api.database.transaction() as session:
        return await session.get_one(Timer, id_)


async def stored_trigger(api: Api, id_: str) -> Trigger:
    async with api.database.transaction() as session:
        return await session.get_one(Trigger, UUID(id_))


# --- create ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "project"), [(AUTO_SAVE, {"project_id": "p1"}), (GENERATE, {"project_id": "p1"}), (CLEANUP, {})],
    ids=["auto-save", "generate", "cleanup"],
)  # fmt: skip
async def test_the_documents_of_the_description_post_unchanged(
    api: Api, document: dict[str, Any], project: dict[str, str]
) -> None:
    answer = await api.post("workflows/", document | project)

    assert answer.status_code == 201
    created = answer.json()
    assert (created["kind"], created["project_id"]) == ("custom-workflow", project.get("project_id"))
    assert [one["step_type"] for one in created["steps"]] == [one["step_type"] for one in document["steps"]]
    assert [one["trigger_type"] for one in created["triggers"]] == [document["trigger_type"]]
    assert (await api.get(f"workflows/{created['id']}/")).json() == created


async def test_a_workflow_is_stored_with_its_steps_and_triggers_and_answered_with_their_ids(api: Api) -> None:
    steps = [
        TRANSFORM | {"identifier": "first"},
        TRANSFORM | {"depends_on": ["first"], "is_required": False, "conditions": {"field": "x", "operator": "exists"}},
    ]
    triggers = [
        {"trigger_type": "EVENT", "event_type": "order.*", "config": {"debounce_seconds": 5}},
        {"trigger_type": "API_CALL", "is_active": False},
    ]

    created = await post(api, description="d", config={"own_deployment": True}, steps=steps, triggers=triggers)

    assert [one["identifier"] for one in created["steps"]] == ["first", "transform"]
    assert [one["trigger_type"] for one in created["triggers"]] == ["EVENT", "API_CALL"]
    assert {one["workflow_id"] for one in created["triggers"]} == {created["id"]}
    assert {one["project_id"] for one in created["triggers"]} == {"p1"}
    assert (await api.get(f"workflows/{created['id']}/")).json() == created
    assert len(await every(api.database, WorkflowStep)) >= 2


async def test_a_workflow_that_is_wrong_leaves_nothing_behind(api: Api) -> None:
    answer = await api.post("workflows/", {"name": "W", "project_id": "p9", "steps": [{"step_type": "NO"}]})

    assert (answer.status_code, answer.json()["field"]) == (422, "steps.0.step_type")
    answer = await api.post("workflows/", {"name": "W", "project_id": "p9", "config": {"run_mode": "sideways"}})
    assert (answer.status_code, answer.json()["field"]) == (422, "config.run_mode")
    assert await every(api.database, Project) == []
    assert await every(api.database, Workflow) == []


async def test_a_workflow_may_be_the_first_that_we_hear_of_a_project(api: Api) -> None:
    await post(api, project_id="new")

    found = (await api.get("workflows/", project_id="new")).json()["results"]
    assert {one["kind"] for one in found} == {"auto-save", "generate", "publish", "custom-workflow"}


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"own_deployment": "yes"}, "config.own_deployment"),
        ({"concurrency_limit": 0, "own_deployment": True}, "config.concurrency_limit"),
        ({"concurrency_limit": 2}, "config.concurrency_limit"),
        ({"run_mode": "batch", "concurrency_limit": True}, "config.concurrency_limit"),
    ],
)
async def test_a_config_that_cannot_work_is_refused(api: Api, config: dict[str, Any], field: str) -> None:
    answer = await api.post("workflows/", {"name": "W", "config": config})

    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_a_limit_needs_a_deployment_of_its_own_or_a_schedule(api: Api) -> None:
    await post(api, config={"concurrency_limit": 2, "own_deployment": True})
    await post(api, config={"concurrency_limit": 2, "mine": {"any": "thing"}}, schedule="0 2 * * *")


async def test_the_secret_of_a_webhook_is_shown_once(api: Api) -> None:
    chosen = "a-secret-that-we-share"
    created = await post(
        api,
        triggers=[
            {"trigger_type": "WEBHOOK"},
            {"trigger_type": "WEBHOOK", "config": {"scheme": "github"}, "secret": chosen},
            {"trigger_type": "API_CALL"},
        ],
    )

    made, given, other = created["triggers"]
    assert made["secret"].startswith("whsec_")
    assert (given["secret"], made["url"]) == (chosen, f"/api/automation/webhooks/{made['id']}/")
    assert "secret" not in other
    assert "url" not in other
    shown = (await api.get(f"workflows/{created['id']}/")).json()["triggers"]
    assert all("secret" not in one for one in shown)
    assert {one.secret for one in await every(api.database, WebhookSecret)} == {made["secret"], chosen}


async def test_a_schedule_begins_with_its_trigger_and_names_its_next_slot(api: Api) -> None:
    before = utc_now()

    created = await post(api, schedule="0 2 * * *")

    [trigger] = created["triggers"]
    assert trigger["next_slot"].endswith("T02:00:00Z")
    last_slot = (await stored_trigger(api, trigger["id"])).last_slot
    assert last_slot is not None
    assert before <= last_slot <= utc_now()


async def test_those_who_keep_schedules_are_told_of_every_change(api: Api) -> None:
    heard: list[tuple[str, str]] = []
    connection = await api.database.listen()
    for channel in (SCHEDULES_CHANNEL, TRIGGERS_CHANNEL):
        await connection.add_listener(channel, lambda _, __, name, payload: heard.append((name, payload)))
    try:
        id_ = (await post(api))["id"]
        await patch(api, id_, is_active=False)
        await api.client.delete(f"workflows/{id_}/")
        async with asyncio.timeout(10):
            while len(heard) < 6:
                await asyncio.sleep(0.01)
    finally:
        await connection.close()
    assert heard == [(SCHEDULES_CHANNEL, id_), (TRIGGERS_CHANNEL, id_)] * 3


# --- change ---------------------------------------------------------------------------------------------------


async def test_an_answer_that_is_sent_back_changes_nothing_but_what_was_changed_in_it(api: Api) -> None:
    created = await post(
        api, steps=[TRANSFORM, TRANSFORM], triggers=[{"trigger_type": "WEBHOOK"}], schedule="0 2 * * *"
    )
    shown = (await api.get(f"workflows/{created['id']}/")).json()

    answer = await api.client.put(f"workflows/{created['id']}/", json=shown | {"name": "New name"})

    assert answer.status_code == 200
    changed = answer.json()
    assert changed["updated_at"] > shown["updated_at"]
    assert changed["version"] == shown["version"] + 1
    assert changed == shown | {key: changed[key] for key in ("updated_at", "version")} | {"name": "New name"}


async def test_put_replaces_the_whole_and_what_keeps_its_name_keeps_its_row(api: Api) -> None:
    created = await post(
        api,
        description="d",
        steps=[TRANSFORM | {"identifier": "a"}, TRANSFORM | {"identifier": "b"}],
        triggers=[{"trigger_type": "API_CALL"}, {"trigger_type": "ON_PUBLISH"}],
    )
    a, _ = created["steps"]
    call, _ = created["triggers"]

    answer = await put(
        api,
        created["id"],
        steps=[TRANSFORM | {"identifier": "c"}, TRANSFORM | {"identifier": "a", "config": {"output": {"n": 2}}}],
        triggers=[{"id": call["id"], "trigger_type": "API_CALL", "is_active": False}, {"trigger_type": "WEBHOOK"}],
    )

    changed = answer.json()
    assert changed["description"] == ""
    steps = {one["identifier"]: one for one in changed["steps"]}
    assert steps.keys() == {"a", "c"}
    assert (steps["a"]["id"], steps["a"]["order"], steps["a"]["config"]) == (a["id"], 2, {"output": {"n": 2}})
    assert [(one["trigger_type"], one["is_active"]) for one in changed["triggers"]] == [
        ("API_CALL", False),
        ("WEBHOOK", True),
    ]
    assert changed["triggers"][0]["id"] == call["id"]
    assert changed["triggers"][1]["secret"].startswith("whsec_")
    assert (await api.get(f"workflows/{created['id']}/")).json()["steps"] == changed["steps"]


async def test_the_same_document_put_twice_keeps_triggers_and_their_secrets(api: Api) -> None:
    document = {"project_id": "p1", "triggers": [{"trigger_type": "WEBHOOK"}], "schedule": "0 2 * * *"}
    created = await post(api, **document)

    changed = (await put(api, created["id"], **document)).json()

    assert [one["id"] for one in changed["triggers"]] == [one["id"] for one in created["triggers"]]
    assert all("secret" not in one for one in changed["triggers"])
    assert len(await every(api.database, WebhookSecret)) == 1


async def test_patch_changes_what_is_given(api: Api) -> None:
    created = await post(api, description="d", steps=[TRANSFORM], triggers=[{"trigger_type": "ON_PUBLISH"}])

    answer = await patch(api, created["id"], config={"colour": "red"}, steps=[TRANSFORM, TRANSFORM])

    changed = answer.json()
    assert changed["triggers"] == created["triggers"]
    assert (changed["description"], changed["config"]) == ("d", {"colour": "red"})
    assert [one["identifier"] for one in changed["steps"]] == ["transform", "transform-2"]


async def test_a_limit_is_refused_when_a_patch_takes_its_schedule_away(api: Api) -> None:
    created = await post(api, config={"concurrency_limit": 2}, schedule="0 2 * * *")

    answer = await patch(api, created["id"], triggers=[])

    assert (answer.status_code, answer.json()["field"]) == (422, "config.concurrency_limit")


@pytest.mark.parametrize("body", [{"project_id": "p2"}, {"kind": "publish"}])
async def test_a_workflow_stays_what_it_is_and_in_its_project(api: Api, body: dict[str, str]) -> None:
    created = await post(api)

    assert (await patch(api, created["id"], **body)).status_code == 409
    assert (await put(api, created["id"], **body)).status_code == 409


async def test_an_id_of_another_workflows_trigger_is_refused(api: Api) -> None:
    [theirs] = (await post(api))["triggers"]
    mine = await post(api)

    answer = await patch(api, mine["id"], triggers=[{"id": theirs["id"], "trigger_type": "API_CALL"}])

    assert (answer.status_code, answer.json()["field"]) == (422, "triggers.0.id")


async def test_an_edit_counts_as_a_new_version_for_the_engine(api: Api) -> None:
    created = await post(api, steps=[TRANSFORM])

    async def version() -> int:
        async with api.database.transaction() as session:
            return int(await session.scalar(select(Workflow.version).where(Workflow.id == UUID(created["id"]))) or 0)

    before = await version()
    await patch(api, created["id"], steps=[TRANSFORM | {"config": {"output": {"n": 2}}}])
    assert await version() > before


async def test_what_waits_at_a_trigger_that_is_switched_off_is_called_off(api: Api) -> None:
    delayed = {"trigger_type": "DELAYED", "event_type": "x.y", "config": {"delay_seconds": 3600}}
    created = await post(api, triggers=[delayed, delayed | {"event_type": "x.z"}])
    off, on = created["triggers"]
    at_off, at_on = await timer(api, off["id"]), await timer(api, on["id"])

    await patch(api, created["id"], triggers=[delayed | {"id": off["id"], "is_active": False}, on])

    ended, waiting = await stored_timer(api, at_off), await stored_timer(api, at_on)
    assert (ended.status, waiting.status) == ("CANCELLED", "WAITING")
    assert ended.reason
    await patch(api, created["id"], is_active=False)
    assert (await stored_timer(api, at_on)).status == "CANCELLED"


async def test_a_schedule_that_runs_again_has_missed_nothing(api: Api) -> None:
    created = await post(api, schedule="* * * * *")
    [trigger] = created["triggers"]
    await patch(api, created["id"], is_active=False)
    async with api.database.transaction() as session:
        await session.execute(text("UPDATE triggers SET last_slot = '2020-01-01T00:00:00Z'"))
    assert (await api.get(f"triggers/{trigger['id']}/")).json()["next_slot"] is None

    await patch(api, created["id"], is_active=True)

    last_slot = (await stored_trigger(api, trigger["id"])).last_slot
    assert last_slot is not None
    assert last_slot.year > 2020


async def test_concurrent_edits_take_turns(api: Api) -> None:
    created = await post(
        api, steps=[TRANSFORM], triggers=[{"trigger_type": "ON_PUBLISH"}, {"trigger_type": "API_CALL"}]
    )
    id_ = created["id"]
    steps = [[TRANSFORM | {"identifier": f"s{n}-{m}"} for m in range(5)] for n in range(10)]
    edits = [put(api, id_, steps=one, triggers=[{"trigger_type": "ON_PUBLISH"}]) for one in steps]
    events = [api.post("events/", {"type": "project.published", "data": {"project_id": "p1"}}) for _ in range(10)]
    extra = [api.post("triggers/", {"workflow_id": id_, "trigger_type": "WEBHOOK"}) for _ in range(5)]

    answers = await asyncio.gather(*edits, *events, *extra)

    assert {one.status_code for one in answers} <= {200, 201, 202}
    left = (await api.get(f"workflows/{id_}/")).json()["steps"]
    assert [one["identifier"] for one in left] in [[step["identifier"] for step in one] for one in steps]


# --- delete ---------------------------------------------------------------------------------------------------


async def test_a_workflow_without_executions_is_gone(api: Api) -> None:
    id_ = (await post(api, steps=[TRANSFORM]))["id"]

    assert (await api.client.delete(f"workflows/{id_}/")).status_code == 204

    assert (await api.get(f"workflows/{id_}/")).status_code == 404
    assert (await api.client.delete(f"workflows/{id_}/")).status_code == 404
    assert UUID(id_) not in {one.workflow_id for one in await every(api.database, Trigger)}


async def test_a_workflow_with_executions_is_archived_and_its_history_stays(api: Api) -> None:
    created = await post(api, triggers=[{"trigger_type": "API_CALL"}])
    id_ = created["id"]
    done = await api.execution(UUID(id_), Status.COMPLETED)
    waiting = await api.execution(UUID(id_), Status.PENDING)
    at = await timer(api, created["triggers"][0]["id"])

    assert (await api.client.delete(f"workflows/{id_}/")).status_code == 204

    shown = (await api.get(f"workflows/{id_}/")).json()
    assert shown["archived_at"] is not None
    assert (shown["is_active"], [one["is_active"] for one in shown["triggers"]]) == (False, [False])
    assert (await stored_timer(api, at)).status == "CANCELLED"
    assert (await api.stored(done)).status == Status.COMPLETED
    ended = await api.stored(waiting)
    assert (ended.status, ended.error_message) == (Status.CANCELLED, "its workflow was deleted")
    assert (await api.get("executions/", workflow_id=id_)).json()["results"]


async def test_an_archived_workflow_is_hidden_and_does_nothing_any_more(api: Api) -> None:
    created = await post(api)
    id_, trigger_id = created["id"], created["triggers"][0]["id"]
    failed = await api.execution(UUID(id_), Status.FAILED)
    await api.client.delete(f"workflows/{id_}/")

    async def listed(**params: str) -> list[str]:
        found = (await api.get("workflows/", kind="custom-workflow", **params)).json()["results"]
        return [one["id"] for one in found]

    assert await listed() == []
    assert await listed(archived="true") == [id_]
    assert (await api.get("triggers/", workflow_id=id_)).json()["results"] == []
    for answer in (
        await api.post(f"workflows/{id_}/execute/"),
        await api.post(f"executions/{failed}/retry/"),
        await put(api, id_),
        await patch(api, id_, is_active=True),
        await api.client.delete(f"workflows/{id_}/"),
        await api.client.patch(f"triggers/{trigger_id}/", json={"is_active": True}),
        await api.post("triggers/", {"workflow_id": id_, "trigger_type": "API_CALL"}),
    ):
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")


# --- the system's own -----------------------------------------------------------------------------------------


async def test_a_system_workflow_may_change_config_steps_and_description(api: Api) -> None:
    shown = await system_workflow(api, "auto-save")

    answer = await patch(
        api,
        shown["id"],
        config={"run_mode": "single"},
        description="One run for each edit",
        steps=[{"step_type": "SAVE_TO_RUNTIME"}],
        is_active=False,
    )

    assert answer.status_code == 200
    changed = answer.json()
    assert (changed["config"], changed["is_active"]) == ({"run_mode": "single"}, False)
    assert changed["steps"][0]["id"] == shown["steps"][1]["id"]
    assert changed["triggers"] == shown["triggers"]


async def test_a_system_workflow_that_is_put_without_triggers_keeps_its_own(api: Api) -> None:
    shown = await system_workflow(api, "auto-save")

    answer = await api.client.put(f"workflows/{shown['id']}/", json={"name": shown["name"], "steps": shown["steps"]})

    assert answer.status_code == 200
    assert (answer.json()["triggers"], answer.json()["trigger_type"]) == (shown["triggers"], "ON_PAGE_CHANGE")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "Mine"},
        {"kind": "custom-workflow"},
        {"project_id": "p2"},
        {"trigger_type": "ON_PUBLISH"},
        {"triggers": []},
        {"triggers": [{"trigger_type": "ON_PAGE_CHANGE"}]},
    ],
)
async def test_a_system_workflow_keeps_its_identity(api: Api, body: dict[str, Any]) -> None:
    shown = await system_workflow(api, "auto-save")

    answer = await patch(api, shown["id"], **body)

    assert answer.status_code == 409
    assert (await api.get(f"workflows/{shown['id']}/")).json() == shown


async def test_a_system_workflow_cannot_be_deleted(api: Api) -> None:
    shown = await system_workflow(api, "publish")

    assert (await api.client.delete(f"workflows/{shown['id']}/")).status_code == 409


async def test_a_system_workflow_takes_further_triggers(api: Api) -> None:
    shown = await system_workflow(api, "generate")

    added = await api.post("triggers/", {"workflow_id": shown["id"], "trigger_type": "WEBHOOK"})

    assert added.status_code == 201
    assert (await api.client.delete(f"triggers/{added.json()['id']}/")).status_code == 204
    assert (await api.client.delete(f"triggers/{shown['triggers'][0]['id']}/")).status_code == 409
    off = await api.client.patch(f"triggers/{shown['triggers'][0]['id']}/", json={"is_active": False})
    assert off.status_code == 200


async def test_the_platforms_schedule_stands_in_prefect_yaml(api: Api) -> None:
    await apply_platform_workflows(api.database)
    [found] = (await api.get("workflows/", kind="cleanup")).json()["results"]
    shown = (await api.get(f"workflows/{found['id']}/")).json()
    [trigger] = shown["triggers"]

    for answer in (
        await api.client.patch(f"triggers/{trigger['id']}/", json={"config": {"cron": "0 3 * * *"}}),
        await api.client.patch(f"triggers/{trigger['id']}/", json={"is_active": False}),
        await api.client.delete(f"triggers/{trigger['id']}/"),
        await api.post("triggers/", {"workflow_id": found["id"], **CLEANUP_SCHEDULE}),
        await patch(api, found["id"], triggers=[{"trigger_type": "SCHEDULED", "config": {"cron": "0 4 * * *"}}]),
    ):
        assert answer.status_code == 409
    assert "prefect.yaml" in answer.json()["detail"]
    assert (await patch(api, found["id"], is_active=False)).status_code == 200
    assert (await api.client.put(f"workflows/{found['id']}/", json=CLEANUP)).status_code == 200


async def test_a_workflow_that_would_run_itself_is_refused_when_it_is_saved(api: Api) -> None:
    made = await post(api)
    steps = [TRANSFORM, {"step_type": "RUN_WORKFLOW", "config": {"workflow_id": made["id"].upper()}}]
    answer = await patch(api, made["id"], steps=steps)

    assert answer.status_code == 422
    assert answer.json()["field"] == "steps.1.config.workflow_id"
