"""What the buttons do: the same as the API, with a row in the audit."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from automation.models import (
    Alert,
    AuditEntry,
    DeadLetter,
    Execution,
    ExecutionAttempt,
    Silence,
    Status,
    StepExecution,
    Wait,
    WorkflowVersion,
    utc_now,
)
from automation.models.recovery_queries import dead_letter
from tests.integration.api.serving import Api
from tests.integration.ops.visiting import Visitor, key_of

STEPS = ("one", "two", "three")


async def failed_at_the_second(api: Api, **values: Any) -> UUID:
    """An execution of three steps that failed for good at the second of them."""
    workflow_id = await api.workflow(**values)
    steps = [
        {
            "id": str(uuid4()), "identifier": name, "step_type": name.upper(), "order": number, "depends_on": [],
            "config": {}, "conditions": {}, "is_required": True,
        }
        for number, name in enumerate(STEPS, start=1)
    ]  # fmt: skip
    failed = {"workflow_version": 1, "attempt": 1, "failed_step": "two", "error_code": "NETWORK_ERROR"}
    id_ = await api.execution(workflow_id, Status.FAILED, completed_at=utc_now(), **failed)
    async with api.database.transaction() as session:
        definition = {"name": "w", "config": {}, "steps": steps}
        session.add(WorkflowVersion(workflow_id=workflow_id, version=1, definition=definition))
        for name, status in zip(STEPS, (Status.COMPLETED, Status.FAILED, Status.SKIPPED), strict=True):
            session.add(
                StepExecution(execution_id=id_, identifier=name, step_type=name.upper(), order=1, status=status)
            )
        await session.flush()
        await dead_letter(session, [id_])
    return id_


async def waiting_for_approval(api: Api) -> UUID:
    id_ = await api.execution(await api.workflow(), Status.WAITING)
    async with api.database.transaction() as session:
        session.add(Wait(execution_id=id_, project_id="p1", identifier="ask", kind="approval", message="Go live?"))
        session.add(
            StepExecution(execution_id=id_, identifier="ask", step_type="APPROVAL", order=1, status=Status.WAITING)
        )
    return id_


async def alert(api: Api, **values: Any) -> UUID:
    async with api.database.transaction() as session:
        made = Alert(**{"rule": "mirror-lag", "severity": "WARNING", "message": "83 s behind", **values})
        session.add(made)
    return made.id


async def audit(api: Api) -> list[tuple[str, str, str]]:
    """Who did what with which object, oldest first, but for keys."""
    async with api.database.transaction() as session:
        rows = await session.scalars(
            select(AuditEntry).where(AuditEntry.object_type != "api-key").order_by(AuditEntry.id)
        )
        return [(one.actor, one.action, one.object_id) for one in rows]


async def statuses(api: Api, id_: UUID) -> dict[str, str]:
    async with api.database.transaction() as session:
        rows = await session.scalars(select(StepExecution).where(StepExecution.execution_id == id_))
        return {one.identifier: one.status for one in rows}


async def test_a_retry_goes_on_at_the_first_step_that_is_not_completed(operator: Visitor) -> None:
    id_ = await failed_at_the_second(operator.api)

    answer = await operator.press(f"executions/{id_}/retry/", reason="CRM is back", **{"from": ""})

    assert (answer.status_code, answer.headers["location"]) == (303, f"/ops/executions/{id_}/?done=retried")
    assert (await operator.api.stored(id_)).status == Status.RETRYING
    assert await statuses(operator.api, id_) == {"one": "COMPLETED", "two": "PENDING", "three": "PENDING"}
    assert await audit(operator.api) == [("api", "retry", str(id_))]
    async with operator.api.database.transaction() as session:
        (attempt,) = await session.scalars(select(ExecutionAttempt))
    assert (attempt.asked_by, attempt.reason) == ("api", "CRM is back")
    assert "CRM is back" in await operator.page(f"executions/{id_}/", done="retried")


@pytest.mark.parametrize("wanted", ["step:one", "*"])
async def test_a_retry_may_begin_further_up(operator: Visitor, wanted: str) -> None:
    id_ = await failed_at_the_second(operator.api)

    assert (await operator.press(f"executions/{id_}/retry/", **{"from": wanted})).status_code == 303

    assert (await statuses(operator.api, id_))["one"] == "PENDING"


async def test_the_page_offers_each_step_to_begin_at(operator: Visitor) -> None:
    page = await operator.page(f"executions/{await failed_at_the_second(operator.api)}/")

    assert [f'value="step:{name}"' in page for name in STEPS] == [True, True, True]


async def test_what_cannot_be_is_refused_in_words(operator: Visitor) -> None:
    failed, done = await failed_at_the_second(operator.api), await operator.api.workflow("p2")
    done_id = await operator.api.execution(done, Status.COMPLETED)
    cases = [
        (f"executions/{done_id}/retry/", {}, 409, "is COMPLETED"),
        (f"executions/{done_id}/cancel/", {}, 409, "nothing is left to cancel"),
        (f"executions/{done_id}/approve/", {"answer": "yes"}, 409, "waits for no approval"),
        (f"executions/{failed}/retry/", {"from": "nowhere"}, 422, "no place to begin"),
        (f"executions/{failed}/retry/", {"from": "step:nowhere"}, 422, "nowhere"),
        (f"executions/{failed}/retry/", {"reason": "x" * 2001}, 422, "at most 2000"),
        (f"executions/{failed}/approve/", {"answer": "perhaps"}, 422, "yes or no"),
        (f"executions/{failed}/approve/", {"answer": "yes", "step": "\0"}, 422, "NUL"),
        ("dead-letters/redrive/", {"project_id": "p1\0"}, 422, "NUL"),
        (f"executions/{uuid4()}/cancel/", {}, 404, "does not exist"),
        (f"dead-letters/{done_id}/redrive/", {}, 404, "no dead letter"),
        (f"alerts/{uuid4()}/acknowledge/", {}, 404, "does not exist"),
        (f"alerts/{await alert(operator.api)}/silence/", {"hours": "999999"}, 422, "expected one of"),
    ]
    for path, fields, status, words in cases:
        answer = await operator.press(path, **fields)
        assert (answer.status_code, words in answer.text) == (status, True), (path, answer.status_code, answer.text)
    assert await audit(operator.api) == []


async def test_cancelling_ends_what_waits(operator: Visitor) -> None:
    id_ = await operator.api.execution(await operator.api.workflow())

    assert (await operator.press(f"executions/{id_}/cancel/")).status_code == 303

    assert (await operator.api.stored(id_)).status == Status.CANCELLED
    assert await audit(operator.api) == [("api", "cancel", str(id_))]


async def test_cancelling_asks_the_engine_to_stop_what_runs_and_says_so(operator: Visitor) -> None:
    id_ = await operator.api.execution(await operator.api.workflow(), Status.RUNNING, started_at=utc_now())

    await operator.press(f"executions/{id_}/cancel/")

    assert (await operator.api.stored(id_)).cancel_requested_at is not None
    assert "cancel requested" in await operator.page(f"executions/{id_}/")
    assert "cancel requested" in await operator.page()


@pytest.mark.parametrize(("answer", "status"), [("yes", "RESOLVED"), ("no", "REJECTED")])
async def test_an_approval_is_answered_in_somebodys_name(operator: Visitor, answer: str, status: str) -> None:
    id_ = await waiting_for_approval(operator.api)
    assert "Go live?" in await operator.page("approvals/")

    fields = {"answer": answer, "step": "ask", "comment": "Looks good", "by": "Léa"}
    assert (await operator.press(f"executions/{id_}/approve/", **fields)).status_code == 303

    async with operator.api.database.transaction() as session:
        (wait,) = await session.scalars(select(Wait))
    assert (wait.status, wait.resolved_by, wait.comment, wait.is_verified) == (status, "api: Léa", "Looks good", True)
    assert await audit(operator.api) == [("api", "approve", str(id_))]
    assert "Go live?" not in await operator.page("approvals/")


async def test_a_dead_letter_is_redriven(operator: Visitor) -> None:
    id_ = await failed_at_the_second(operator.api)
    assert f"/ops/dead-letters/{id_}/redrive/" in await operator.page("dead-letters/")

    assert (await operator.press(f"dead-letters/{id_}/redrive/")).status_code == 303

    assert (await operator.api.stored(id_)).status == Status.RETRYING
    assert await audit(operator.api) == [("api", "redrive", str(id_))]
    assert str(id_) not in await operator.page("dead-letters/")
    assert str(id_) in await operator.page("dead-letters/", redriven="true")


async def test_all_of_a_list_are_redriven_and_no_others(operator: Visitor) -> None:
    meant = {await failed_at_the_second(operator.api) for _ in range(3)}
    other = await failed_at_the_second(operator.api, project_id="p2")

    fields = {"project_id": "p1", "kind": "", "error_code": "NETWORK_ERROR"}
    assert (await operator.press("dead-letters/redrive/", **fields)).status_code == 303

    async with operator.api.database.transaction() as session:
        left = await session.scalars(select(DeadLetter.execution_id).where(DeadLetter.redriven_at.is_(None)))
        assert left.all() == [other]
        assert set(await session.scalars(select(Execution.id).where(Execution.status == Status.RETRYING))) == meant
    assert {id_ for _, _, id_ in await audit(operator.api)} == {str(id_) for id_ in meant}


async def test_somebody_looks_after_an_alert_and_silences_it_for_a_night(operator: Visitor) -> None:
    id_ = await alert(operator.api)
    assert "83 s behind" in await operator.page()

    assert (await operator.press(f"alerts/{id_}/acknowledge/", comment="on it")).status_code == 303
    assert (await operator.press(f"alerts/{id_}/silence/", hours="8")).status_code == 303

    page = await operator.page("alerts/")
    assert "on it" in page
    assert "silenced until" in page
    async with operator.api.database.transaction() as session:
        (silence,) = await session.scalars(select(Silence))
    assert abs(silence.until - utc_now() - timedelta(hours=8)) < timedelta(minutes=1)
    assert [(actor, action) for actor, action, _ in await audit(operator.api)] == [
        ("api", "acknowledge"), ("api", "create"),
    ]  # fmt: skip
    assert (await operator.press(f"alerts/silences/{silence.id}/end/")).status_code == 303
    assert "silenced until" not in await operator.page("alerts/")


async def test_a_key_of_one_project_can_press_nothing_of_another(stranger: Visitor) -> None:
    api = stranger.api
    failed, waiting = await failed_at_the_second(api, project_id="p2"), await waiting_for_approval(api)
    other, letter = await alert(api, project_id="p1"), await failed_at_the_second(api, project_id="p1")
    key = await key_of(api, "execute", project_id="p3")
    await stranger.sign_in(key["key"])

    for path in (
        f"executions/{failed}/retry/", f"executions/{failed}/cancel/", f"executions/{waiting}/approve/",
        f"dead-letters/{letter}/redrive/", f"alerts/{other}/acknowledge/", f"alerts/{other}/silence/",
    ):  # fmt: skip
        assert (await stranger.press(path, answer="yes", hours="1")).status_code == 404, path
    assert (await stranger.press("dead-letters/redrive/")).status_code == 303
    assert (await stranger.press("dead-letters/redrive/", project_id="p1")).status_code == 303
    assert (await api.stored(letter)).status == Status.FAILED
    assert await audit(api) == []
