"""What holds for every address: slashes, media types, problems, ETags, idempotency keys, times."""

import asyncio
import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from httpx import Response
from sqlalchemy import update

from automation.api.idempotency import REPLAYED
from automation.models import Event, Execution, IdempotencyKey, Integration, utc_now
from tests.integration.api.serving import Api, page_event
from tests.integration.rows import every, write

STEP = {"step_type": "TRANSFORM", "config": {"output": {"n": 1}}}


async def make(api: Api, **body: Any) -> dict[str, Any]:
    given = {"name": "W", "project_id": "p1", "steps": [STEP], "triggers": [{"trigger_type": "WEBHOOK"}], **body}
    answer = await api.post("workflows/", given)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


# --- addresses and media types ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_without_its_slash_an_address_leads_on_with_method_and_body(api: Api, method: str) -> None:
    answer = await api.client.request(method, "workflows?kind=a%20b", content=b"{}")

    assert answer.status_code == 308
    assert answer.headers["location"] == "/api/automation/workflows/?kind=a%20b"


async def test_a_body_that_is_sent_on_by_a_redirect_arrives(api: Api) -> None:
    answer = await api.client.post("events", json=page_event(), follow_redirects=True)

    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("path", "method", "headers", "status", "type_"),
    [
        ("nothing/", "GET", {}, 404, "not-found"),
        (f"workflows/{uuid4()}/", "GET", {}, 404, "not-found"),
        ("workflows/", "DELETE", {}, 405, "method-not-allowed"),
        ("executions/retry/", "GET", {}, 405, "method-not-allowed"),
        ("workflows/", "GET", {"Accept": "text/html"}, 406, "not-acceptable"),
        ("workflows/", "GET", {"Accept": "application/json;q=0"}, 406, "not-acceptable"),
        ("workflows/", "POST", {"Content-Type": "text/xml"}, 415, "unsupported-media-type"),
        ("workflows/", "POST", {"Content-Type": "multipart/form-data; boundary=x"}, 415, "unsupported-media-type"),
        ("workflows/", "POST", {"Content-Type": "application/json; charset=utf-8"}, 422, "refused"),
        ("workflows/x/", "GET", {}, 422, "refused"),
        ("workflows/?page_size=201", "GET", {}, 422, "refused"),
        ("workflows/?is_active=perhaps", "GET", {}, 422, "refused"),
        ("workflows/?cursor=x", "GET", {}, 422, "refused"),
        ("workflows/", "GET", {"Authorization": "Bearer wrong"}, 401, "unauthorized"),
    ],
)
async def test_every_error_is_a_problem_of_a_stable_type(
    api: Api, path: str, method: str, headers: dict[str, str], status: int, type_: str
) -> None:
    answer = await api.client.request(method, path, headers=headers)

    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"/problems/{type_}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["detail"]


async def test_a_method_that_is_not_there_is_answered_with_those_that_are(api: Api) -> None:
    answers = [await api.client.request("OPTIONS", path) for path in ("workflows/", f"workflows/{uuid4()}/")]

    assert [one.headers["allow"] for one in answers] == ["GET, POST", "DELETE, GET, PATCH, PUT"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "text/html, application/json;q=0.5"},
        {"Accept": "application/*"},
        {"Accept": "application/problem+json"},
        {"Accept": ""},
    ],
)
async def test_who_takes_json_among_others_gets_it(api: Api, headers: dict[str, str]) -> None:
    assert (await api.client.get("workflows/", headers=headers)).status_code == 200


@pytest.mark.parametrize("type_", ["", "application/json", "application/x-www-form-urlencoded", "application/ld+json"])
async def test_json_is_taken_as_curl_and_others_send_it(api: Api, type_: str) -> None:
    answer = await api.post("events/", page_event(), **({"Content-Type": type_} if type_ else {}))

    assert answer.status_code == 202


async def test_times_are_utc_and_say_so(api: Api) -> None:
    await make(api)
    await api.post("events/", page_event())
    paths = ("workflows/", "triggers/", "events/", "executions/", "projects/", "audit/")

    texts = [(await api.get(path)).text for path in paths]

    times = re.findall(r'"(\d{4}-\d\d-\d\dT[^"]*)"', "".join(texts))
    assert len(times) > len(paths)
    assert [one for one in times if not one.endswith("Z")] == []


