"""`/insights/`: figures in windows of time, and who sees which."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from automation.models import Status, utc_now
from automation.monitoring.fold import fold_all
from automation.monitoring.resources import Sampler
from tests.integration.api.serving import Api
from tests.integration.monitoring.ending import ended


async def results(api: Api, what: str, **params: Any) -> list[dict[str, Any]]:
    answer = await api.get(f"insights/{what}/", **params)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["results"])


async def some_past(api: Api) -> None:
    """Two projects; of the first a failure and a completed save, of the second three."""
    mine, other = await api.workflow("p1", kind="auto-save"), await api.workflow("p2", kind="auto-save")
    steps = {"SAVE_TO_RUNTIME": (Status.COMPLETED, 40.0)}
    await ended(api.database, mine, seconds=0.1, steps=steps)
    await ended(api.database, mine, Status.FAILED, error_code="NETWORK_ERROR", error_message="token=abc 'x' 17")
    for _ in range(3):
        await ended(api.database, other, seconds=0.1, steps=steps)
    await fold_all(api.database)


async def test_workflows_steps_and_errors_of_the_last_day(api: Api) -> None:
    await some_past(api)
    [save] = await results(api, "workflows")
    assert (save["kind"], save["completed"], save["failed"], save["success_rate"]) == ("auto-save", 4, 1, 0.8)
    assert 79 < save["p50_ms"] < 127
    [step] = await results(api, "steps", kind="auto-save")
    assert (step["step_type"], step["count"], step["mean_ms"]) == ("SAVE_TO_RUNTIME", 4, 40.0)
    [error] = await results(api, "errors")
    assert (error["count"], error["message"]) == (1, "token=[redacted] <text> <number>")
    assert (await api.get(f"executions/{error['execution_id']}/")).status_code == 200


async def test_a_window_is_given_by_its_length_or_its_ends_and_answered(api: Api) -> None:
    await some_past(api)
    answer = (await api.get("insights/workflows/", window="15m")).json()
    since, until = (datetime.fromisoformat(answer[name]) for name in ("since", "until"))
    assert until - since == timedelta(minutes=15)
    assert (datetime.now(UTC) - until).total_seconds() < 60

    assert await results(api, "workflows", until="2026-01-01T00:00:00Z") == []
    begin = (utc_now() - timedelta(hours=2)).isoformat()
    assert len(await results(api, "workflows", since=begin)) == 1


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"window": "91d"}, "since"),
        ({"window": "0m"}, "window"),
        ({"window": "5 minutes"}, "window"),
        ({"window": "999999d"}, "until"),
        ({"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}, "until"),
        ({"since": "2026-01-02T00:00:00"}, "since"),
        ({"until": "0.5"}, "until"),
        ({"until": "9999-12-31T23:59:59-12:00"}, "until"),
        ({"bucket": "90s"}, "bucket"),
        ({"kind": "a\x00b"}, "kind"),
    ],
)
async def test_a_wrong_window_is_refused_with_its_field(api: Api, params: dict[str, str], field: str) -> None:
    answer = await api.get("insights/workflows/", **params)
    assert (answer.status_code, answer.json()["field"]) == (422, field), answer.text


async def test_the_history_comes_beside_the_figures(api: Api) -> None:
    await some_past(api)
    answer = (await api.get("insights/workflows/", window="1h", bucket="1h")).json()
    assert sum(one["completed"] + one["failed"] for one in answer["history"]) == 5
    assert (await api.get("insights/workflows/")).json()["history"] is None

    answer = (await api.get("insights/workflows/", window="1h", bucket="1h", project_id="p2")).json()
    assert [sum(one[name] for one in answer["history"]) for name in ("completed", "failed")] == [3, 0]


async def test_a_project_s_figures_are_its_own(api: Api) -> None:
    await some_past(api)
    [save] = await results(api, "workflows", project_id="p2")
    assert (save["completed"], save["failed"]) == (3, 0)
    assert await results(api, "errors", project_id="p2") == []
    assert [one["count"] for one in await results(api, "steps", project_id="p2")] == [3]


async def test_a_key_for_a_project_sees_that_project_s_only(api: Api) -> None:
    await some_past(api)
    made = (await api.post("api-keys/", {"name": "p2", "scopes": ["read"], "project_id": "p2"})).json()
    headers = {"Authorization": f"Bearer {made['key']}"}
    async with httpx.AsyncClient(base_url=api.url, headers=headers) as client:
        answer = (await client.get("insights/workflows/", params={"bucket": "1h"})).json()
        [save] = answer["results"]
        assert (save["completed"], save["failed"]) == (3, 0)
        assert sum(one["completed"] + one["failed"] for one in answer["history"]) == 3
        assert (await client.get("insights/errors/")).json()["results"] == []
        assert (await client.get("insights/steps/", params={"project_id": "p1"})).json()["results"] == []
        assert (await client.get("insights/resources/")).status_code == 404


async def test_resources_come_by_process(api: Api) -> None:
    sampler = Sampler(api.database, "service", api.services.settings.home)
    for _ in range(2):
        await sampler.look()
    series = {one["role"]: one["points"] for one in await results(api, "resources")}
    assert series.keys() == {"service", "host", "database"}
    assert series["service"][-1]["memory_bytes"] > 10_000_000
    assert series["host"][-1]["disk_share"] > 0
    assert series["database"][-1]["connections"] >= 1
