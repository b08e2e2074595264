"""A neighbour is away: required steps fail as NETWORK, what others owe is delivered when it is back, once."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Barrier, Lock
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient

from automation import neighbours
from automation.database import Database
from automation.errors import NetworkError, ValidationError
from automation.models import Activity, Json, Owed
from automation.outbox import Outbox, loop
from automation.settings import Settings, get_settings
from automation.steps import ProjectInfo, Result, StepContext, StepType
from tasks.insights import log_activity
from tasks.notifications import notify_user
from tests.integration import flows
from tests.integration.mailbox import receiving
from tests.integration.neighbours import Answer, Neighbour, Request
from tests.integration.rows import every, execution, planned, stored, workflow, write

DEPLOYED = {"deployed": True, "version": "v1", "environment": "production"}


@pytest.fixture
def neighbour(monkeypatch: pytest.MonkeyPatch) -> Iterator[Neighbour]:
    monkeypatch.setattr(neighbours, "_found_away", {})
    server = Neighbour()
    yield server
    server.go()


def context(database: Database, identifier: str, *, is_required: bool = False, **settings: Any) -> StepContext:
    return StepContext(
        execution_id=uuid4(),
        workflow_id=UUID(int=1),
        workflow_name="Any",
        identifier=identifier,
        project=ProjectInfo("p1", "Shop", owner_id="u1", owner_email="owner@example.com"),
        trigger_type="ON_PAGE_CHANGE",
        event_type="page.updated",
        trigger_data={"user_id": "u2", "page": {"id": "home", "config": {"components": []}}},
        occurred_at=datetime(2026, 1, 15, tzinfo=UTC),
        results={"deploy-to-runtime": DEPLOYED},
        attempt=1,
        settings=Settings(**settings),
        database=database,
        is_required=is_required,
    )


async def run(step: StepContext, kind: StepType, **config: Any) -> Result:
    """The step as the engine runs it: its rows are written with its outcome."""
    result = await kind.function(step, kind.parse(config))
    await write(step.database, *step.rows)
    assert isinstance(result, dict)
    return result


def owed(number: int, **values: Any) -> Owed:
    made = {"idempotency_key": f"e{number}:log-activity", "neighbour": "insights", "step": "log-activity",
            "request": {"number": number}, "created_at": datetime(2026, 1, 15, 12, 0, number, tzinfo=UTC)}  # fmt: skip
    return Owed(**made | values)


async def statuses(database: Database) -> list[str]:
    rows: list[Owed] = await every(database, Owed)
    return [one.status for one in sorted(rows, key=lambda one: one.created_at)]


def wait_is_over(outbox: Outbox) -> None:
    """As if the time until the next try had passed."""
    for pace in outbox._pace.values():
        pace.next_try = 0.0


# --- Insights -----------------------------------------------------------------------------------------------


async def test_insights_is_told_of_a_save_and_our_table_stays_empty(database: Database, neighbour: Neighbour) -> None:
    step = context(database, "log-activity", INSIGHTS_URL=neighbour.url, neighbour_key="s3cret")
    assert (await run(step, log_activity))["logged"]
    [request] = neighbour.requests
    assert (request.method, request.path) == ("POST", "/api/activities/")
    assert request.headers["Authorization"] == "Bearer s3cret"
    assert request.key == step.idempotency_key
    assert request.json == {
        "project_id": "p1",
        "execution_id": str(step.execution_id),
        "user_id": "u2",
        "type": "page.updated",
        "page_id": "home",
        "changes": {},
        "metrics": {"bytes": 17, "components": 0},
        "created_at": "2026-01-15T00:00:00+00:00",
    }
    assert await every(database, Activity) == []


async def test_a_required_step_fails_as_network_while_insights_is_away(
    database: Database, neighbour: Neighbour
) -> None:
    neighbour.go()
    step = context(database, "log-activity", is_required=True, INSIGHTS_URL=neighbour.url)
    with pytest.raises(NetworkError, match="cannot be reached"):
        await run(step, log_activity)
    assert step.rows == []


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_neighbour_that_asks_to_be_tried_later_counts_as_away(
    database: Database, neighbour: Neighbour, status: int
) -> None:
    neighbour.answer = lambda request: (status, {"headers": {"Retry-After": "7"}})
    with pytest.raises(NetworkError) as caught:
        await run(context(database, "s", is_required=True, INSIGHTS_URL=neighbour.url), log_activity)
    assert caught.value.retry_after == 7
    assert (await run(context(database, "s", INSIGHTS_URL=neighbour.url), log_activity))["owed"] is True


async def test_a_refusal_is_no_reason_to_owe(database: Database, neighbour: Neighbour) -> None:
    neighbour.answer = lambda request: (422, {"detail": "no such project"})
    with pytest.raises(ValidationError, match="no such project"):
        await run(context(database, "log-activity", INSIGHTS_URL=neighbour.url), log_activity)


async def test_what_is_owed_is_delivered_once_when_insights_is_back(database: Database, neighbour: Neighbour) -> None:
    neighbour.go()
    step = context(database, "log-activity", INSIGHTS_URL=neighbour.url)
    assert (await run(step, log_activity))["owed"] is True
    [row] = await every(database, Owed)
    assert (row.neighbour, row.step, row.status) == ("insights", "log-activity", "OWED")
    assert "cannot be reached" in row.last_error
    outbox = Outbox(database, step.settings)
    await outbox.round()
    assert await statuses(database) == ["OWED"]

    neighbour.come()
    wait_is_over(outbox)
    for _ in range(2):
        await outbox.round()

    [request] = neighbour.requests
    assert request.key == step.idempotency_key
    assert request.json["page_id"] == "home"
    [row] = await every(database, Owed)
    assert (row.status, row.attempts, row.last_error) == ("DELIVERED", 2, "")


async def test_a_batch_does_not_wait_for_a_neighbour_that_was_found_away(
    database: Database, neighbour: Neighbour
) -> None:
    neighbour.answer = lambda request: (503, {})
    for _ in range(20):
        await run(context(database, "log-activity", INSIGHTS_URL=neighbour.url), log_activity)
    assert len(neighbour.requests) == 1
    assert await statuses(database) == ["OWED"] * 20


# --- the outbox's loop --------------------------------------------------------------------------------------


async def test_while_a_neighbour_is_away_it_is_tried_with_one_delivery_at_a_time(
    database: Database, neighbour: Neighbour
) -> None:
    neighbour.answer = lambda request: (503, {})
    await write(database, *map(owed, range(20)))
    outbox = Outbox(database, Settings(INSIGHTS_URL=neighbour.url))
    for _ in range(3):
        await outbox.round()
    assert [one.json["number"] for one in neighbour.requests] == [0]
    wait_is_over(outbox)
    await outbox.round()
    assert len(neighbour.requests) == 2


async def test_all_is_delivered_when_it_is_back_the_oldest_first_and_eight_at_once(
    database: Database, neighbour: Neighbour
) -> None:
    eight, lock = Barrier(8, timeout=20), Lock()
    under_way = most = 0

    def answer(request: Request) -> Answer:
        nonlocal under_way, most
        if request.json["number"]:  # the first is a try, alone
            with lock:
                under_way += 1
                most = max(most, under_way)
            eight.wait()
            with lock:
                under_way -= 1
        return 200, {}

    neighbour.answer = answer
    await write(database, *map(owed, range(41)))
    outbox = Outbox(database, Settings(INSIGHTS_URL=neighbour.url))
    await outbox.round()
    numbers = [one.json["number"] for one in neighbour.requests]
    assert numbers[0] == 0
    assert sorted(numbers) == list(range(41))
    assert all(abs(place - number) < 8 for place, number in enumerate(numbers))
    assert most == 8
    assert await statuses(database) == ["DELIVERED"] * 41


async def test_more_than_a_page_goes_in_several_rounds(
    database: Database, neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_PAGE", 10)
    await write(database, *map(owed, range(25)))
    outbox = Outbox(database, Settings(INSIGHTS_URL=neighbour.url))
    assert [await outbox.round() for _ in range(4)] == [True, True, True, False]
    assert len(neighbour.effects) == 25


async def test_one_that_a_neighbour_cannot_digest_stops_the_others_only_for_a_while(
    database: Database, neighbour: Neighbour
) -> None:
    neighbour.answer = lambda request: (500 if request.json["number"] == 0 else 200, {})
    await write(database, *map(owed, range(4)))
    outbox = Outbox(database, Settings(INSIGHTS_URL=neighbour.url))
    for _ in range(4):
        await outbox.round()
        wait_is_over(outbox)
    assert await statuses(database) == ["OWED", "DELIVERED", "DELIVERED", "DELIVERED"]


async def test_what_a_neighbour_refuses_is_not_tried_again_and_stops_nobody(
    database: Database, neighbour: Neighbour
) -> None:
    neighbour.answer = lambda request: (404 if request.json["number"] == 0 else 200, {})
    await write(database, *map(owed, range(3)))
    outbox = Outbox(database, Settings(INSIGHTS_URL=neighbour.url))
    for _ in range(2):
        await outbox.round()
    assert await statuses(database) == ["REFUSED", "DELIVERED", "DELIVERED"]
    assert len(neighbour.requests) == 3


async def test_one_neighbour_that_is_away_does_not_keep_another_waiting(
    database: Database, neighbour: Neighbour
) -> None:
    request = {"subject": "S", "body": "B", "idempotency_key": "k", "project_id": "p1", "person_id": "u1"}
    told = owed(1, neighbour="foundation", idempotency_key="e1:n:foundation", request=request)
    await write(database, owed(0), told)
    settings = Settings(INSIGHTS_URL="http://127.0.0.1:9", FOUNDATION_URL=neighbour.url)
    await Outbox(database, settings).round()
    assert await statuses(database) == ["OWED", "DELIVERED"]


async def test_what_is_owed_to_a_neighbour_that_is_not_configured_any_more_stays_owed(database: Database) -> None:
    await write(database, owed(0))
    await Outbox(database, Settings()).round()
    [row] = await every(database, Owed)
    assert row.status == "OWED"
    assert "INSIGHTS_URL" in row.last_error


async def test_killed_between_a_delivery_and_its_record_it_delivers_again_under_the_same_key(
    database: Database, neighbour: Neighbour
) -> None:
    await write(database, owed(0))
    code = (
        "import asyncio; from automation.database import Database; from automation.outbox import Outbox; "
        "from automation.settings import get_settings; "
        f"asyncio.run(Outbox(Database({database.url!r}), get_settings()).run())"
    )
    env = os.environ | {"INSIGHTS_URL": neighbour.url}
    killed = asyncio.Event()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env=env)
    running = asyncio.get_running_loop()

    def take_and_kill(request: Request) -> Answer:
        process.send_signal(signal.SIGKILL)
        running.call_soon_threadsafe(killed.set)
        return 503, {}

    neighbour.answer = take_and_kill
    try:
        async with asyncio.timeout(30):
            await killed.wait()
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert await statuses(database) == ["OWED"]

    neighbour.answer = lambda request: (200, {})
    outbox = Outbox(database, Settings(INSIGHTS_URL=neighbour.url))
    serving = asyncio.create_task(outbox.run())  # takes the lock over
    try:
        async with asyncio.timeout(30):
            while await statuses(database) != ["DELIVERED"]:
                await asyncio.sleep(0.05)
    finally:
        serving.cancel()
    assert [one.key for one in neighbour.requests] == ["e0:log-activity"] * 2
    assert neighbour.effects == [{"number": 0}]


# --- Foundation ---------------------------------------------------------------------------------------------


async def test_foundation_tells_people_when_it_is_there(database: Database, neighbour: Neighbour) -> None:
    step = context(database, "notify-user", FOUNDATION_URL=neighbour.url, language="en")
    result = await run(step, notify_user)
    assert result["delivered"] == ["Foundation"]
    [request] = neighbour.requests
    assert request.path == "/api/notifications/"
    assert request.json["recipient"] == {"id": "u1", "email": "owner@example.com"}
    assert (request.json["project_id"], request.json["subject"]) == ("p1", "“Shop” is live")


async def test_without_send_email_foundation_is_given_no_recipient(database: Database, neighbour: Neighbour) -> None:
    step = context(database, "notify-user", FOUNDATION_URL=neighbour.url)
    await run(step, notify_user, send_email=False)
    assert neighbour.requests[0].json["recipient"] is None


async def test_a_notification_is_owed_while_foundation_is_away(database: Database, neighbour: Neighbour) -> None:
    neighbour.go()
    step = context(database, "notify-user", FOUNDATION_URL=neighbour.url)
    result = await run(step, notify_user)
    assert (result["owed"], result["delivered"]) == (True, [])
    neighbour.come()
    await Outbox(database, step.settings).round()
    assert [one.key for one in neighbour.requests] == [step.idempotency_key]


async def test_of_our_own_channels_only_those_that_are_away_are_owed(
    database: Database, neighbour: Neighbour, unused_tcp_port: int
) -> None:
    hook = neighbour.apprise_url
    smtp = f"smtp://127.0.0.1:{unused_tcp_port}"
    step = context(database, "notify-user", smtp_url=smtp, notify_urls=(hook,))
    result = await run(step, notify_user)
    assert (result["owed"], result["delivered"]) == (True, ["json"])

    with receiving(unused_tcp_port) as mailbox:
        for _ in range(2):
            await Outbox(database, step.settings).round()
    assert len(mailbox.inbox.messages) == 1
    assert len(neighbour.requests) == 1
    assert await statuses(database) == ["DELIVERED"]


async def test_a_hostile_answer_forges_no_line_of_the_log(database: Database, neighbour: Neighbour) -> None:
    evil: Json = {"detail": "x\n2026 CRITICAL all is lost"}
    neighbour.answer = lambda request: (503, evil)
    step = context(database, "log-activity", INSIGHTS_URL=neighbour.url)
    await run(step, log_activity)
    assert all("\n" not in line.message for line in step.lines)


# --- a whole execution --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("deployed")
async def test_an_execution_is_completed_and_degraded_while_insights_is_away(
    database: Database, neighbour: Neighbour, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSIGHTS_URL", neighbour.url)
    get_settings.cache_clear()
    neighbour.go()
    of = await workflow(database, planned(log_activity, 1, is_required=False))
    id_ = await execution(database, of)
    try:
        await flows.run(prefect, await flows.carry(prefect, id_))
    finally:
        monkeypatch.undo()
        get_settings.cache_clear()
    done = await stored(database, id_)
    assert (done.status, done.degraded, done.error_message) == ("COMPLETED", True, "")
    [row] = await every(database, Owed)
    assert (row.execution_id, row.status) == (id_, "OWED")


@pytest.mark.usefixtures("deployed")
async def test_an_execution_is_retried_while_a_neighbour_that_it_needs_is_away(
    database: Database, neighbour: Neighbour, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSIGHTS_URL", neighbour.url)
    get_settings.cache_clear()
    neighbour.go()
    id_ = await execution(database, await workflow(database, log_activity))
    try:
        await flows.run(prefect, await flows.carry(prefect, id_))
    finally:
        monkeypatch.undo()
        get_settings.cache_clear()
    waits = await stored(database, id_)
    assert (waits.status, waits.error_code) == ("RETRYING", "NETWORK_ERROR")
    assert await every(database, Owed) == []
