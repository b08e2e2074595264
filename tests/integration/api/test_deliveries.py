"""What operators see of what Studio was told, and telling it again."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from automation.callback.tell import DELIVERIES_CHANNEL
from automation.models import Delivery, utc_now
from tests.integration.api.serving import SECRET, Api, serve


@pytest.fixture
async def telling(api: Api) -> AsyncIterator[Api]:
    """The API of an installation whose Studio is to be told."""
    told = {"studio_callback_url": "http://127.0.0.1:9/", "studio_callback_secret": SecretStr(SECRET)}
    settings = api.services.settings.model_copy(update=told)
    async with serve(replace(api.services, settings=settings)) as served:
        yield served


async def delivery(api: Api, **values: Any) -> UUID:
    id_ = uuid4()
    defaults: dict[str, Any] = {"id": id_, "key": str(id_), "type": "execution.completed", "project_id": "p1"}
    async with api.database.transaction() as session:
        session.add(Delivery(**defaults | values))
    return id_


async def ids_of(api: Api, **params: Any) -> list[UUID]:
    return [UUID(one["id"]) for one in (await api.get("deliveries/", **params)).json()["results"]]


async def test_a_delivery_says_what_was_tried_and_what_came_of_it(api: Api) -> None:
    execution_id = uuid4()
    id_ = await delivery(api, execution_id=execution_id, attempts=2, last_status=503, last_error="answered 503")

    (one,) = (await api.get("deliveries/")).json()["results"]

    assert one == {
        "id": str(id_),
        "type": "execution.completed",
        "alert_id": None,
        "execution_id": str(execution_id),
        "project_id": "p1",
        "status": "PENDING",
        "attempts": 2,
        "due_at": one["due_at"],
        "last_status": 503,
        "last_error": "answered 503",
        "created_at": one["created_at"],
        "delivered_at": None,
    }


async def test_the_list_is_narrowed_and_newest_first(api: Api) -> None:
    ago = [utc_now() - timedelta(minutes=minutes) for minutes in range(4)]
    execution_id = uuid4()
    done = await delivery(api, created_at=ago[0], status="DELIVERED", delivered_at=ago[0])
    failed = await delivery(api, created_at=ago[1], status="FAILED", type="execution.failed", project_id="p2")
    mine = await delivery(api, created_at=ago[2], execution_id=execution_id)
    ready = await delivery(api, created_at=ago[3], type="workflows.ready")

    assert await ids_of(api) == [done, failed, mine, ready]
    assert await ids_of(api, status="FAILED") == [failed]
    assert await ids_of(api, type="workflows.ready") == [ready]
    assert await ids_of(api, project_id="p2") == [failed]
    assert await ids_of(api, execution_id=execution_id) == [mine]
    first = (await api.get("deliveries/", page_size=3)).json()
    second = (await api.client.get(first["next"])).json()
    assert [UUID(one["id"]) for one in second["results"]] == [ready]


@pytest.mark.parametrize("status", ["FAILED", "DELIVERED", "PENDING"])
async def test_it_is_sent_again_now_whatever_became_of_it(telling: Api, status: str) -> None:
    later = utc_now() + timedelta(hours=6)
    id_ = await delivery(telling, status=status, attempts=8, due_at=later, delivered_at=utc_now())
    woken: list[str] = []
    connection = await telling.database.listen()
    await connection.add_listener(DELIVERIES_CHANNEL, lambda *_: woken.append("woken"))

    answer = await telling.post(f"deliveries/{id_}/redeliver/")

    assert answer.status_code == 202
    body = answer.json()
    assert (body["id"], body["status"], body["attempts"], body["delivered_at"]) == (str(id_), "PENDING", 0, None)
    assert await connection.fetchval("SELECT due_at <= now() FROM deliveries")
    assert woken
    await connection.close()


async def test_what_does_not_exist_cannot_be_sent_again(telling: Api) -> None:
    assert (await telling.post(f"deliveries/{uuid4()}/redeliver/")).status_code == 404


async def test_without_an_address_nothing_is_sent_again(api: Api) -> None:
    id_ = await delivery(api, status="FAILED")

    answer = await api.post(f"deliveries/{id_}/redeliver/")

    assert answer.status_code == 409
    assert "AUTOMATION_STUDIO_CALLBACK_URL" in answer.json()["detail"]
    assert await ids_of(api, status="FAILED") == [id_]


@pytest.mark.parametrize("query", ["status=SENT", "type=execution.begun", "execution_id=x", "cursor=x"])
async def test_a_filter_that_cannot_be_is_refused(api: Api, query: str) -> None:
    answer = await api.client.get(f"deliveries/?{query}")

    assert (answer.status_code, answer.json()["field"]) == (422, query.partition("=")[0])
