import asyncio
from uuid import UUID, uuid4

import pytest

from tests.integration.api.serving import Api, page_event


async def workflow_of(api: Api, kind: str) -> UUID:
    """The id of a default workflow of project p1, which an event creates."""
    await api.post("events/", page_event())
    [workflow] = (await api.get("workflows/", project_id="p1", kind=kind)).json()["results"]
    return UUID(workflow["id"])


async def test_the_list_shows_workflows_newest_first_without_their_steps(api: Api) -> None:
    first, second = await api.workflow(), await api.workflow("p2")

    answer = (await api.get("workflows/")).json()

    assert [one["id"] for one in answer["results"]] == [str(second), str(first)]
    assert (answer["next"], answer["previous"]) == (None, None)
    assert set(answer["results"][0]) == {
        "id", "name", "description", "project_id", "kind", "trigger_type", "is_active", "config",
        "version", "created_at", "updated_at", "archived_at",
    }  # fmt: skip


async def test_the_list_is_narrowed_by_project_kind_and_activity(api: Api) -> None:
    mine = await api.workflow("p1", "publish")
    off = await api.workflow("p1", "generate", is_active=False)
    await api.workflow("p2", "publish")

    async def found(**params: str) -> set[str]:
        return {one["id"] for one in (await api.get("workflows/", **params)).json()["results"]}

    assert await found(project_id="p1") == {str(mine), str(off)}
    assert await found(project_id="p1", kind="publish") == {str(mine)}
    assert await found(is_active="false") == {str(off)}
    assert await found(project_id="p1", is_active="true") == {str(mine)}


async def test_the_list_is_read_page_by_page(api: Api) -> None:
    ids = [str(await api.workflow()) for _ in range(5)][::-1]

    first = (await api.get("workflows/", page_size=3)).json()
    second = (await api.client.get(first["next"])).json()

    assert [one["id"] for one in first["results"] + second["results"]] == ids
    assert second["next"] is None


async def test_a_workflow_is_shown_with_its_steps_in_order_and_its_triggers(api: Api) -> None:
    id_ = await workflow_of(api, "auto-save")

    answer = (await api.get(f"workflows/{id_}/")).json()

    steps = [one["step_type"] for one in answer["steps"]]
    assert steps == ["VALIDATE_PAGE", "SAVE_TO_RUNTIME", "LOG_ACTIVITY"]
    assert set(answer["steps"][0]) == {
        "id", "identifier", "step_type", "order", "depends_on", "config", "conditions", "is_required",
    }  # fmt: skip
    assert "ON_PAGE_CHANGE" in [one["trigger_type"] for one in answer["triggers"]]
    assert set(answer["triggers"][0]) == {
        "id", "workflow_id", "project_id", "trigger_type", "event_type", "conditions", "config", "is_active",
        "created_at", "updated_at", "last_triggered",
    }  # fmt: skip


async def test_an_unknown_workflow_is_404(api: Api) -> None:
    assert (await api.get(f"workflows/{uuid4()}/")).status_code == 404
    assert (await api.post(f"workflows/{uuid4()}/execute/")).status_code == 404


@pytest.mark.parametrize("body", [None, {}, {"input": {}}])
async def test_generate_runs_without_any_input(api: Api, body: object) -> None:
    id_ = await workflow_of(api, "generate")

    answer = await api.post(f"workflows/{id_}/execute/", body)

    assert answer.status_code == 202
    assert set(answer.json()) == {"id", "workflow_id", "status"}
    stored = await api.stored(answer.json()["id"])
    assert (stored.trigger_type, stored.key) == ("API_CALL", "p1")
    assert stored.trigger_data == {"project_id": "p1", "input": {}}


async def test_publish_takes_its_input_to_the_execution(api: Api) -> None:
    id_ = await workflow_of(api, "publish")
    wanted = {"action": "promote", "version": "7", "environment": "staging"}

    answer = await api.post(f"workflows/{id_}/execute/", {"input": wanted})

    assert (await api.stored(answer.json()["id"])).trigger_data["input"] == wanted


async def test_publish_without_a_proper_input_is_refused_and_the_field_named(api: Api) -> None:
    id_ = await workflow_of(api, "publish")

    for body, field in (
        (None, "input.action"),
        ({"input": {"action": "explode"}}, "input.action"),
        ({"input": {"action": "promote", "version": "../1"}}, "input.version"),
        ({"input": {"action": "rollback", "environment": "a/b"}}, "input.environment"),
        ({"input": "promote"}, "input"),
        ({"inptu": {}}, "inptu"),
    ):
        answer = await api.post(f"workflows/{id_}/execute/", body)
        assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert (await api.get("executions/", workflow_id=id_)).json()["results"] == []


async def test_a_workflow_that_is_switched_off_is_not_started(api: Api) -> None:
    id_ = await api.workflow(is_active=False)

    answer = await api.post(f"workflows/{id_}/execute/")

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")


async def test_one_idempotency_key_starts_one_execution_however_often_it_is_sent(api: Api) -> None:
    id_ = await api.workflow()

    async def start(key: str) -> str:
        answer = await api.post(f"workflows/{id_}/execute/", **{"Idempotency-Key": key})
        assert answer.status_code == 202
        return str(answer.json()["id"])

    same = await asyncio.gather(*(start("key-1") for _ in range(8)))
    other = await start("key-2")

    assert len(set(same)) == 1
    assert other not in same


async def test_one_idempotency_key_means_different_things_to_two_workflows(api: Api) -> None:
    first, second = await api.workflow(), await api.workflow()

    answers = [await api.post(f"workflows/{id_}/execute/", **{"Idempotency-Key": "key"}) for id_ in (first, second)]

    assert [one.json()["workflow_id"] for one in answers] == [str(first), str(second)]
