"""Steps over HTTP: each is checked with its whole workflow, and one can be run alone."""

from typing import Any

import pytest
from httpx import Response
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType

from automation.models import WorkflowVersion
from tests.integration.api.serving import Api
from tests.integration.flows import create, run
from tests.integration.rows import every

FIRST = {"identifier": "first", "step_type": "TRANSFORM", "config": {"output": {"n": 1}}}
SECOND = {
    "identifier": "second",
    "step_type": "TRANSFORM",
    "config": {"output": {"n": "{{ trigger.data.n }}"}},
    "depends_on": ["first"],
}


async def post(api: Api, *steps: Any, **body: Any) -> dict[str, Any]:
    """A workflow of these steps."""
    answer = await api.post("workflows/", {"name": "W", "project_id": "p1", "steps": list(steps), **body})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def steps_of(api: Api, workflow_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.get(f"workflows/{workflow_id}/steps/")).json()["results"]
    return found


async def patch(api: Api, step: dict[str, Any], **body: Any) -> Response:
    return await api.client.patch(f"steps/{step['id']}/", json=body)


# --- reading and writing ---------------------------------------------------------------------------------------


async def test_the_steps_of_a_workflow_are_listed_in_their_order_and_read_one_by_one(api: Api) -> None:
    made = await post(api, FIRST, SECOND)

    first, second = await steps_of(api, made["id"])
    answer = await api.get(f"steps/{second['id']}/")

    assert [first["identifier"], second["identifier"]] == ["first", "second"]
    assert answer.json() == second
    assert (second["workflow_id"], second["depends_on"], second["order"]) == (made["id"], ["first"], 2)


async def test_a_step_that_is_added_comes_last_and_gets_a_name(api: Api) -> None:
    made = await post(api, FIRST, SECOND)

    answer = await api.post(f"workflows/{made['id']}/steps/", {"step_type": "WAIT", "config": {"seconds": 1}})
    again = await api.post(f"workflows/{made['id']}/steps/", {"step_type": "WAIT", "config": {"seconds": 1}})

    assert answer.status_code == 201, answer.text
    assert (answer.json()["identifier"], answer.json()["order"]) == ("wait", 3)
    assert (again.json()["identifier"], again.json()["order"]) == ("wait-2", 4)


async def test_an_answer_can_be_changed_and_sent_back(api: Api) -> None:
    made = await post(api, FIRST, SECOND)
    first, _ = await steps_of(api, made["id"])

    answer = await api.client.put(f"steps/{first['id']}/", json={**first, "config": {"output": {"n": 2}}})

    assert answer.status_code == 200, answer.text
    assert answer.json() == {**first, "config": {"output": {"n": 2}}}


async def test_a_step_that_gets_another_name_keeps_its_id(api: Api) -> None:
    made = await post(api, FIRST)
    [first] = await steps_of(api, made["id"])

    assert (await patch(api, first, identifier="begin")).json() == {**first, "identifier": "begin"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"config": {"outputs": {}}}, "config.outputs"),
        ({"config": {"output": "{{ 1 +"}}, "config.output"),
        ({"step_type": "NOTHING"}, "step_type"),
        ({"depends_on": ["nobody"]}, "depends_on.0"),
        ({"depends_on": ["second"]}, "steps"),
        ({"identifier": "second"}, "identifier"),
        ({"identifier": "other"}, "steps.1.depends_on.0"),
        ({"conditions": {"field": "data.n", "operator": "~"}}, "conditions.operator"),
        ({"order": -1}, "order"),
        ({"colour": "red"}, "colour"),
        ({"config": {"output": "\u0000"}}, "config.output"),
    ],
)  # fmt: skip
async def test_a_change_that_breaks_a_rule_of_the_whole_workflow_is_refused_with_its_place(
    api: Api, body: dict[str, Any], field: str
) -> None:
    made = await post(api, FIRST, SECOND)
    before = await steps_of(api, made["id"])

    answer = await patch(api, before[0], **body)

    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field
    assert await steps_of(api, made["id"]) == before


async def test_a_step_that_another_depends_on_is_not_deleted(api: Api) -> None:
    made = await post(api, FIRST, SECOND)
    first, second = await steps_of(api, made["id"])

    refused = await api.client.delete(f"steps/{first['id']}/")
    gone = [(await api.client.delete(f"steps/{one['id']}/")).status_code for one in (second, first)]

    assert (refused.status_code, refused.json()["field"]) == (422, "steps.0.depends_on.0")
    assert gone == [204, 204]
    assert await steps_of(api, made["id"]) == []
    assert (await api.get(f"steps/{first['id']}/")).status_code == 404


