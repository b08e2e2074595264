from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from automation.models import ExecutionLog, FlowRun, Owed, Status, StepExecution, utc_now
from tests.integration.api.serving import Api


async def ids_of(api: Api, **params: Any) -> list[UUID]:
    return [UUID(one["id"]) for one in (await api.get("executions/", **params)).json()["results"]]


async def test_the_list_shows_executions_newest_first(api: Api) -> None:
    workflow = await api.workflow()
    ids = await api.executions(workflow, 3)

    answer = (await api.get("executions/")).json()

    assert [UUID(one["id"]) for one in answer["results"]] == ids
    assert (answer["next"], answer["previous"]) == (None, None)
    assert answer["results"][0] == {
        "id": str(ids[0]),
        "workflow_id": str(workflow),
        "workflow_name": "Workflow of p1",
        "project_id": "p1",
        "kind": "custom",
        "key": None,
        "status": "PENDING",
        "created_at": answer["results"][0]["created_at"],
        "started_at": None,
        "completed_at": None,
        "event_count": 1,
        "attempt": 0,
        "error_message": "",
        "error_code": "",
    }
    assert answer["results"][0]["created_at"].endswith("Z")


async def test_the_list_is_narrowed_by_project_workflow_and_status(api: Api) -> None:
    mine, other = await api.workflow("p1"), await api.workflow("p2")
    failed = await api.execution(mine, Status.FAILED)
    waiting = await api.execution(mine)
    elsewhere = await api.execution(other, Status.FAILED)

    assert set(await ids_of(api, project_id="p1")) == {failed, waiting}
    assert await ids_of(api, workflow_id=other) == [elsewhere]
    assert set(await ids_of(api, status="FAILED")) == {failed, elsewhere}
    assert await ids_of(api, status="FAILED", project_id="p1") == [failed]


async def test_pages_are_complete_forwards_and_backwards_with_their_filters(api: Api) -> None:
    workflow, other = await api.workflow(), await api.workflow("p2")
    ids = await api.executions(workflow, 7)
    await api.executions(other, 3)

    pages = [(await api.get("executions/", project_id="p1", page_size=3)).json()]
    while pages[-1]["next"]:
        pages.append((await api.client.get(pages[-1]["next"])).json())
    back = [pages[-1]]
    while back[-1]["previous"]:
        back.append((await api.client.get(back[-1]["previous"])).json())

    def read(several: list[dict[str, Any]]) -> list[list[UUID]]:
        return [[UUID(one["id"]) for one in page["results"]] for page in several]

    assert read(pages) == [ids[:3], ids[3:6], ids[6:]]
    assert read(back[::-1]) == read(pages)
    assert back[-1]["next"] is not None


async def test_pages_stay_the_same_while_executions_arrive(api: Api) -> None:
    workflow = await api.workflow()
    ids = await api.executions(workflow, 6)
    first = (await api.get("executions/", page_size=3)).json()

    new = await api.execution(workflow)
    second = (await api.client.get(first["next"])).json()

    assert [UUID(one["id"]) for one in second["results"]] == ids[3:]
    before = (await api.client.get(second["previous"])).json()
    assert [UUID(one["id"]) for one in before["results"]] == ids[:3]
    newest = (await api.client.get(before["previous"])).json()
    assert [UUID(one["id"]) for one in newest["results"]] == [new]


async def test_executions_of_one_instant_are_each_shown_once(api: Api) -> None:
    workflow, now = await api.workflow(), utc_now()
    ids = {await api.execution(workflow, created_at=now) for _ in range(9)}

    page = (await api.get("executions/", page_size=2)).json()
    seen = page["results"]
    while page["next"]:
        page = (await api.client.get(page["next"])).json()
        seen += page["results"]

    assert len(seen) == 9
    assert {UUID(one["id"]) for one in seen} == ids


