"""What a workflow has been: its versions over HTTP."""

from typing import Any
from uuid import UUID

from tests.integration.api.serving import Api
from tests.unit.authoring.documents import AUTO_SAVE


async def versions_of(api: Api, workflow_id: str) -> list[dict[str, Any]]:
    """The stored versions, newest first."""
    answer = await api.get(f"workflows/{workflow_id}/versions/")
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


async def test_every_version_that_a_workflow_had_can_be_read_although_none_ran(api: Api) -> None:
    made = (await api.post("workflows/", AUTO_SAVE | {"project_id": "p1"})).json()
    steps = [step for step in made["steps"] if step["step_type"] != "LOG_ACTIVITY"]
    changed = (await api.client.patch(f"workflows/{made['id']}/", json={"steps": steps})).json()
    renamed = (await api.client.patch(f"workflows/{made['id']}/", json={"name": "Save"})).json()

    versions = await versions_of(api, made["id"])
    assert [one["version"] for one in versions] == [renamed["version"], changed["version"], made["version"]]
    assert [one["step_count"] for one in versions] == [2, 2, 3]
    assert [one["definition"]["name"] for one in versions] == ["Save", "Auto-save Project", "Auto-save Project"]
    [first] = [step for step in versions[2]["definition"]["steps"] if step["step_type"] == "SAVE_TO_RUNTIME"]
    assert first["config"] == {"update_files": True, "backup_previous": True}


async def test_a_version_that_the_intake_wrote_is_kept_when_the_first_edit_replaces_it(api: Api) -> None:
    id_ = str(await api.workflow(kind="custom-workflow"))
    edit = {"steps": [{"step_type": "TRANSFORM"}]}
    assert (await api.client.patch(f"workflows/{id_}/", json=edit)).status_code == 200

    assert [one["step_count"] for one in await versions_of(api, id_)] == [1, 0]


async def test_what_does_not_change_what_runs_makes_no_version(api: Api) -> None:
    made = (await api.post("workflows/", AUTO_SAVE | {"project_id": "p1"})).json()
    body = {key: made[key] for key in ("name", "trigger_type", "steps", "triggers", "config")}
    await api.client.put(f"workflows/{made['id']}/", json=body)
    await api.client.put(f"workflows/{made['id']}/", json=body)
    await api.client.patch(f"workflows/{made['id']}/", json={"is_active": False})
    again = (await api.client.patch(f"workflows/{made['id']}/", json={"triggers": []})).json()

    assert again["version"] == made["version"]
    assert [one["version"] for one in await versions_of(api, made["id"])] == [made["version"]]


async def test_versions_of_a_workflow_that_is_not_there_are_not_found(api: Api) -> None:
    assert (await api.get(f"workflows/{UUID(int=7)}/versions/")).status_code == 404
