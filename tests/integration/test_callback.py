"""Studio is told: what is told, that it arrives once whatever happens to either side, and what it looks like."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest
import uvicorn
from pydantic import SecretStr
from sqlalchemy import delete, update
from standardwebhooks import Webhook
from starlette.requests import Request
from starlette.responses import Response

from automation import control
from automation.api.execution_answers import shown
from automation.authoring.write import delete_workflow
from automation.callback import due, receivers, tell
from automation.callback.loop import Callback
from automation.database import Database
from automation.errors import SettingError
from automation.intake import accept, parse_event
from automation.mirror import settle
from automation.models import DeadLetter, Delivery, Execution, Status, StepExecution, utc_now
from automation.settings import Settings
from tests.integration import rows
from tests.integration.statements import statements

SECRET = "whsec_" + base64.b64encode(b"another secret of thirty-two byt").decode()


class Studio:
    """A receiver on a free port: notes what it gets, and answers with `statuses`, then with 204."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.url = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        self.got.append((dict(request.headers), await request.body()))
        await self.answers.wait()
        status = self.statuses.pop(0) if self.statuses else 204
        await Response(status_code=status, content=b"no\nroom" if status == 503 else b"")(scope, receive, send)

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What came, each after its signature was checked."""
        return [dict(Webhook(SECRET).verify(body, headers)) for headers, body in self.got]


@pytest.fixture
async def studio() -> AsyncIterator[Studio]:
    studio = Studio()
    server = uvicorn.Server(uvicorn.Config(studio, port=0, log_config=None, lifespan="off", ws="none"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    studio.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/automation/"
    yield studio
    studio.answers.set()
    server.should_exit = True
    await serving


@pytest.fixture
def settings(studio: Studio) -> Settings:
    return Settings(studio_callback_url=studio.url, studio_callback_secret=SecretStr(SECRET))


@pytest.fixture
def callback(database: Database, settings: Settings) -> Callback:
    return Callback(database, receivers.studio(settings, shown))


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


async def end(database: Database, settings: Settings, *ids: UUID, status: Status = Status.COMPLETED) -> None:
    """End executions as the engine does: the rows, and in the same transaction what is to be told."""
    async with database.transaction() as session:
        ended = {"status": status, "completed_at": utc_now()}
        await session.execute(update(Execution).where(Execution.id.in_(ids)).values(ended))
        await tell.executions_ended(session, settings, ids)


async def ended(database: Database, settings: Settings, count: int = 1) -> list[UUID]:
    """Executions that have just ended."""
    workflow_id = await rows.workflow(database)
    ids = [await rows.execution(database, workflow_id) for _ in range(count)]
    await end(database, settings, *ids)
    return ids


async def deliveries(database: Database) -> list[Delivery]:
    return sorted(await rows.every(database, Delivery), key=lambda one: (one.created_at, one.type))


async def delivery(database: Database) -> Delivery:
    (only,) = await deliveries(database)
    return only


async def time_passes(database: Database) -> None:
    """Until everything that waits is due."""
    async with database.transaction() as session:
        await session.execute(update(Delivery).where(Delivery.status == "PENDING").values(due_at=utc_now()))


async def seen(studio: Studio, count: int) -> None:
    async with asyncio.timeout(20):
        while len(studio.got) < count:
            await asyncio.sleep(0.01)


# --- what is told -------------------------------------------------------------------------------------------


async def test_an_end_is_told_at_once_as_the_api_shows_it_and_signed(
    database: Database, settings: Settings, callback: Callback, studio: Studio
) -> None:
    telling = asyncio.create_task(callback.run())
    workflow_id = await rows.workflow(database)
    id_ = await rows.execution(database, workflow_id, result={"steps": {"a": {"pages": 3}}})
    done = {"identifier": "a", "step_type": "COMPILE_PAGES", "order": 1, "status": Status.COMPLETED}
    await rows.write(database, StepExecution(execution_id=id_, result={"pages": 3}, **done))

    await end(database, settings, id_, status=Status.FAILED)
    await seen(studio, 1)

    (body,) = studio.bodies
    async with database.transaction() as session:
        expected = (await shown(session, id_)).model_dump(mode="json")
    assert body["type"] == "execution.failed"
    assert body["data"] == expected
    assert body["data"]["steps"][0]["result"] == {"pages": 3}
    assert studio.ids == [str((await delivery(database)).id)]
    telling.cancel()
    with suppress(asyncio.CancelledError):
        await telling


async def test_each_end_is_told_once_and_an_end_after_a_retry_again(database: Database, settings: Settings) -> None:
    id_ = await rows.execution(database, await rows.workflow(database), dispatch_no=1)
    await end(database, settings, id_, status=Status.FAILED)
    await end(database, settings, id_, status=Status.FAILED)

    async with database.transaction() as session:
        await session.execute(update(Execution).values(dispatch_no=2, status=Status.RUNNING))
        await tell.executions_ended(session, settings, [id_])  # it runs: nothing is told
    await end(database, settings, id_)

    assert [one.type for one in await deliveries(database)] == ["execution.failed", "execution.completed"]


async def test_nothing_is_written_when_nobody_is_to_be_told(database: Database) -> None:
    await ended(database, Settings())
    await accept(database, [parse_event({"type": "page.created", "data": {"project_id": "p9", "page": {"id": "x"}}})],
                 source="api", settings=Settings())  # fmt: skip

    assert await deliveries(database) == []


async def test_what_is_rolled_back_is_not_told(database: Database, settings: Settings) -> None:
    id_ = await rows.execution(database, await rows.workflow(database), status=Status.COMPLETED)
    async with database.rehearsal() as session:
        await tell.executions_ended(session, settings, [id_])

    assert await deliveries(database) == []


async def test_a_slot_that_was_skipped_is_not_told(database: Database, settings: Settings) -> None:
    workflow_id = await rows.workflow(database)
    id_ = await rows.execution(database, workflow_id, error_code="SKIPPED")
    await end(database, settings, id_, status=Status.CANCELLED)

    assert await deliveries(database) == []


async def test_a_new_projects_workflows_are_told_once(
    database: Database, settings: Settings, callback: Callback, studio: Studio, client: httpx.AsyncClient
) -> None:
    for number in (1, 2):
        event = {"type": "project.created", "id": f"e{number}", "data": {"project": {"id": "shop", "name": "Shop"}}}
        await accept(database, [parse_event(event)], source="api", settings=settings)

    await callback.round(client)

    (body,) = [one for one in studio.bodies if one["type"] == "workflows.ready"]
    assert body["data"]["project_id"] == "shop"
    assert {one["kind"] for one in body["data"]["workflows"]} == {"auto-save", "generate", "publish"}


async def test_one_that_is_cancelled_while_it_waits_is_told(database: Database, settings: Settings) -> None:
    id_ = await rows.execution(database, await rows.workflow(database))
    async with database.transaction() as session:
        await control.cancel(session, id_, settings)

    one = await delivery(database)
    assert (one.type, one.execution_id, one.project_id) == ("execution.cancelled", id_, "p1")


async def test_one_that_a_newer_one_supersedes_is_told(database: Database, settings: Settings) -> None:
    page = {"type": "page.updated", "data": {"project_id": "p1", "page": {"id": "home", "config": {}}}}
    [first] = await accept(database, [parse_event(page)], source="api", settings=Settings())
    async with database.transaction() as session:
        await session.execute(update(Execution).values(status=Status.RETRYING, batch=False))

    await accept(database, [parse_event(page)], source="api", settings=settings)

    one = await delivery(database)
    assert (one.type, one.execution_id) == ("execution.cancelled", first.executions[0].id)


async def test_what_waits_of_a_deleted_workflow_is_told(database: Database, settings: Settings) -> None:
    workflow_id = await rows.workflow(database, kind="custom-workflow")
    id_ = await rows.execution(database, workflow_id)
    async with database.transaction() as session:
        await delete_workflow(session, workflow_id, settings)

    one = await delivery(database)
    assert (one.type, one.execution_id) == ("execution.cancelled", id_)


async def test_one_whose_process_died_for_the_last_time_is_told_and_a_dead_letter(
    database: Database, settings: Settings
) -> None:
    run = await rows.flow_run(database, state="CRASHED", ended_at=utc_now())
    lost = {"status": Status.RUNNING, "flow_run_id": run, "attempt": 4, "lost_count": 3}
    id_ = await rows.execution(database, await rows.workflow(database), **lost)
    at_work = {"step_type": "DEPLOY_TO_RUNTIME", "order": 1, "status": Status.RUNNING}
    await rows.write(database, StepExecution(execution_id=id_, identifier="deploy", **at_work))
    async with database.transaction() as session:
        await settle.settle_ended(session, settings)

    assert (await delivery(database)).type == "execution.failed"
    (letter,) = await rows.every(database, DeadLetter)
    assert (letter.execution_id, letter.error_code, letter.failed_step) == (id_, "WORKER_LOST", "deploy")


# --- that it arrives ----------------------------------------------------------------------------------------


async def test_a_studio_that_fails_twice_gets_it_the_third_time_under_the_same_id(
    database: Database, settings: Settings, callback: Callback, studio: Studio, client: httpx.AsyncClient
) -> None:
    studio.statuses = [503, 302]
    await ended(database, settings)

    await callback.round(client)
    one = await delivery(database)
    assert (one.status, one.attempts, one.last_status) == ("PENDING", 1, 503)
    assert one.last_error == "answered 503: no\\nroom"
    assert timedelta(0) < one.due_at - utc_now() <= due.BACKOFF[0]
    await callback.round(client)
    assert len(studio.got) == 1, "it is not due yet"

    await time_passes(database)
    await callback.round(client)
    assert (await delivery(database)).last_status == 302, "a redirect is not followed"
    await time_passes(database)
    assert await callback.round(client) == 1

    one = await delivery(database)
    assert (one.status, one.attempts, one.last_status, one.last_error) == ("DELIVERED", 3, 204, "")
    assert one.delivered_at is not None
    assert studio.ids == [str(one.id)] * 3
    assert len(studio.bodies) == 3


async def test_a_studio_that_is_down_costs_the_others_nothing(
    database: Database, studio: Studio, client: httpx.AsyncClient
) -> None:
    away = Settings(studio_callback_url="http://127.0.0.1:9/", studio_callback_secret=SecretStr(SECRET))
    callback = Callback(database, receivers.studio(away, shown))
    await ended(database, away)
    assert await callback.round(client) == 0
    one = await delivery(database)
    assert (one.status, one.last_status) == ("PENDING", None)
    assert one.last_error.startswith("ConnectError")

    await ended(database, away, 3)
    assert await callback.round(client) == 0

    assert sorted(one.attempts for one in await deliveries(database)) == [0, 0, 1, 1], "one tries for all"


async def test_after_a_day_it_is_failed(
    database: Database, settings: Settings, callback: Callback, studio: Studio, client: httpx.AsyncClient
) -> None:
    studio.statuses = [500] * 20
    await ended(database, settings)
    waited = timedelta(0)
    while (one := await delivery(database)).status == "PENDING":
        waited += max(one.due_at - one.created_at, timedelta(0)) if one.attempts == 0 else due.BACKOFF[one.attempts - 1]
        await time_passes(database)
        await callback.round(client)

    assert (one.status, one.attempts, one.last_status) == ("FAILED", len(due.BACKOFF) + 1, 500)
    assert timedelta(hours=23) < waited <= timedelta(hours=24)


async def test_a_studio_that_answers_too_late_gets_it_again(
    database: Database,
    settings: Settings,
    callback: Callback,
    studio: Studio,
    client: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(due, "TIMEOUT", 0.3)
    await ended(database, settings)
    studio.answers.clear()
    await callback.round(client)
    one = await delivery(database)
    assert (one.status, one.last_status, one.last_error) == ("PENDING", None, "no answer within 0.3 s")

    studio.answers.set()
    monkeypatch.setattr(due, "TIMEOUT", 10.0)
    await time_passes(database)
    await callback.round(client)

    assert (await delivery(database)).status == "DELIVERED"
    assert len(set(studio.ids)) == 1


async def test_a_kill_between_sending_and_noting_sends_it_again_under_the_same_id(
    database: Database, settings: Settings, callback: Callback, studio: Studio, client: httpx.AsyncClient
) -> None:
    await ended(database, settings)
    studio.answers.clear()
    killed = asyncio.create_task(callback.round(client))
    await seen(studio, 1)
    killed.cancel()
    with suppress(asyncio.CancelledError):
        await killed
    studio.answers.set()

    successor = Callback(database, receivers.studio(settings, shown))
    assert await successor.round(client) == 0, "for a minute it belongs to the one that is gone"
    await time_passes(database)
    assert await successor.round(client) == 1

    one = await delivery(database)
    assert (one.status, one.attempts) == ("DELIVERED", 2)
    assert studio.ids == [str(one.id)] * 2


async def test_several_services_send_each_delivery_once(
    database: Database, settings: Settings, studio: Studio, client: httpx.AsyncClient
) -> None:
    await ended(database, settings, 60)
    both = [Callback(database, receivers.studio(settings, shown)) for _ in range(2)]

    async def all_of(callback: Callback) -> None:
        while await callback.round(client):
            pass

    await asyncio.gather(*map(all_of, both))

    assert len(studio.got) == len(set(studio.ids)) == 60
    assert {one.status for one in await deliveries(database)} == {"DELIVERED"}


async def test_who_answers_for_an_earlier_try_changes_nothing(database: Database, settings: Settings) -> None:
    await ended(database, settings)
    async with database.transaction() as session:
        (slow,) = await due.take(session, 1)
    async with database.transaction() as session:
        await tell.redeliver(session, settings, slow.id)

    async with database.transaction() as session:
        await due.note(session, [due.Answered(slow, 500, "answered 500")])

    one = await delivery(database)
    assert (one.status, one.attempts, one.last_error) == ("PENDING", 0, "")
    assert one.due_at <= utc_now()


async def test_an_execution_that_was_deleted_is_given_up(
    database: Database, settings: Settings, callback: Callback, studio: Studio, client: httpx.AsyncClient
) -> None:
    await ended(database, settings)
    async with database.transaction() as session:
        await session.execute(delete(Execution))
    await callback.round(client)

    one = await delivery(database)
    assert (one.status, one.last_error) == ("FAILED", "what it tells of was deleted")
    assert studio.got == []


async def test_a_large_result_is_cut_rather_than_kept_back(
    database: Database, settings: Settings, callback: Callback, studio: Studio, client: httpx.AsyncClient
) -> None:
    id_ = await rows.execution(database, await rows.workflow(database), result={"html": "x" * 500_000})
    await end(database, settings, id_)
    assert await callback.round(client) == 1

    (body,) = studio.bodies
    assert body["data"]["result"]["truncated"] is True
    assert len(orjson.dumps(body)) < 66_000


async def test_it_starts_with_a_secret_only(database: Database) -> None:
    with pytest.raises(SettingError, match="AUTOMATION_STUDIO_CALLBACK_SECRET is not set"):
        receivers.studio(Settings(studio_callback_url="http://studio.example/"), shown)


async def test_a_batch_of_ends_is_one_statement(database: Database, settings: Settings) -> None:
    workflow_id = await rows.workflow(database)
    ids = [uuid4() for _ in range(500)]
    async with database.transaction() as session:
        session.add_all(
            Execution(id=id_, workflow_id=workflow_id, kind="publish", trigger_type="EVENT", status=Status.COMPLETED)
            for id_ in ids
        )
    with statements(database) as seen:
        async with database.transaction() as session:
            await tell.executions_ended(session, Settings(), ids)
            assert seen == []
            await tell.executions_ended(session, settings, ids)

    assert len(seen) == 1
    assert len(await deliveries(database)) == 500
