"""One execution with all that belongs to it, and the lists that lead to it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from automation.models import (
    Base,
    ExecutionAttempt,
    Status,
    StepAttempt,
    StepExecution,
    Wait,
    WorkflowStep,
    WorkflowVersion,
    utc_now,
)
from tests.integration.api.serving import Api

BEGUN = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)


def planned(identifier: str, order: int, *depends_on: str, **values: Any) -> WorkflowStep:
    step_type = identifier.upper().replace("-", "_")
    values = {"config": {}, "depends_on": list(depends_on), **values}
    return WorkflowStep(identifier=identifier, step_type=step_type, order=order, **values)


async def write(api: Api, *rows: Base) -> None:
    async with api.database.transaction() as session:
        session.add_all(rows)


async def version(api: Api, workflow_id: UUID, number: int, *steps: WorkflowStep) -> None:
    """A stored version of a workflow."""
    names = ("identifier", "step_type", "order", "depends_on", "is_required")
    shown = [{name: getattr(step, name) for name in names} | {"is_required": True} for step in steps]
    await write(
        api,
        WorkflowVersion(
            workflow_id=workflow_id, version=number, definition={"name": "w", "config": {}, "steps": shown}
        ),
    )


def did(execution_id: UUID, identifier: str, status: str = Status.COMPLETED, **values: Any) -> StepExecution:
    values = {"order": 1, "step_type": identifier.upper(), **values}
    return StepExecution(execution_id=execution_id, identifier=identifier, status=status, **values)


async def detail(api: Api, id_: UUID) -> dict[str, Any]:
    answer = await api.get(f"executions/{id_}/")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def by_name(found: dict[str, Any]) -> dict[str, Any]:
    return {step["identifier"]: step for step in found["steps"]}


# --- as the platform's description has it -------------------------------------------------------------------


async def test_a_running_execution_reads_as_in_the_platforms_description(api: Api) -> None:
    steps = (planned("validate-pages", 1), planned("generate-files", 2))
    workflow_id = await api.workflow(trigger_type="ON_PUBLISH")
    await version(api, workflow_id, 1, *steps)
    data = {"project_id": "p1", "user_id": "user-789"}
    started = utc_now() - timedelta(seconds=2)
    id_ = await api.execution(
        workflow_id,
        Status.RUNNING,
        trigger_type="ON_PUBLISH",
        trigger_data=data,
        started_at=started,
        workflow_version=1,
    )
    await write(
        api,
        did(id_, "validate-pages", step_type="VALIDATE_PAGES", duration_ms=500, result={"valid_pages": 5}),
        did(
            id_, "generate-files", Status.RUNNING, step_type="GENERATE_FILES", order=2, started_at=started,
            progress=0.6, progress_message="12 of 20 pages",
        ),
    )  # fmt: skip

    found = await detail(api, id_)

    assert found["workflow_id"] == str(workflow_id)
    assert (found["trigger"]["type"], found["trigger"]["data"]) == ("ON_PUBLISH", data)
    assert found["status"] == "RUNNING"
    first, second = found["steps"]
    shown = ("order", "type", "status", "duration_ms", "result")
    assert [first[name] for name in shown] == [1, "VALIDATE_PAGES", "COMPLETED", 500, {"valid_pages": 5}]
    assert [second[name] for name in ("order", "type", "status", "progress", "progress_message")] == [
        2, "GENERATE_FILES", "RUNNING", 0.6, "12 of 20 pages",
    ]  # fmt: skip
    assert 2000 <= second["duration_ms"] < 60_000
    assert found["estimated_completion"] is None


async def test_steps_that_are_not_reached_yet_are_listed_as_the_version_has_them(api: Api) -> None:
    workflow_id = await api.workflow(steps=[planned("other-now", 1)])
    await version(api, workflow_id, 3, planned("a", 1), planned("b", 2), planned("c", 2))
    id_ = await api.execution(workflow_id, Status.RUNNING, workflow_version=3)
    await write(api, did(id_, "a"))

    found = await detail(api, id_)

    assert found["workflow_version"] == 3
    assert [(one["identifier"], one["status"]) for one in found["steps"]] == [
        ("a", "COMPLETED"), ("b", "PENDING"), ("c", "PENDING"),
    ]  # fmt: skip


async def test_before_it_begins_it_has_the_steps_of_its_workflow_as_it_is(api: Api) -> None:
    id_ = await api.execution(await api.workflow(steps=[planned("a", 1), planned("b", 2)]))

    found = await detail(api, id_)

    assert found["workflow_version"] is None
    assert [(one["identifier"], one["status"], one["attempt"]) for one in found["steps"]] == [
        ("a", "PENDING", 0), ("b", "PENDING", 0),
    ]  # fmt: skip


async def test_when_it_has_ended_nothing_is_still_to_come(api: Api) -> None:
    workflow_id = await api.workflow()
    await version(api, workflow_id, 1, planned("a", 1), planned("b", 2))
    id_ = await api.execution(workflow_id, Status.CANCELLED, workflow_version=1, completed_at=BEGUN)
    await write(api, did(id_, "a"))

    found = await detail(api, id_)

    assert (by_name(found)["b"]["status"], by_name(found)["b"]["error_message"]) == (
        "SKIPPED", "not reached: the execution cancelled",
    )  # fmt: skip
    assert found["completed_at"] == "2026-01-15T10:30:00Z"


async def test_a_step_that_is_to_run_again_shows_nothing_of_its_earlier_try(api: Api) -> None:
    workflow_id = await api.workflow()
    await version(api, workflow_id, 1, planned("a", 1))
    id_ = await api.execution(workflow_id, Status.RETRYING, workflow_version=1)
    old = {"started_at": BEGUN, "completed_at": BEGUN, "duration_ms": 12.5, "error_message": "away", "attempt": 2}
    tried = StepAttempt(execution_id=id_, identifier="a", status=Status.FAILED, error_code="NETWORK_ERROR", **old)
    of_item = StepAttempt(execution_id=id_, identifier="a[3]", attempt=1, status=Status.FAILED)
    await write(api, did(id_, "a", Status.PENDING, **old), tried, of_item)

    step = by_name(await detail(api, id_))["a"]

    assert [step[name] for name in ("started_at", "duration_ms", "error_message", "attempt")] == [None, None, "", 0]
    assert step["attempts"] == [
        {
            "attempt": 2,
            "status": "FAILED",
            "started_at": "2026-01-15T10:30:00Z",
            "completed_at": "2026-01-15T10:30:00Z",
            "duration_ms": 12.5,
            "error_message": "away",
            "error_code": "NETWORK_ERROR",
        }
    ]


async def test_what_a_start_anew_left_of_another_version_is_not_shown(api: Api) -> None:
    workflow_id = await api.workflow()
    await version(api, workflow_id, 2, planned("new", 1))
    id_ = await api.execution(workflow_id, Status.RUNNING, workflow_version=2)
    await write(api, did(id_, "gone", Status.PENDING), did(id_, "new", Status.RUNNING, started_at=utc_now()))

    assert list(by_name(await detail(api, id_))) == ["new"]


# --- what belongs to it -------------------------------------------------------------------------------------


async def test_its_attempts_say_how_each_ended_who_asked_and_why(api: Api) -> None:
    id_ = await api.execution(await api.workflow(), Status.RUNNING, attempt=3)
    by_policy = ExecutionAttempt(
        execution_id=id_, attempt=1, status="FAILED", failed_step="save", error_code="NETWORK_ERROR",
        error_message="away", ended_at=BEGUN,
    )  # fmt: skip
    by_hand = ExecutionAttempt(execution_id=id_, attempt=2, status="FAILED", asked_by="api", reason="it is back")
    await write(api, by_policy)
    await write(api, by_hand)

    found = await detail(api, id_)

    assert found["attempt"] == 3
    first, second = found["attempts"]
    assert first == {
        "attempt": 1, "status": "FAILED", "failed_step": "save", "error_code": "NETWORK_ERROR",
        "error_message": "away", "asked_by": "", "reason": "", "from_step": "", "ended_at": "2026-01-15T10:30:00Z",
    }  # fmt: skip
    assert (second["asked_by"], second["reason"]) == ("api", "it is back")


async def test_it_says_what_it_waits_for(api: Api) -> None:
    id_ = await api.execution(await api.workflow(), Status.WAITING)
    due = BEGUN + timedelta(hours=1)
    waits = {"execution_id": id_, "identifier": "ask", "kind": "approval", "message": "publish?"}
    await write(api, Wait(**waits, created_at=BEGUN, due_at=due))

    found = await detail(api, id_)

    assert found["waits"] == [
        {
            "identifier": "ask", "kind": "approval", "status": "WAITING", "since": "2026-01-15T10:30:00Z",
            "due_at": "2026-01-15T11:30:00Z", "message": "publish?", "resolved_at": None, "resolved_by": "",
            "is_verified": False, "comment": "",
        }
    ]  # fmt: skip


async def test_parent_and_children_are_linked_both_ways(api: Api) -> None:
    outer, inner = await api.workflow(), await api.workflow()
    parent = await api.execution(outer, Status.WAITING)
    child = await api.execution(inner, Status.RUNNING, parent_id=parent, parent_step="run-it", depth=1)

    above, below = await detail(api, parent), await detail(api, child)

    assert above["parent"] is None
    assert above["children"] == [
        {"execution_id": str(child), "step": "run-it", "workflow_id": str(inner), "status": "RUNNING"}
    ]
    assert below["parent"] == {"execution_id": str(parent), "step": "run-it"}
    assert below["children"] == []


async def test_items_are_counted_under_their_step_and_listed_in_their_order(api: Api) -> None:
    id_ = await api.execution(await api.workflow(), Status.RUNNING)
    items = [
        did(id_, f"each[{number}]", Status.FAILED if number == 7 else Status.COMPLETED, result={"number": number})
        for number in (11, 2, 7, 0)
    ]
    others = did(id_, "each-other[1]"), did(id_, "each-other", order=2)
    await write(api, did(id_, "each", Status.RUNNING, started_at=utc_now()), *items, *others)

    steps = by_name(await detail(api, id_))
    answer = (await api.get(f"executions/{id_}/items/", step="each")).json()
    failed = (await api.get(f"executions/{id_}/items/", step="each", status="FAILED")).json()

    assert list(steps) == ["each", "each-other"]
    assert steps["each"]["items"] == {"COMPLETED": 3, "FAILED": 1}
    assert [one["identifier"] for one in answer["results"]] == ["each[0]", "each[2]", "each[7]", "each[11]"]
    assert (answer["results"][3]["result"], answer["next"]) == ({"number": 11}, None)
    assert [one["identifier"] for one in failed["results"]] == ["each[7]"]


@pytest.mark.parametrize(
    ("id_", "params", "status", "field"),
    [(None, {"step": "each"}, 404, None), (None, {}, 422, "step"), ("x", {"step": "each"}, 422, "id")],
)
async def test_items_of_nothing_are_refused(
    api: Api, id_: str | None, params: dict[str, str], status: int, field: str | None
) -> None:
    answer = await api.get(f"executions/{id_ or uuid4()}/items/", **params)

    assert (answer.status_code, answer.json().get("field")) == (status, field)


# --- when it will be done -----------------------------------------------------------------------------------

DIAMOND = (planned("a", 1), planned("b", 2, "a"), planned("c", 2, "a"), planned("d", 3, "b", "c"))


async def past_runs(api: Api, workflow_id: UUID, *seconds: dict[str, float | None]) -> None:
    """Completed runs, the oldest first, of which each step took so long; None: it was skipped."""
    for number, took in enumerate(seconds):
        ended = BEGUN + timedelta(hours=number)
        id_ = await api.execution(workflow_id, Status.COMPLETED, completed_at=ended, workflow_version=1)
        await write(
            api,
            *(
                did(id_, name, Status.SKIPPED if one is None else Status.COMPLETED, duration_ms=one and one * 1000)
                for name, one in took.items()
            ),
        )


async def running(api: Api, *past: dict[str, float | None], **values: Any) -> tuple[UUID, datetime]:
    """An execution of the diamond of which `a` is done and `b` runs for 10 s, and when that was."""
    workflow_id = await api.workflow()
    await version(api, workflow_id, 1, *DIAMOND)
    await past_runs(api, workflow_id, *past)
    id_ = await api.execution(workflow_id, **{"status": Status.RUNNING, "workflow_version": 1, **values})
    now = utc_now()
    begun = did(id_, "b", Status.RUNNING, started_at=now - timedelta(seconds=10))
    await write(api, did(id_, "a"), begun)
    return id_, now


async def seconds_left(api: Api, id_: UUID, since: datetime) -> float | None:
    at = (await detail(api, id_))["estimated_completion"]
    return None if at is None else (datetime.fromisoformat(at) - since).total_seconds()


async def test_the_end_is_estimated_from_the_medians_along_the_longest_way(api: Api) -> None:
    usual: dict[str, float | None] = {"a": 999, "b": 60, "c": 20, "d": 30}
    id_, now = await running(api, usual, usual, usual | {"b": 9000.0}, usual | {"b": 1.0}, usual)

    left = await seconds_left(api, id_, now)

    assert left is not None
    assert 80 <= left < 85  # 60 - 10 of b, then 30 of d; c is done beside them


async def test_under_five_past_runs_of_a_step_nothing_is_estimated(api: Api) -> None:
    usual: dict[str, float | None] = {"a": 1, "b": 60, "c": 20, "d": 30}
    few, now = await running(api, *[usual] * 4)
    without_d = {name: took for name, took in usual.items() if name != "d"}
    new_step, _ = await running(api, *[usual] * 4, *[without_d] * 6)

    assert await seconds_left(api, few, now) is None
    assert await seconds_left(api, new_step, now) is None


async def test_a_step_that_is_skipped_as_a_rule_takes_no_time(api: Api) -> None:
    id_, now = await running(api, *[{"b": 60, "c": 20, "d": None}] * 4, {"b": 60, "c": 20, "d": 30})

    left = await seconds_left(api, id_, now)

    assert left is not None
    assert 50 <= left < 55


@pytest.mark.parametrize("status", ["WAITING", "COMPLETED", "FAILED", "CANCELLED"])
async def test_what_waits_or_has_ended_has_no_estimate(api: Api, status: str) -> None:
    id_, now = await running(api, *[{"b": 60, "c": 20, "d": 30}] * 5, status=status)

    assert await seconds_left(api, id_, now) is None


async def test_what_is_to_be_cancelled_has_no_estimate(api: Api) -> None:
    id_, now = await running(api, *[{"b": 60, "c": 20, "d": 30}] * 5, cancel_requested_at=BEGUN)

    assert await seconds_left(api, id_, now) is None
    assert (await detail(api, id_))["cancel_requested_at"] == "2026-01-15T10:30:00Z"


async def test_only_the_last_hundred_runs_count(api: Api) -> None:
    old, new = {"b": 9000.0, "c": 1.0, "d": 1.0}, {"b": 60.0, "c": 20.0, "d": 30.0}
    id_, now = await running(api, *[old] * 120, *[new] * 100)

    left = await seconds_left(api, id_, now)

    assert left is not None
    assert 80 <= left < 85


# --- the list -----------------------------------------------------------------------------------------------


async def test_the_list_is_narrowed_by_kind_parent_and_degradation(api: Api) -> None:
    publish, save = await api.workflow(kind="publish"), await api.workflow(kind="auto-save")
    parent = await api.execution(publish)
    child = await api.execution(save, Status.COMPLETED, parent_id=parent, parent_step="x")
    degraded = await api.execution(save, Status.COMPLETED, degraded=True)

    async def listed(**params: Any) -> set[UUID]:
        answer = await api.get("executions/", **params)
        return {UUID(one["id"]) for one in answer.json()["results"]}

    assert await listed(kind="publish") == {parent}
    assert await listed(parent_id=parent) == {child}
    assert await listed(degraded=True) == {degraded}
    assert await listed(degraded=False, kind="auto-save") == {child}
