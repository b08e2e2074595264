from typing import Any

import pytest
from sqlalchemy import func, select

from automation.models import Event, Execution, Project, Workflow
from tests.integration.api.serving import Api, page_event


async def count(api: Api, model: type) -> int:
    async with api.database.transaction() as session:
        return await session.scalar(select(func.count()).select_from(model)) or 0


async def test_an_event_is_accepted_and_names_the_executions_it_started(api: Api) -> None:
    answer = await api.post("events/", page_event(id="evt-1"))

    assert answer.status_code == 202
    [event] = answer.json()["events"]
    assert (event["id"], event["duplicate"]) == ("evt-1", False)
    [execution] = event["executions"]
    assert execution["status"] == "PENDING"
    detail = (await api.get(f"executions/{execution['id']}/")).json()
    assert detail["workflow_id"] == execution["workflow_id"]
    assert (detail["kind"], detail["key"]) == ("auto-save", "home")


async def test_an_event_without_an_id_gets_one(api: Api) -> None:
    [event] = (await api.post("events/", page_event())).json()["events"]

    assert event["id"]
    assert not event["duplicate"]


async def test_a_list_is_answered_in_its_order(api: Api) -> None:
    events = [page_event(page_id=f"page-{number}", id=f"evt-{number}") for number in range(500)]

    answer = (await api.post("events/", events)).json()["events"]

    assert [one["id"] for one in answer] == [one["id"] for one in events]
    assert all(len(one["executions"]) == 1 for one in answer)


async def test_an_empty_list_is_accepted_and_does_nothing(api: Api) -> None:
    answer = await api.post("events/", [])

    assert (answer.status_code, answer.json()) == (202, {"events": []})


async def test_an_id_seen_before_is_a_duplicate_and_changes_nothing(api: Api) -> None:
    first = (await api.post("events/", page_event(id="evt-1"))).json()["events"][0]
    changed = page_event(id="evt-1")
    changed["data"]["page"]["name"] = "another name"

    second = (await api.post("events/", changed)).json()["events"][0]

    assert second["duplicate"]
    assert [one["id"] for one in second["executions"]] == [one["id"] for one in first["executions"]]
    stored = await api.stored(first["executions"][0]["id"])
    assert stored.event_count == 1
    assert stored.trigger_data["page"]["name"] == "Accueil"
    assert await count(api, Event) == 1


async def test_one_bad_element_refuses_the_list_with_its_index_and_nothing_is_written(api: Api) -> None:
    bad = page_event(page_id="../../etc/passwd")

    answer = await api.post("events/", [page_event(), page_event(), bad, page_event()])

    assert answer.status_code == 422
    assert answer.json()["field"] == "2.data.page.id"
    for model in (Event, Project, Workflow, Execution):
        assert await count(api, model) == 0


async def test_more_than_500_events_at_once_are_refused(api: Api) -> None:
    answer = await api.post("events/", [page_event(page_id=f"page-{number}") for number in range(501)])

    assert answer.status_code == 422
    assert "500" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../p", "a\\b", "a\x00b", "x" * 129, "a\nb", 7, None, []])
async def test_a_project_or_page_id_that_is_no_plain_name_is_refused(api: Api, name: Any) -> None:
    project = await api.post("events/", page_event(project_id=name))
    page = await api.post("events/", page_event(page_id=name))

    assert (project.status_code, project.json()["field"]) == (422, "data.project_id")
    assert (page.status_code, page.json()["field"]) == (422, "data.page.id")


async def test_names_of_any_script_and_hostile_looking_text_are_kept_as_they_are(api: Api) -> None:
    event = page_event(project_id="projet-é'; DROP TABLE events; --", page_id="<b>页<b>")
    event["data"]["page"]["name"] = "\"'; --\r\n<script>"

    [answer] = (await api.post("events/", event)).json()["events"]

    stored = await api.stored(answer["executions"][0]["id"])
    assert stored.project_id == event["data"]["project_id"]
    assert stored.trigger_data["page"]["name"] == event["data"]["page"]["name"]


RUBBISH = [
    b"",
    b"null",
    b"7",
    b'"page.updated"',
    b"{}",
    b"[[]]",
    b"[null]",
    b"{",
    b"NaN",
    b'{"type": NaN}',
    b"\xff\xfe\x00",
    b"[" * 200_000,
    b'{"a":' * 900 + b"1" + b"}" * 900,
    b'{"type": "page.updated", "data": []}',
    b'{"type": "page.updated", "data": {"project_id": "p"}}',
    b'{"type": "page.updated", "data": {"project_id": "p", "page": []}}',
    b'{"type": "x\\ny", "data": {"project_id": "p"}}',
    b'{"type": "x", "data": {"project_id": "p", "deep": ' + b"[" * 900 + b"]" * 900 + b"}}",
    b'{"type": "x", "data": {"project_id": "p", "nul": "\\u0000"}}',
    b'{"type": "x", "data": {"project_id": "p", "\\u0000": 1}}',
    b'{"type": "x", "data": {"project_id": "p", "half": "\\ud800"}}',
    b'{"type": "x", "data": {"project_id": "p", "large": 1e999}}',
    b'{"type": "x", "data": {"project_id": "p"}, "id": "a b"}',
    b'{"type": "x", "data": {"project_id": "p"}, "id": 7}',
    b'{"type": "x", "data": {"project_id": "p"}, "timestamp": "yesterday"}',
    b'{"type": "x", "data": {"project_id": "p"}, "timestamp": "2026-01-15T10:30:00"}',
    b'{"type": "x", "data": {"project_id": "p"}, "timestamp": 1e30}',
]


@pytest.mark.parametrize("body", RUBBISH, ids=range(len(RUBBISH)))
async def test_rubbish_is_refused_as_a_problem(api: Api, body: bytes) -> None:
    answer = await api.client.post("events/", content=body)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert await count(api, Event) == 0


ODD = [
    {"timestamp": "0001-01-01T00:00:00+14:00"},
    {"timestamp": "9999-12-31T23:59:59-14:00"},
    {"timestamp": 0},
    {"received_at": "2999-01-01T00:00:00Z", "timestamp": "2999-01-01T00:00:00Z"},
    {"unknown": {"key": 1}},
]


@pytest.mark.parametrize("more", ODD, ids=range(len(ODD)))
async def test_an_odd_event_is_accepted_or_refused_but_never_an_error_of_ours(api: Api, more: dict[str, Any]) -> None:
    answer = await api.post("events/", page_event(**more))

    assert answer.status_code in (202, 422)


async def test_a_sender_cannot_make_an_event_that_is_newer_than_now(api: Api) -> None:
    future = "2999-01-01T00:00:00Z"
    answer = await api.post("events/", page_event(timestamp=future, received_at=future))

    stored = await api.stored(answer.json()["events"][0]["executions"][0]["id"])
    assert stored.occurred_at <= stored.created_at


@pytest.mark.parametrize("number", ["9223372036854775807", "1e300", "-1", "1.5", "true", '"7"', "null"])
async def test_a_version_of_any_kind_is_accepted(api: Api, number: str) -> None:
    page = f'{{"id": "home", "version": {number}}}'
    body = f'{{"type": "page.updated", "data": {{"project_id": "p1", "page": {page}}}}}'

    assert (await api.client.post("events/", content=body)).status_code == 202


async def test_the_answer_to_a_publish_does_not_wait_for_prefect(api: Api) -> None:
    answer = await api.post("events/", {"type": "project.published", "data": {"project_id": "p1"}})

    [event] = answer.json()["events"]
    assert [one["status"] for one in event["executions"]] == ["PENDING"]