async def test_every_change_of_a_step_is_a_version_that_is_kept(api: Api) -> None:
    made = await post(api, FIRST)
    [first] = await steps_of(api, made["id"])

    await patch(api, first, config={"output": {"n": 2}})
    await api.post(f"workflows/{made['id']}/steps/", SECOND)

    kept = sorted(await every(api.database, WorkflowVersion), key=lambda one: one.version)
    told = [[(step["identifier"], step["config"]["output"]["n"]) for step in one.definition["steps"]] for one in kept]
    assert told == [[("first", 1)], [("first", 2)], [("first", 2), ("second", "{{ trigger.data.n }}")]]
    assert (await api.get(f"workflows/{made['id']}/")).json()["version"] == kept[-1].version


async def test_the_steps_of_a_deleted_workflow_stay_as_they_were(api: Api) -> None:
    made = await post(api, FIRST)
    await api.execution(made["id"])
    [first] = await steps_of(api, made["id"])
    await api.client.delete(f"workflows/{made['id']}/")

    answer = await patch(api, first, is_required=False)

    assert answer.status_code == 409
    assert await steps_of(api, made["id"]) == [first]


async def test_a_workflow_has_at_most_a_hundred_steps(api: Api) -> None:
    made = await post(api, *({**FIRST, "identifier": f"s{number}"} for number in range(100)))

    answer = await api.post(f"workflows/{made['id']}/steps/", {**FIRST, "identifier": "one-more"})

    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/refused")


# --- running one alone -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("deployed")
async def test_one_step_is_run_alone_on_the_input_that_is_given(api: Api, prefect: PrefectClient) -> None:
    made = await post(api, FIRST, SECOND)
    _, second = await steps_of(api, made["id"])

    answer = await api.post(f"steps/{second['id']}/execute/", {"input": {"n": 7}})
    assert (answer.status_code, answer.json()["workflow_id"]) == (202, made["id"])
    planned = (await api.get(f"executions/{answer.json()['id']}/")).json()
    flow_run = await create(prefect, "custom-workflow", executions=[answer.json()["id"]])
    state = await run(prefect, flow_run, "custom-workflow")
    ran = (await api.get(f"executions/{answer.json()['id']}/")).json()

    assert state.type == StateType.COMPLETED
    assert [(one["identifier"], one["status"]) for one in planned["steps"]] == [("second", "PENDING")]
    assert [(one["identifier"], one["status"], one["result"]) for one in ran["steps"]] == [
        ("second", "COMPLETED", {"n": 7})
    ]
    assert (ran["only_step"], ran["status"]) == ("second", "COMPLETED")


@pytest.mark.usefixtures("deployed")
async def test_a_step_that_fails_alone_fails_its_execution_although_its_workflow_could_do_without_it(
    api: Api, prefect: PrefectClient
) -> None:
    made = await post(api, {**SECOND, "depends_on": [], "is_required": False})
    [step] = await steps_of(api, made["id"])

    started = (await api.post(f"steps/{step['id']}/execute/")).json()  # there is no trigger.data.n
    await run(prefect, await create(prefect, "custom-workflow", executions=[started["id"]]), "custom-workflow")

    ran = (await api.get(f"executions/{started['id']}/")).json()
    assert (ran["status"], ran["error_code"]) == ("FAILED", "VALIDATION_ERROR")


@pytest.mark.usefixtures("deployed")
async def test_a_step_that_is_gone_when_its_run_begins_fails_with_that(api: Api, prefect: PrefectClient) -> None:
    made = await post(api, FIRST)
    [step] = await steps_of(api, made["id"])
    started = (await api.post(f"steps/{step['id']}/execute/")).json()
    await api.client.delete(f"steps/{step['id']}/")

    await run(prefect, await create(prefect, "custom-workflow", executions=[started["id"]]), "custom-workflow")

    ran = (await api.get(f"executions/{started['id']}/")).json()
    assert (ran["status"], ran["error_message"]) == ("FAILED", "The workflow has no step 'first' any more.")


async def test_an_event_that_names_a_step_does_not_run_it_alone(api: Api) -> None:
    """Which steps run, no data that comes from outside decides."""
    made = await post(api, FIRST, SECOND, triggers=[{"trigger_type": "EVENT", "event_type": "a.b"}])
    event = {"type": "a.b", "data": {"project_id": "p1", "only_step": "first"}}

    [started] = (await api.post("events/", event)).json()["events"][0]["executions"]

    shown = (await api.get(f"executions/{started['id']}/")).json()
    assert (started["workflow_id"], shown["only_step"]) == (made["id"], "")
    assert [one["identifier"] for one in shown["steps"]] == ["first", "second"]


async def test_a_step_of_a_workflow_that_is_switched_off_is_not_run(api: Api) -> None:
    made = await post(api, FIRST, is_active=False)
    [step] = await steps_of(api, made["id"])

    answer = await api.post(f"steps/{step['id']}/execute/")

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
