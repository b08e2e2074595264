"""Trying executions again, one or many, and answering approvals."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import StateType

from automation import control
from automation.models import DeadLetter, Status, StepExecution, Wait, Workflow, WorkflowStep, WorkflowVersion, utc_now
from automation.models.recovery_queries import dead_letter
from tests.integration.api.serving import Api
from tests.integration.flows import carry, run

HOUR = timedelta(hours=1)


async def failed_at_the_second(api: Api, **values: Any) -> UUID:
    """An execution of three steps that failed at the second of them."""
    workflow_id = await api.workflow()
    names = ("one", "two", "three")
    steps = [
        {
            "id": str(uuid4()), "identifier": name, "step_type": name.upper(), "order": number, "depends_on": [],
            "config": {}, "conditions": {}, "is_required": True,
        }
        for number, name in enumerate(names, start=1)
    ]  # fmt: skip
    values = {"workflow_version": 1, "attempt": 1, "failed_step": "two", "completed_at": utc_now(), **values}
    id_ = await api.execution(workflow_id, Status.FAILED, **values)
    async with api.database.transaction() as session:
        definition = {"name": "w", "config": {}, "steps": steps}
        session.add(WorkflowVersion(workflow_id=workflow_id, version=1, definition=definition))
        for name, status in zip(names, (Status.COMPLETED, Status.FAILED, Status.SKIPPED), strict=True):
            of_step = {"identifier": name, "step_type": name.upper(), "order": 1, "status": status}
            session.add(StepExecution(execution_id=id_, **of_step, result={"from": name}))
        await session.flush()
        await dead_letter(session, [id_])
    return id_


async def statuses(api: Api, id_: UUID) -> dict[str, str]:
    found = (await api.get(f"executions/{id_}/")).json()
    return {step["identifier"]: step["status"] for step in found["steps"]}


# --- one ----------------------------------------------------------------------------------------------------


async def test_a_retry_goes_on_where_it_failed_and_keeps_who_asked_and_why(api: Api) -> None:
    id_ = await failed_at_the_second(api)

    answer = await api.post(f"executions/{id_}/retry/", {"reason": "Runtime is back"})

    assert (answer.status_code, answer.json()["status"]) == (202, "RETRYING")
    assert await statuses(api, id_) == {"one": "COMPLETED", "two": "PENDING", "three": "PENDING"}
    (attempt,) = (await api.get(f"executions/{id_}/")).json()["attempts"]
    assert [attempt[name] for name in ("status", "failed_step", "asked_by", "reason", "from_step")] == [
        "FAILED", "two", "api", "Runtime is back", "",
    ]  # fmt: skip
    async with api.database.transaction() as session:
        letter = await session.get_one(DeadLetter, id_)
    assert letter.redriven_by == "api"


async def test_a_retry_from_a_step_runs_it_and_what_waits_for_it_anew(api: Api) -> None:
    id_ = await failed_at_the_second(api)

    answer = await api.post(f"executions/{id_}/retry/", {"from_step": "one"})

    assert answer.status_code == 202
    assert set((await statuses(api, id_)).values()) == {"PENDING"}
    assert (await api.get(f"executions/{id_}/")).json()["attempts"][0]["from_step"] == "one"


async def test_a_retry_from_the_start_takes_another_input(api: Api) -> None:
    id_ = await failed_at_the_second(api, trigger_data={"project_id": "p1", "input": {"n": 1}})

    answer = await api.post(f"executions/{id_}/retry/", {"from_start": True, "input": {"n": 2}})

    assert answer.status_code == 202
    assert (await api.stored(id_)).trigger_data == {"project_id": "p1", "input": {"n": 2}}
    assert (await api.get(f"executions/{id_}/")).json()["attempts"][0]["from_step"] == "*"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], ""),
        ({"from_stepp": "one"}, "from_stepp"),
        ({"from_step": ""}, "from_step"),
        ({"from_step": 3}, "from_step"),
        ({"from_step": "nowhere"}, "from_step"),
        ({"from_step": "one", "from_start": True}, "from_step"),
        ({"from_start": "yes"}, "from_start"),
        ({"input": {"n": 2}}, "input"),
        ({"from_start": True, "input": [1]}, "input"),
        ({"from_start": True, "input": {"a\u0000": 1}}, "input"),
        ({"reason": "a\u0000b"}, "reason"),
        ({"reason": "x" * 2001}, "reason"),
    ],
)
async def test_a_wrong_wish_is_refused_and_changes_nothing(api: Api, body: object, field: str) -> None:
    id_ = await failed_at_the_second(api)

    answer = await api.post(f"executions/{id_}/retry/", body)

    assert answer.status_code == 422
    assert answer.json().get("field", "").partition(".")[0] == field
    assert (await api.stored(id_)).status == Status.FAILED


async def test_a_second_retry_is_a_conflict_and_not_a_second_run(api: Api) -> None:
    id_ = await failed_at_the_second(api)

    first, second = await api.post(f"executions/{id_}/retry/"), await api.post(f"executions/{id_}/retry/")

    assert (first.status_code, second.status_code) == (202, 409)
    assert len((await api.get(f"executions/{id_}/")).json()["attempts"]) == 1


# --- many ---------------------------------------------------------------------------------------------------


async def test_many_are_retried_by_what_they_have_in_common(api: Api) -> None:
    publish, save = await api.workflow(kind="publish"), await api.workflow("p2", kind="auto-save")
    now = utc_now()
    mine = await api.execution(publish, Status.FAILED, completed_at=now)
    long_ago = await api.execution(publish, Status.FAILED, completed_at=now - 5 * HOUR)
    elsewhere = await api.execution(save, Status.FAILED, completed_at=now)
    cancelled = await api.execution(publish, Status.CANCELLED, completed_at=now)
    done = await api.execution(publish, Status.COMPLETED, completed_at=now)

    async def retried(**body: Any) -> list[str]:
        answer = await api.post("executions/retry/", body)
        assert answer.status_code == 202, answer.text
        assert (answer.json()["count"], answer.json()["left"]) == (len(answer.json()["executions"]), 0)
        return [*answer.json()["executions"]]

    since = (now - HOUR).isoformat()
    assert await retried(status="FAILED", kind="publish", since=since, reason="it is back") == [str(mine)]
    assert await retried(status="FAILED", project_id="p2", workflow_id=str(save)) == [str(elsewhere)]
    assert await retried(status="FAILED", ids=[str(long_ago), str(done), str(uuid4())]) == [str(long_ago)]
    assert await retried(status="FAILED") == []
    assert await retried(status="CANCELLED") == [str(cancelled)]
    assert (await api.stored(done)).status == Status.COMPLETED
    assert (await api.get(f"executions/{mine}/")).json()["attempts"][0]["reason"] == "it is back"


async def test_what_cannot_be_tried_again_by_itself_is_left_out(api: Api) -> None:
    workflow_id = await api.workflow()
    parent = await api.execution(workflow_id, Status.FAILED)
    await api.execution(workflow_id, Status.FAILED, parent_id=parent, parent_step="x")
    await api.execution(workflow_id, Status.CANCELLED, error_code="SKIPPED")
    archived = await api.workflow()
    await api.execution(archived, Status.FAILED)
    async with api.database.transaction() as session:
        (await session.get_one(Workflow, archived)).archived_at = utc_now()

    failed = (await api.post("executions/retry/", {"status": "FAILED"})).json()
    cancelled = (await api.post("executions/retry/", {"status": "CANCELLED"})).json()

    assert failed == {"count": 1, "executions": [str(parent)], "left": 0}
    assert cancelled == {"count": 0, "executions": [], "left": 0}


async def test_a_call_takes_so_many_the_oldest_first_and_says_how_many_are_left(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "REDRIVEN_AT_ONCE", 2)
    ids = await api.executions(await api.workflow(), 5, status=Status.FAILED)

    calls = [(await api.post("executions/retry/", {"status": "FAILED"})).json() for _ in range(3)]

    assert [call["left"] for call in calls] == [3, 1, 0]
    assert [id_ for call in calls for id_ in call["executions"]] == [str(id_) for id_ in ids[::-1]]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "status"),
        ({"status": "COMPLETED"}, "status"),
        ({"status": "FAILED", "ids": ["x"]}, "ids"),
        ({"status": "FAILED", "ids": [str(UUID(int=n)) for n in range(1001)]}, "ids"),
        ({"status": "FAILED", "since": "2026-01-15T10:30:00"}, "since"),
        ({"status": "FAILED", "since": "0001-01-01T00:00:00+14:00"}, "since"),
        ({"status": "FAILED", "kind": "a\nb"}, "kind"),
        ({"status": "FAILED", "limit": 3}, "limit"),
    ],
)
async def test_a_wrong_wish_for_many_is_refused(api: Api, body: object, field: str) -> None:
    answer = await api.post("executions/retry/", body)

    assert answer.status_code == 422
    assert answer.json()["field"].partition(".")[0] == field


# --- approvals ----------------------------------------------------------------------------------------------


async def asking(api: Api, *identifiers: str) -> UUID:
    """An execution that waits for approvals."""
    id_ = await api.execution(await api.workflow(), Status.WAITING)
    async with api.database.transaction() as session:
        for name in identifiers:
            session.add(Wait(execution_id=id_, identifier=name, kind="approval", message="publish?"))
            waiting = {"identifier": name, "step_type": "APPROVAL", "order": 1, "status": Status.WAITING}
            session.add(StepExecution(execution_id=id_, **waiting))
    return id_


async def test_an_approval_is_recorded_with_who_and_why_and_the_execution_goes_on(api: Api) -> None:
    id_ = await asking(api, "ask")

    answer = await api.post(f"executions/{id_}/approve/", {"approve": True, "comment": "fine", "by": "Ana"})

    assert (answer.status_code, answer.json()["status"]) == (202, "PENDING")
    found = (await api.get(f"executions/{id_}/")).json()
    (wait,) = found["waits"]
    assert [wait[name] for name in ("status", "resolved_by", "is_verified", "comment")] == [
        "RESOLVED", "api: Ana", True, "fine",
    ]  # fmt: skip
    assert answer.json()["wait"] == wait
    (step,) = found["steps"]
    assert step["status"] == "COMPLETED"
    assert step["result"] == {"approved": True, "by": "api: Ana", "comment": "fine", "verified": True}


async def test_a_refusal_is_recorded_too(api: Api) -> None:
    id_ = await asking(api, "ask")

    answer = await api.post(f"executions/{id_}/approve/", {"approve": False, "comment": "not on a Friday"})

    assert (answer.status_code, answer.json()["wait"]["status"]) == (202, "REJECTED")
    assert answer.json()["wait"]["resolved_by"] == "api"


async def test_the_same_answer_again_changes_nothing_and_another_one_is_a_conflict(api: Api) -> None:
    id_ = await asking(api, "ask")
    first = await api.post(f"executions/{id_}/approve/", {"approve": True, "by": "Ana"})

    again = await api.post(f"executions/{id_}/approve/", {"approve": True, "by": "Bo"})
    other = await api.post(f"executions/{id_}/approve/", {"approve": False})

    assert (again.status_code, other.status_code) == (200, 409)
    assert again.json() == first.json()


async def test_of_several_approvals_the_step_says_which(api: Api) -> None:
    id_ = await asking(api, "ask-a", "ask-b")

    unnamed = await api.post(f"executions/{id_}/approve/", {"approve": True})
    named = await api.post(f"executions/{id_}/approve/", {"approve": True, "step": "ask-b"})
    twice = await api.post(f"executions/{id_}/approve/", {"approve": True, "step": "ask-b"})

    assert unnamed.status_code == 409
    assert "ask-a, ask-b" in unnamed.json()["detail"]
    assert (named.status_code, named.json()["wait"]["identifier"], twice.status_code) == (202, "ask-b", 200)
    waits = (await api.get(f"executions/{id_}/")).json()["waits"]
    assert {one["identifier"]: one["status"] for one in waits} == {"ask-a": "WAITING", "ask-b": "RESOLVED"}


async def test_where_nobody_asks_an_answer_is_a_conflict(api: Api) -> None:
    running = await api.execution(await api.workflow(), Status.RUNNING)
    timed_out = await asking(api, "ask")
    async with api.database.transaction() as session:
        wait = (await session.scalars(Wait.table().select())).one_or_none()
        assert wait is not None
        await session.execute(Wait.table().update().values(status="RESOLVED", result={"timed_out": True}))

    for id_ in (running, timed_out):
        answer = await api.post(f"executions/{id_}/approve/", {"approve": True})
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
    assert (await api.post(f"executions/{uuid4()}/approve/", {"approve": True})).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "approve"),
        ({"approve": "yes"}, "approve"),
        ({"approve": 1}, "approve"),
        ({"approve": True, "by": ""}, "by"),
        ({"approve": True, "by": "Ana\nBo"}, "by"),
        ({"approve": True, "comment": 3}, "comment"),
        ({"approve": True, "who": "Ana"}, "who"),
        ("yes", ""),
    ],
)
async def test_a_wrong_answer_is_refused(api: Api, body: object, field: str) -> None:
    id_ = await asking(api, "ask")

    answer = await api.post(f"executions/{id_}/approve/", body)

    assert (answer.status_code, answer.json().get("field", "")) == (422, field)
    assert (await api.stored(id_)).status == Status.WAITING


@pytest.mark.usefixtures("deployed")
async def test_a_workflow_that_asks_goes_on_when_it_is_approved(api: Api, prefect: PrefectClient) -> None:
    """From begin to end: the run leaves its worker, the answer comes by the API, the run goes on."""
    steps = [
        WorkflowStep(identifier="ask", step_type="APPROVAL", order=1, config={"message": "publish?"}),
        WorkflowStep(identifier="after", step_type="SET_VARIABLES", order=2, config={"variables": {"x": 1}}),
    ]
    id_ = await api.execution(await api.workflow(kind="publish", steps=steps))
    flow_run = await carry(prefect, id_)
    assert (await run(prefect, flow_run)).type == StateType.PAUSED
    found = (await api.get(f"executions/{id_}/")).json()
    assert (found["status"], found["waits"][0]["message"], found["estimated_completion"]) == (
        "WAITING",
        "publish?",
        None,
    )
    assert [step["status"] for step in found["steps"]] == ["WAITING", "PENDING"]

    await api.post(f"executions/{id_}/approve/", {"approve": True, "by": "Ana"})
    state = await run(prefect, flow_run)

    assert state.type == StateType.COMPLETED
    found = (await api.get(f"executions/{id_}/")).json()
    assert [step["status"] for step in found["steps"]] == ["COMPLETED", "COMPLETED"]
    assert found["steps"][0]["result"]["by"] == "api: Ana"