async def test_an_execution_is_shown_with_trigger_steps_and_flow_run(api: Api) -> None:
    workflow, begun = await api.workflow(), utc_now()
    run = FlowRun(id=uuid4(), prefect_id=uuid4(), kind="custom", state="RUNNING")
    async with api.database.transaction() as session:
        session.add(run)
    id_ = await api.execution(
        workflow,
        Status.FAILED,
        trigger_type="ON_PUBLISH",
        event_type="project.published",
        trigger_data={"project_id": "p1"},
        flow_run_id=run.id,
        started_at=begun,
        error_message="COMPILE_PAGES: no pages",
        error_code="VALIDATION_ERROR",
        result={"steps": {}},
    )
    compile_pages = StepExecution(
        execution_id=id_,
        identifier="a",
        step_type="COMPILE_PAGES",
        order=1,
        status=Status.FAILED,
        started_at=begun,
        duration_ms=12.5,
        result={"pages": 0},
        error_message="no pages",
    )
    skipped = {"identifier": "b", "step_type": "DEPLOY", "order": 2, "status": Status.SKIPPED}
    deploy = StepExecution(execution_id=id_, **skipped)
    async with api.database.transaction() as session:
        session.add_all([deploy, compile_pages])

    answer = (await api.get(f"executions/{id_}/")).json()

    assert answer["workflow_name"] == "Workflow of p1"
    assert answer["trigger"] == {
        "type": "ON_PUBLISH",
        "event_type": "project.published",
        "data": {"project_id": "p1"},
    }
    assert answer["flow_run"] == {"id": str(run.prefect_id), "state": "RUNNING", "process": ""}
    assert (answer["error_message"], answer["error_code"]) == ("COMPILE_PAGES: no pages", "VALIDATION_ERROR")
    assert answer["result"] == {"steps": {}}
    assert [one["identifier"] for one in answer["steps"]] == ["a", "b"]
    assert answer["steps"][0] == {
        "identifier": "a",
        "type": "COMPILE_PAGES",
        "order": 1,
        "status": "FAILED",
        "started_at": answer["started_at"],
        "completed_at": None,
        "duration_ms": 12.5,
        "result": {"pages": 0},
        "progress": None,
        "progress_message": "",
        "error_message": "no pages",
        "error_code": "",
        "attempt": 1,
        "attempts": [],
        "items": {},
    }


async def test_an_execution_that_nothing_carries_yet_has_no_flow_run(api: Api) -> None:
    id_ = await api.execution(await api.workflow())

    assert (await api.get(f"executions/{id_}/")).json()["flow_run"] is None


@pytest.mark.parametrize("path", ["", "logs/", "retry/", "cancel/"])
async def test_an_unknown_execution_is_404(api: Api, path: str) -> None:
    call = api.post if path in ("retry/", "cancel/") else api.get

    answer = await call(f"executions/{uuid4()}/{path}")

    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")


async def log_of(api: Api, count: int) -> UUID:
    """An execution with `count` lines, a second apart, in turn INFO and ERROR; the last one is of no step."""
    id_ = await api.execution(await api.workflow())
    begin = utc_now() - timedelta(hours=1)
    async with api.database.transaction() as session:
        step = {"identifier": "save-to-runtime", "step_type": "SAVE_TO_RUNTIME", "order": 1}
        session.add(StepExecution(execution_id=id_, status=Status.RUNNING, **step))
        session.add_all(
            ExecutionLog(
                execution_id=id_,
                project_id="p1",
                step_identifier="save-to-runtime" if number < count - 1 else "",
                timestamp=begin + timedelta(seconds=number),
                level="ERROR" if number % 2 else "INFO",
                message=f"line {number}",
                duration_ms=1.5,
                details={"files_count": number},
            )
            for number in range(count)
        )
    return id_


async def test_a_log_has_the_lines_of_the_platforms_form_oldest_first(api: Api) -> None:
    id_ = await log_of(api, 3)

    answer = (await api.get(f"executions/{id_}/logs/")).json()

    assert [one["message"] for one in answer["results"]] == ["line 0", "line 1", "line 2"]
    assert (answer["next"], answer["previous"]) == (None, None)
    line = answer["results"][0]
    assert line == {
        "timestamp": line["timestamp"],
        "execution_id": str(id_),
        "workflow_id": line["workflow_id"],
        "project_id": "p1",
        "step": "SAVE_TO_RUNTIME",
        "level": "INFO",
        "message": "line 0",
        "duration_ms": 1.5,
        "metadata": {"files_count": 0},
    }
    assert answer["results"][2]["step"] == ""


