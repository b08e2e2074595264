"""`/metrics/`, as Prometheus scrapes it."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from automation.models import Status
from automation.monitoring.fold import fold_all
from tests.integration.api.serving import Api, page_event
from tests.integration.monitoring.ending import ended

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


async def scraped(api: Api) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = await api.get("metrics/")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_prometheus_is_answered_in_its_own_format(api: Api) -> None:
    for accept in (PROMETHEUS, "text/plain", "*/*", ""):
        answer = await api.client.get("metrics/", headers={"Accept": accept})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    refused = await api.client.get("metrics/", headers={"Accept": "application/json"})
    assert (refused.status_code, refused.json()["field"]) == (406, "accept")


async def test_what_ended_and_what_waits_is_told(api: Api) -> None:
    saves = await api.workflow(kind="auto-save")
    for status in (Status.COMPLETED, Status.COMPLETED, Status.FAILED):
        await ended(api.database, saves, status, error_code="NETWORK_ERROR" * (status == Status.FAILED))
    await api.execution(saves)
    await fold_all(api.database)

    found = await scraped(api)
    kind = ("kind", "auto-save")
    assert found["automation_executions_total", (kind, ("status", "COMPLETED"))] == 2
    assert found["automation_failures_total", (("error_code", "NETWORK_ERROR"), kind)] == 1
    assert found["automation_queue_length", (kind,)] == 1
    assert found["automation_dead_letters_open", (("error_code", "NETWORK_ERROR"),)] == 1
    assert found["automation_table_bytes", (("table", "workflow_executions"),)] > 0
    assert found["process_resident_memory_bytes", ()] > 10_000_000


async def test_refused_webhooks_are_counted_by_door_and_status(api: Api) -> None:
    async def refusals() -> dict[tuple[str, str], float]:
        return {
            (dict(labels)["door"], dict(labels)["status"]): value
            for (name, labels), value in (await scraped(api)).items()
            if name == "automation_webhook_refusals_total"
        }

    before = await refusals()
    assert (await api.webhook(page_event(), age=3600)).status_code == 401
    assert (await api.webhook(page_event(), id="fine")).status_code == 202
    async with httpx.AsyncClient(base_url=api.url) as stranger:
        gone = await stranger.post("webhooks/7e4c2b1e-0000-4000-8000-000000000000/", json={})
    assert gone.status_code == 404

    after = await refusals()
    more = {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}
    assert more == {("studio", "401"): 1, ("trigger", "404"): 1}


async def test_a_key_is_needed_and_one_for_a_project_finds_nothing(api: Api) -> None:
    await api.workflow("p1")
    made = await api.post("api-keys/", {"name": "mine", "scopes": ["admin"], "project_id": "p1"})
    assert made.status_code == 201, made.text
    async with httpx.AsyncClient(base_url=api.url) as client:
        assert (await client.get("metrics/")).status_code == 401
        headers = {"Authorization": f"Bearer {made.json()['key']}"}
        for path in ("metrics/", "insights/resources/"):
            assert (await client.get(path, headers=headers)).status_code == 404