# --- who was faster --------------------------------------------------------------------------------------------


async def paths_of(api: Api) -> list[str]:
    """An integration, a step, a trigger and their workflow."""
    made = await make(api)
    integration = Integration(id=uuid4(), name="i", type="http", project_id="p1", config={}, is_active=True)
    integration.config = {"base_url": "https://example.com", "auth": "none"}
    await write(api.database, integration)
    return [
        f"integrations/{integration.id}/",
        f"steps/{made['steps'][0]['id']}/",
        f"triggers/{made['triggers'][0]['id']}/",
        f"workflows/{made['id']}/",
    ]


CHANGES: list[dict[str, Any]] = [{"is_active": False}, {"is_required": False}, {"is_active": False}, {"name": "X"}]


async def test_who_has_not_seen_the_last_change_overwrites_nothing(api: Api) -> None:
    for path, change in zip(await paths_of(api), CHANGES, strict=True):
        seen = await api.get(path)
        stale = {"If-Match": seen.headers["etag"]}

        first = await api.client.patch(path, json=change, headers=stale)
        late = await api.client.patch(path, json=change, headers=stale)
        put = await api.client.put(path, json=seen.json(), headers=stale)
        deleted = await api.client.delete(path, headers=stale)

        assert first.status_code == 200, first.text
        assert [one.status_code for one in (late, put, deleted)] == [412] * 3
        assert late.json()["type"] == "/problems/changed-since"
        assert (await api.get(path)).json() == first.json()
        assert (await api.get(path)).headers["etag"] == first.headers["etag"] != seen.headers["etag"]
        fresh = {"If-Match": f'"other", {first.headers["etag"]}'}
        assert (await api.client.delete(path, headers=fresh)).status_code == 204, path


async def test_without_if_match_or_with_a_star_the_last_one_wins(api: Api) -> None:
    for path, change in zip(await paths_of(api), CHANGES, strict=True):
        plain = await api.client.patch(path, json=change)
        star = await api.client.patch(path, json=change, headers={"If-Match": "*"})

        assert (plain.status_code, star.status_code) == (200, 200)


async def test_of_two_who_change_a_workflow_at_once_one_is_told_to_look_again(api: Api) -> None:
    made = await make(api)
    path = f"workflows/{made['id']}/"
    seen = (await api.get(path)).headers["etag"]

    async def rename(name: str) -> Response:
        return await api.client.patch(path, json={"name": name}, headers={"If-Match": seen})

    answers = await asyncio.gather(*(rename(f"name {number}") for number in range(8)))

    won = [one for one in answers if one.status_code == 200]
    assert sorted(one.status_code for one in answers) == [200] + [412] * 7
    assert (await api.get(path)).json()["name"] == won[0].json()["name"]


async def test_a_change_of_a_trigger_is_a_change_of_its_workflow(api: Api) -> None:
    made = await make(api)
    seen = (await api.get(f"workflows/{made['id']}/")).headers["etag"]

    await api.client.patch(f"triggers/{made['triggers'][0]['id']}/", json={"is_active": False})

    late = await api.client.patch(f"workflows/{made['id']}/", json={"name": "X"}, headers={"If-Match": seen})
    assert late.status_code == 412


async def test_a_secret_that_answers_hide_changes_the_etag(api: Api) -> None:
    step = {"step_type": "HTTP_REQUEST", "config": {"url": "https://a.example", "headers": {"Authorization": "one"}}}
    made = await make(api, steps=[step])
    path = f"steps/{made['steps'][0]['id']}/"
    seen = await api.get(path)

    step["config"] = {"url": "https://a.example", "headers": {"Authorization": "two"}}
    changed = await api.client.put(path, json=step)

    assert changed.json() == seen.json()
    assert changed.headers["etag"] != seen.headers["etag"]


# --- once ------------------------------------------------------------------------------------------------------


