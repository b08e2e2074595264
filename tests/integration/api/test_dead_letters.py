"""What failed for good: seeing it, and having it tried again, one or many."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from automation import control
from automation.models import DeadLetter, Status, utc_now
from automation.models.recovery_queries import dead_letter
from tests.integration.api.serving import Api

PROBLEM = {"error_code": "NETWORK_ERROR", "error_message": "studio.example answered 503", "failed_step": "deploy"}


async def failed(api: Api, workflow_id: UUID, **values: Any) -> UUID:
    """An execution that has failed for good."""
    values = {"completed_at": utc_now(), **PROBLEM, **values}
    id_ = await api.execution(workflow_id, Status.FAILED, **values)
    async with api.database.transaction() as session:
        await dead_letter(session, [id_])
    return id_


async def letter(api: Api, id_: UUID) -> DeadLetter:
    async with api.database.transaction() as session:
        return await session.get_one(DeadLetter, id_)


async def open_letters(api: Api, **params: Any) -> list[UUID]:
    return [UUID(one["execution_id"]) for one in (await api.get("dead-letters/", **params)).json()["results"]]


async def test_a_dead_letter_says_what_failed_where_and_why(api: Api) -> None:
    workflow_id = await api.workflow(kind="publish")
    id_ = await failed(api, workflow_id)

    (one,) = (await api.get("dead-letters/")).json()["results"]

    assert (
        one
        == {
            "execution_id": str(id_),
            "workflow_id": str(workflow_id),
            "workflow_name": "Workflow of p1",
            "project_id": "p1",
            "kind": "publish",
            "status": "FAILED",
            "created_at": one["created_at"],
            "redriven_at": None,
            "redriven_by": "",
        }
        | PROBLEM
    )


async def test_only_what_failed_becomes_one(api: Api) -> None:
    workflow_id = await api.workflow()
    others = [await api.execution(workflow_id, status) for status in ("COMPLETED", "CANCELLED", "RETRYING")]
    async with api.database.transaction() as session:
        await dead_letter(session, others)

    assert await open_letters(api) == []


async def test_the_list_is_narrowed_and_newest_first(api: Api) -> None:
    mine, other = await api.workflow("p1", kind="publish"), await api.workflow("p2", kind="generate")
    first = await failed(api, mine)
    second = await failed(api, mine, error_code="VALIDATION_ERROR")
    third = await failed(api, other)

    assert await open_letters(api) == [third, second, first]
    assert await open_letters(api, project_id="p1") == [second, first]
    assert await open_letters(api, kind="generate") == [third]
    assert await open_letters(api, error_code="VALIDATION_ERROR") == [second]
    page = (await api.get("dead-letters/", page_size=2)).json()
    rest = (await api.client.get(page["next"])).json()
    assert [UUID(one["execution_id"]) for one in rest["results"]] == [first]


async def test_one_that_is_redriven_is_tried_again_and_listed_no_more(api: Api) -> None:
    id_ = await failed(api, await api.workflow())

    answer = await api.post(f"dead-letters/{id_}/redrive/")

    assert (answer.status_code, answer.json()["status"]) == (202, "RETRYING")
    assert (await api.stored(id_)).status == Status.RETRYING
    assert await open_letters(api) == []
    (one,) = (await api.get("dead-letters/", redriven="true")).json()["results"]
    assert (one["execution_id"], one["status"], one["redriven_by"]) == (str(id_), "RETRYING", "api")
    again = await api.post(f"dead-letters/{id_}/redrive/")
    assert again.status_code == 409


async def test_a_retry_closes_it_too(api: Api) -> None:
    id_ = await failed(api, await api.workflow())
    await api.post(f"executions/{id_}/retry/")

    assert (await letter(api, id_)).redriven_at is not None


async def test_one_that_fails_again_is_open_again(api: Api) -> None:
    id_ = await failed(api, await api.workflow())
    await api.post(f"dead-letters/{id_}/redrive/")
    async with api.database.transaction() as session:
        execution = await session.get_one(type(await api.stored(id_)), id_)
        execution.status, execution.error_code = Status.FAILED, "DATABASE_ERROR"
        await session.flush()
        await dead_letter(session, [id_])

    one = await letter(api, id_)
    assert (one.redriven_at, one.redriven_by, one.error_code) == (None, "", "DATABASE_ERROR")
    assert await open_letters(api) == [id_]


async def test_many_are_redriven_by_a_filter(api: Api) -> None:
    mine, other = await api.workflow("p1", kind="publish"), await api.workflow("p2", kind="generate")
    one = await failed(api, mine)
    two = await failed(api, mine, error_code="DATABASE_ERROR")
    three = await failed(api, other)

    answer = await api.post("dead-letters/redrive/", {"error_code": "NETWORK_ERROR", "project_id": "p1"})
    assert (answer.status_code, answer.json()) == (202, {"count": 1, "executions": [str(one)], "left": 0})
    answer = await api.post("dead-letters/redrive/", {"ids": [str(two), str(uuid4()), str(one)]})
    assert answer.json() == {"count": 1, "executions": [str(two)], "left": 0}
    answer = await api.post("dead-letters/redrive/", {"kind": "generate"})
    assert answer.json()["executions"] == [str(three)]
    assert await open_letters(api) == []


async def test_a_call_takes_the_oldest_up_to_its_limit_and_says_what_is_left(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "REDRIVEN_AT_ONCE", 2)
    workflow_id = await api.workflow()
    ids = [await failed(api, workflow_id) for _ in range(5)]

    answers = [(await api.post("dead-letters/redrive/", {})).json() for _ in range(4)]

    assert [one["left"] for one in answers] == [3, 1, 0, 0]
    assert [one["executions"] for one in answers] == [
        [str(id_) for id_ in ids[start : start + 2]] for start in (0, 2, 4, 6)
    ]


async def test_what_belongs_to_a_deleted_workflow_stays_and_is_not_counted(api: Api) -> None:
    gone = await failed(api, await api.workflow(archived_at=utc_now(), is_active=False))

    answer = await api.post("dead-letters/redrive/", {})

    assert answer.json() == {"count": 0, "executions": [], "left": 0}
    assert await open_letters(api) == [gone]
    assert (await api.post(f"dead-letters/{gone}/redrive/")).status_code == 409


async def test_what_is_no_dead_letter_cannot_be_redriven(api: Api) -> None:
    cancelled = await api.execution(await api.workflow(), Status.CANCELLED)

    for id_ in (cancelled, uuid4()):
        assert (await api.post(f"dead-letters/{id_}/redrive/")).status_code == 404
    assert (await api.stored(cancelled)).status == Status.CANCELLED


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], ""),
        ("all", ""),
        ({"project": "p1"}, "project"),
        ({"project_id": ""}, "project_id"),
        ({"kind": "a\0"}, "kind"),
        ({"ids": ["x"]}, "ids.0"),
        ({"ids": [str(uuid4()) for _ in range(1001)]}, "ids"),
    ],
)
async def test_a_body_that_is_wrong_redrives_nothing(api: Api, body: object, field: str) -> None:
    id_ = await failed(api, await api.workflow(), completed_at=utc_now() - timedelta(hours=1))

    answer = await api.post("dead-letters/redrive/", body)

    assert (answer.status_code, answer.json().get("field", "")) == (422, field)
    assert await open_letters(api) == [id_]
