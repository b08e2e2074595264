"""Alerts over HTTP, and the lists by which Studio draws its forms."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from jsonschema import Draft202012Validator

from automation.catalog import step_types
from automation.models import Alert, AuditEntry, utc_now
from automation.triggers.types import CONFIGS
from tests.integration.api.serving import Api
from tests.integration.rows import every, write


async def alert(api: Api, **values: Any) -> UUID:
    defaults = {"id": uuid4(), "rule": "r", "fingerprint": uuid4().hex, "severity": "CRITICAL", "message": "m"}
    made = Alert(**defaults | {"project_id": "p1"} | values)
    await write(api.database, made)
    return made.id


async def listed(api: Api, **filters: Any) -> list[str]:
    return [one["message"] for one in (await api.get("alerts/", **filters)).json()["results"]]


async def test_alerts_are_listed_the_newest_first_and_found_by_what_they_are(api: Api) -> None:
    now = utc_now()
    for number, values in enumerate(
        (
            {"rule": "disk"},
            {"severity": "WARNING"},
            {"project_id": "p2"},
            {"resolved_at": now},
            {"acknowledged_at": now},
        )
    ):
        await alert(api, message=str(number), created_at=now + timedelta(seconds=number), **values)

    assert await listed(api) == ["4", "3", "2", "1", "0"]
    assert await listed(api, rule="disk") == ["0"]
    assert await listed(api, severity="WARNING") == ["1"]
    assert await listed(api, project_id="p2") == ["2"]
    assert await listed(api, open=True) == ["2", "1", "0"]
    assert await listed(api, open=False) == ["4", "3"]


async def test_somebody_says_that_they_look_after_an_alert(api: Api) -> None:
    id_ = await alert(api)

    answer = await api.post(f"alerts/{id_}/acknowledge/", {"by": "Ada", "comment": "on it"})
    again = await api.post(f"alerts/{id_}/acknowledge/", {"by": "Bob"})

    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["acknowledged_by"], shown["comment"], shown["resolved_at"]) == ("api: Ada", "on it", None)
    assert again.json() == shown
    assert (await listed(api, open=True), await listed(api)) == ([], ["m"])
    assert [one.action for one in await every(api.database, AuditEntry)] == ["acknowledge"] * 2


async def test_without_a_body_the_key_says_who_it_was(api: Api) -> None:
    id_ = await alert(api)

    assert (await api.post(f"alerts/{id_}/acknowledge/")).json()["acknowledged_by"] == "api"
    assert (await api.post(f"alerts/{uuid4()}/acknowledge/")).status_code == 404


@pytest.mark.parametrize("body", [{"by": ""}, {"by": "a\nb"}, {"comment": "\x00"}, {"who": "x"}, [], "x"])
async def test_an_answer_that_cannot_be_kept_is_refused(api: Api, body: Any) -> None:
    id_ = await alert(api)

    assert (await api.post(f"alerts/{id_}/acknowledge/", body)).status_code == 422


async def test_an_alert_says_what_was_seen_what_to_do_and_where_to_read_on(api: Api) -> None:
    execution = await api.execution(await api.workflow())
    saw = {"threshold": "3 failures in a row", "value": 3, "limit": 3, "unit": "executions"}
    id_ = await alert(api, rule="repeated-failures", message="password=x", execution_id=execution, details=saw)

    shown = (await api.get(f"alerts/{id_}/")).json()

    assert (shown["state"], shown["threshold"], shown["count"]) == ("FIRING", "3 failures in a row", 1)
    assert shown["message"] == "password=[redacted]"
    assert shown["todo"].startswith("Read the error of the last execution")
    assert shown["links"]["execution"].endswith(f"/ops/executions/{execution}/")
    assert shown["links"]["runbook"] == "docs/runbook.md#repeated-failures"
    assert (await api.get(f"alerts/{uuid4()}/")).status_code == 404


async def test_alerts_are_found_by_their_state(api: Api) -> None:
    for state in ("PENDING", "FIRING", "RESOLVED"):
        await alert(api, state=state, message=state)
    assert await listed(api, state="RESOLVED") == ["RESOLVED"]
    assert (await api.get("alerts/", state="OPEN")).status_code == 422


async def test_an_alert_is_silenced_for_a_while_and_told_again(api: Api) -> None:
    id_ = await alert(api, rule="disk-full", fingerprint="host-1")

    answer = await api.post(f"alerts/{id_}/silence/", {"seconds": 3600, "comment": "new disk", "by": "Ada"})
    assert answer.status_code == 201, answer.text
    silence = answer.json()
    assert (silence["rule"], silence["fingerprint"], silence["created_by"]) == ("disk-full", "host-1", "api: Ada")

    listed_ = (await api.get("silences/")).json()["results"]
    assert [one["id"] for one in listed_] == [silence["id"]]
    assert (await api.client.delete(f"silences/{silence['id']}/")).status_code == 204
    assert (await api.client.delete(f"silences/{silence['id']}/")).status_code == 404
    assert (await api.get("silences/")).json()["results"] == []
    rows = [(one.action, one.object_type) for one in await every(api.database, AuditEntry)]
    assert sorted(rows) == [("create", "silence"), ("delete", "silence")]


async def test_a_rule_or_a_project_is_silenced(api: Api) -> None:
    until = (utc_now() + timedelta(hours=2)).isoformat()
    for body in ({"rule": "no-worker", "until": until}, {"project_id": "p1", "seconds": 60}, {"seconds": 60}):
        answer = await api.post("silences/", body)
        assert answer.status_code == 201, answer.text
        assert {name: answer.json()[name] for name in body if name in ("rule", "project_id")}.items() <= body.items()
    assert len((await api.get("silences/", project_id="p1")).json()["results"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"seconds": 60, "until": "2030-01-01T00:00:00Z"},
        {"seconds": 0},
        {"seconds": 1e9},
        {"until": "2020-01-01T00:00:00Z"},
        {"until": "2999-01-01T00:00:00Z"},
        {"until": "tomorrow"},
        {"seconds": 60, "rule": "a\nb"},
        {"seconds": 60, "who": "x"},
    ],
)
async def test_a_silence_without_a_bearable_end_is_refused(api: Api, body: Any) -> None:
    assert (await api.post("silences/", body)).status_code == 422
    assert (await api.get("silences/")).json()["results"] == []


async def test_the_rules_in_force_are_listed_with_their_thresholds(api: Api) -> None:
    rules = {one["name"]: one for one in (await api.get("alert-rules/")).json()["results"]}
    assert rules["repeated-failures"]["failures"] == 3
    assert (rules["cpu-saturated"]["above"], rules["cpu-saturated"]["for_seconds"]) == (0.8, 300)


# --- types -----------------------------------------------------------------------------------------------------


async def test_every_step_type_is_listed_with_the_schema_of_its_config(api: Api) -> None:
    types = {one["name"]: one for one in (await api.get("step-types/")).json()["results"]}

    assert set(types) == set(step_types())
    for one in types.values():
        Draft202012Validator.check_schema(one["schema"])
        assert one["description"]
        assert one["schema"]["type"] == "object"
        assert "$ref" not in str(one["schema"])
    request = types["HTTP_REQUEST"]["schema"]
    assert "url" in request["required"]
    assert Draft202012Validator(request).is_valid({"url": "https://example.com"})
    assert not Draft202012Validator(request).is_valid({"uri": "https://example.com"})


async def test_every_trigger_type_is_listed_with_what_it_hears(api: Api) -> None:
    types = {one["name"]: one for one in (await api.get("trigger-types/")).json()["results"]}

    assert set(types) == set(CONFIGS)
    for one in types.values():
        Draft202012Validator.check_schema(one["schema"])
        Draft202012Validator.check_schema(one["conditions_schema"])
        assert one["description"]
    assert types["ON_PAGE_CHANGE"]["event_types"] == ["page.created", "page.updated"]
    assert (types["EVENT"]["takes_event_type"], types["SCHEDULED"]["takes_event_type"]) == (True, False)
    assert "cron" in types["SCHEDULED"]["schema"]["required"]


async def test_a_form_that_follows_the_schemas_makes_a_workflow_that_is_taken(api: Api) -> None:
    """With what is needed and nothing else, as far as a schema can say it: WAIT needs one of two."""
    types = {one["name"]: one for one in (await api.get("step-types/")).json()["results"]}
    bare = [name for name, one in types.items() if not one["schema"].get("required") and name != "WAIT"]
    steps = [{"step_type": name, "config": {}} for name in bare]

    answer = await api.post("workflows/", {"name": "W", "project_id": "p1", "steps": steps})

    assert len(bare) > 5
    assert answer.status_code == 201, answer.text