async def test_what_is_sent_again_under_its_key_is_answered_as_before_and_happens_once(api: Api) -> None:
    made = await make(api)
    path = f"workflows/{made['id']}/execute/"

    answers = await asyncio.gather(*(api.post(path, {"input": {"n": 1}}, **{"Idempotency-Key": "k"}) for _ in range(8)))

    assert {(one.status_code, one.content) for one in answers} == {(202, answers[0].content)}
    assert sum(one.headers.get(REPLAYED) == "true" for one in answers) == 7
    assert len(await every(api.database, Execution)) == 1


async def test_events_without_an_id_are_taken_in_once_under_their_key(api: Api) -> None:
    body = [page_event(page_id="a"), page_event(page_id="b")]

    answers = await asyncio.gather(*(api.post("events/", body, **{"Idempotency-Key": "k"}) for _ in range(4)))
    other = await api.post("events/", body[0], **{"Idempotency-Key": "k"})

    assert {(one.status_code, one.content) for one in answers} == {(202, answers[0].content)}
    assert len(await every(api.database, Event)) == 2
    assert (other.status_code, other.json()["field"]) == (422, "idempotency-key")


async def test_an_answer_stays_the_same_although_the_execution_goes_on(api: Api) -> None:
    made = await make(api)
    path = f"workflows/{made['id']}/execute/"
    first = await api.post(path, **{"Idempotency-Key": "k"})
    await api.post(f"executions/{first.json()['id']}/cancel/")

    again = await api.post(path, **{"Idempotency-Key": "k"})

    assert again.json() == first.json()


async def test_another_body_under_the_same_key_is_refused(api: Api) -> None:
    made = await make(api)
    path = f"workflows/{made['id']}/execute/"
    await api.post(path, {"input": {"n": 1}}, **{"Idempotency-Key": "k"})

    other = await api.post(path, {"input": {"n": 2}}, **{"Idempotency-Key": "k"})

    assert (other.status_code, other.json()["field"]) == (422, "idempotency-key")
    assert len(await every(api.database, Execution)) == 1


async def test_a_key_means_something_only_for_who_sent_it_and_where(api: Api) -> None:
    made = await make(api)
    body = {"name": "somebody", "scopes": ["execute"]}
    key = (await api.post("api-keys/", body)).json()["key"]
    workflow, step = f"workflows/{made['id']}/execute/", f"steps/{made['steps'][0]['id']}/execute/"

    for path, headers in ((workflow, {}), (step, {}), (workflow, {"Authorization": f"Bearer {key}"})):
        assert (await api.post(path, **{"Idempotency-Key": "k"}, **headers)).status_code == 202

    assert len(await every(api.database, Execution)) == 3


async def test_what_was_refused_can_be_sent_again_under_its_key(api: Api) -> None:
    made = await make(api, is_active=False)
    path = f"workflows/{made['id']}/execute/"
    refused = await api.post(path, **{"Idempotency-Key": "k"})
    await api.client.patch(f"workflows/{made['id']}/", json={"is_active": True})

    assert refused.status_code == 409
    assert (await api.post(path, **{"Idempotency-Key": "k"})).status_code == 202


async def test_after_a_day_a_key_can_be_used_anew(api: Api) -> None:
    made = await make(api)
    path = f"workflows/{made['id']}/execute/"
    first = await api.post(path, {"input": {}}, **{"Idempotency-Key": "daily"})
    async with api.database.transaction() as session:
        await session.execute(update(IdempotencyKey).values(created_at=utc_now() - timedelta(hours=25)))

    second = await api.post(path, {"input": {"n": 2}}, **{"Idempotency-Key": "daily"})

    assert second.status_code == 202
    assert second.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("key", ["", "a b", "é", "k" * 256])
async def test_a_key_that_is_none_is_refused(api: Api, key: str) -> None:
    made = await make(api)

    answer = await api.client.post(f"workflows/{made['id']}/execute/", headers=[("Idempotency-Key", key.encode())])

    assert (answer.status_code, answer.json()["field"]) == (422, "idempotency-key")


async def test_a_secret_is_rotated_once_under_its_key(api: Api) -> None:
    made = await make(api)
    path = f"triggers/{made['triggers'][0]['id']}/secret/"

    first, again = [await api.post(path, **{"Idempotency-Key": "k"}) for _ in range(2)]
    other = await api.post(path)

    assert first.json() == again.json() != other.json()