async def test_a_log_is_narrowed_by_level_and_step(api: Api) -> None:
    id_ = await log_of(api, 5)

    async def messages(**params: str) -> list[str]:
        answer = await api.get(f"executions/{id_}/logs/", **params)
        return [one["message"] for one in answer.json()["results"]]

    assert await messages(level="ERROR") == ["line 1", "line 3"]
    assert await messages(step="SAVE_TO_RUNTIME", level="INFO") == ["line 0", "line 2"]
    assert await messages(step="save-to-runtime") == [f"line {number}" for number in range(4)]
    assert await messages(step="OTHER") == []
    assert (await api.get(f"executions/{id_}/logs/", level="LOUD")).json()["field"] == "level"


async def test_a_long_log_is_read_page_by_page_while_it_grows(api: Api) -> None:
    id_ = await log_of(api, 5)
    first = (await api.get(f"executions/{id_}/logs/", page_size=3)).json()
    async with api.database.transaction() as session:
        session.add(ExecutionLog(execution_id=id_, level="INFO", message="new"))

    second = (await api.client.get(first["next"])).json()

    assert [one["message"] for one in second["results"]] == ["line 3", "line 4", "new"]
    assert second["next"] is None
    back = (await api.client.get(second["previous"])).json()
    assert [one["message"] for one in back["results"]] == ["line 0", "line 1", "line 2"]


async def test_a_cursor_of_another_list_is_refused(api: Api) -> None:
    id_ = await log_of(api, 3)
    lines = (await api.get(f"executions/{id_}/logs/", page_size=1)).json()["next"]

    answer = await api.client.get(f"executions/?{lines.partition('?')[2]}")

    assert (answer.status_code, answer.json()["field"]) == (422, "cursor")


async def test_retry_and_cancel_are_answered_with_the_execution_as_it_is_then(api: Api) -> None:
    workflow = await api.workflow()
    failed, waiting, running = [
        await api.execution(workflow, status) for status in (Status.FAILED, Status.PENDING, Status.RUNNING)
    ]

    retried = await api.post(f"executions/{failed}/retry/")
    cancelled = await api.post(f"executions/{waiting}/cancel/")
    asked = await api.post(f"executions/{running}/cancel/")

    assert [one.status_code for one in (retried, cancelled, asked)] == [202, 202, 202]
    assert retried.json() == {"id": str(failed), "workflow_id": str(workflow), "status": "RETRYING"}
    assert cancelled.json()["status"] == "CANCELLED"
    assert asked.json()["status"] == "RUNNING"


async def test_a_state_that_does_not_allow_it_is_409(api: Api) -> None:
    done = await api.execution(await api.workflow(), Status.COMPLETED)

    for action in ("retry", "cancel"):
        answer = await api.post(f"executions/{done}/{action}/")
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
        assert "COMPLETED" in answer.json()["detail"]


async def test_an_execution_lists_what_is_owed_and_not_what_was_delivered(api: Api) -> None:
    id_ = await api.execution(await api.workflow(), Status.COMPLETED, degraded=True)
    async with api.database.transaction() as session:
        for status in ("OWED", "DELIVERED"):
            session.add(
                Owed(idempotency_key=f"{id_}:{status}", neighbour="insights", execution_id=id_, step="log-activity",
                     request={}, status=status, last_error="cannot be reached")
            )  # fmt: skip
    other = await api.execution(await api.workflow("p2"), Status.COMPLETED)

    answer = (await api.get(f"executions/{id_}/")).json()

    assert answer["degraded"] is True
    [owed] = answer["owed"]
    assert owed == {
        "neighbour": "insights",
        "step": "log-activity",
        "status": "OWED",
        "last_error": "cannot be reached",
        "due_at": owed["due_at"],
    }
    answer = (await api.get(f"executions/{other}/")).json()
    assert (answer["degraded"], answer["owed"]) == (False, [])
