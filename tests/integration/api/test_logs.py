"""The logs of all executions together, over HTTP: what narrows them, pages, who sees what, and what it costs."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from automation.models import ExecutionLog, Status, StepExecution, utc_now
from automation.models import log_queries as queries
from tests.integration.api.serving import Api
from tests.integration.api.test_keys import made
from tests.integration.rows import write

BEGIN = utc_now() - timedelta(hours=1)


async def logged(api: Api, id_: UUID | None, *lines: tuple[str, str], project: str | None = "p1", **more: Any) -> None:
    """Lines of a level and a message each, a second apart."""
    rows = [
        ExecutionLog(
            execution_id=id_,
            project_id=project,
            level=level,
            message=message,
            timestamp=BEGIN + timedelta(seconds=number),
            **more,
        )
        for number, (level, message) in enumerate(lines)
    ]
    await write(api.database, *rows)


async def messages(api: Api, path: str = "logs/", **params: Any) -> list[str]:
    answer = await api.get(path, **params)
    assert answer.status_code == 200, answer.text
    return [one["message"] for one in answer.json()["results"]]


async def test_lines_of_all_executions_are_listed_newest_first_in_the_platforms_form(api: Api) -> None:
    first = await api.execution(
        await api.workflow("p1"), request_id="req-1", traceparent=f"00-{'a' * 32}-{'b' * 16}-01"
    )
    await write(
        api.database,
        StepExecution(execution_id=first, identifier="save", step_type="SAVE", order=1, status=Status.RUNNING),
    )
    await logged(api, first, ("INFO", "saved"), step_identifier="save", details={"password": "hunter2", "files": 3})
    await logged(api, await api.execution(await api.workflow("p2")), ("ERROR", "token=hunter2"), project="p2")
    await logged(api, None, ("WARNING", "of a batch run"), project=None)

    answer = await api.get("logs/")

    assert [one["message"] for one in answer.json()["results"]] == ["of a batch run", "token=[redacted]", "saved"]
    batch, _, saved = answer.json()["results"]
    assert (batch["execution_id"], batch["workflow_id"], batch["project_id"]) == (None, None, None)
    assert (saved["execution_id"], saved["step"], saved["level"]) == (str(first), "SAVE", "INFO")
    assert saved["metadata"] == {"password": "[redacted]", "files": 3, "request_id": "req-1", "trace_id": "a" * 32}


async def test_they_are_narrowed_by_project_execution_level_step_text_and_time(api: Api) -> None:
    id_ = await api.execution(await api.workflow("p1"))
    other = await api.execution(await api.workflow("p2"))
    await logged(api, id_, ("DEBUG", "looking"), ("INFO", "100% Saved"), ("ERROR", "disk_full"), ("CRITICAL", "gone"))
    await logged(api, other, ("WARNING", "slow"), project="p2", step_identifier="call")

    assert await messages(api, project_id="p2") == ["slow"]
    assert await messages(api, execution_id=str(other)) == ["slow"]
    assert await messages(api, level="ERROR") == ["disk_full"]
    assert await messages(api, min_level="WARNING") == ["slow", "gone", "disk_full"]
    assert await messages(api, min_level="WARNING", project_id="p1") == ["gone", "disk_full"]
    assert await messages(api, step="call") == ["slow"]
    assert await messages(api, q="SAVED") == ["100% Saved"]
    assert await messages(api, q="%") == ["100% Saved"]
    assert await messages(api, q="k_f") == ["disk_full"]
    assert await messages(api, since=(BEGIN + timedelta(seconds=2)).isoformat()) == ["gone", "disk_full"]
    own = f"executions/{id_}/logs/"
    assert await messages(api, own, min_level="ERROR") == ["disk_full", "gone"]
    assert await messages(api, own, q="saved") == ["100% Saved"]


@pytest.mark.parametrize("given", [{"min_level": "LOUD"}, {"q": ""}, {"q": "\x00"}, {"since": "2026-01-01"}])
async def test_a_wrong_filter_is_named(api: Api, given: dict[str, str]) -> None:
    answer = await api.get("logs/", **given)

    assert (answer.status_code, answer.json()["field"]) == (422, next(iter(given)))


async def test_they_are_read_page_by_page_while_more_come(api: Api) -> None:
    id_ = await api.execution(await api.workflow())
    await logged(api, id_, *(("INFO", f"line {number}") for number in range(5)))

    first = (await api.get("logs/", page_size=2)).json()
    await logged(api, id_, ("INFO", "new"))
    second = (await api.client.get(first["next"])).json()
    third = (await api.client.get(second["next"])).json()

    assert [one["message"] for one in second["results"]] == ["line 2", "line 1"]
    assert [one["message"] for one in third["results"]] == ["line 0"]
    assert third["next"] is None
    back = (await api.client.get(second["previous"])).json()
    assert [one["message"] for one in back["results"]] == ["line 4", "line 3"]
    newest = (await api.client.get(back["previous"])).json()
    assert [one["message"] for one in newest["results"]] == ["new"]


async def test_a_page_looks_through_so_many_lines_and_says_where_to_go_on(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "SCANNED", 3)
    id_ = await api.execution(await api.workflow())
    await logged(api, id_, ("INFO", "wanted"), *(("INFO", f"line {number}") for number in range(7)))

    pages, link = [], "logs/?q=wanted"
    while link:
        page = (await api.client.get(link)).json()
        pages.append([one["message"] for one in page["results"]])
        link = page["next"]

    assert pages == [[], [], ["wanted"]]


async def test_a_key_of_a_project_sees_its_lines_only(api: Api) -> None:
    await logged(api, await api.execution(await api.workflow("p1")), ("INFO", "ours"))
    await logged(api, await api.execution(await api.workflow("p2")), ("INFO", "theirs"), project="p2")
    await logged(api, None, ("INFO", "the platform's"), project=None)
    key = await made(api, name="ours", scopes=["read"], project_id="p1")
    headers = {"Authorization": f"Bearer {key['key']}"}

    for params in ({}, {"project_id": "p1"}):
        answer = await api.client.get("logs/", params=params, headers=headers)
        assert [one["message"] for one in answer.json()["results"]] == ["ours"]
    assert (await api.client.get("logs/", params={"project_id": "p2"}, headers=headers)).json()["results"] == []
