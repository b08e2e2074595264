"""The doctor on an installation with one fault at a time, each put in by hand."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg2
import pytest
from prefect.client.orchestration import PrefectClient
from pydantic import SecretStr
from sqlalchemy import make_url, text

from automation.api import Services
from automation.database import Database
from automation.doctor import orchestration
from automation.doctor.examine import CHECKS, examine
from automation.doctor.findings import Finding, NotAskedError
from automation.doctor.patient import Patient, patient
from automation.installation import addresses, environment, prepare
from automation.intake.telling import Teller
from automation.models import MirrorCursor, Trigger, utc_now
from automation.settings import Settings
from tests.conftest import Postgres
from tests.integration import rows
from tests.integration.api.serving import serve
from tests.integration.neighbours import Neighbour, Request

NOWHERE = "http://127.0.0.1:9/api"

See = Callable[..., Awaitable[Finding]]


@pytest.fixture
def settings(postgres: Postgres, prefect_api: str, tmp_path: Path) -> Settings:
    """Of an installation whose database and Prefect server are the test run's."""
    return Settings(
        home=tmp_path / "home",
        database_url=postgres.url,
        prefect_database_url=postgres.prefect_url,
        prefect_port=httpx.URL(prefect_api).port,
        api_port=9,
        sites_port=9,
    )


@pytest.fixture
def see(settings: Settings, deployed: None) -> See:
    """What one check says, of an installation with these settings otherwise."""

    async def one(check: str, ahead: timedelta = timedelta(0), prefect: str | None = None, **given: Any) -> Finding:
        async with looked_at(settings.model_copy(update=given), ahead, prefect) as found:
            [finding] = await CHECKS[check](found)
            return finding

    prepare(settings)
    return one


@asynccontextmanager
async def looked_at(
    settings: Settings, ahead: timedelta = timedelta(0), prefect: str | None = None
) -> AsyncIterator[Patient]:
    """The installation, seen by a machine whose clock is so far ahead, that has Prefect there."""
    before = os.environ["PREFECT_API_URL"]
    os.environ["PREFECT_API_URL"] = prefect or before
    try:
        at = addresses(settings)
    finally:
        os.environ["PREFECT_API_URL"] = before
    async with patient(settings, at, os.environ, now=lambda: utc_now() + ahead) as found:
        yield found


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    """Something else that answers HTTP."""
    neighbour = Neighbour()
    yield neighbour
    neighbour.go()


def is_wrong(finding: Finding, state: str, saw: str, todo: str) -> None:
    """It is found, named, and there is something to do about it."""
    assert finding.state == state, finding
    assert saw in finding.saw, finding
    assert todo in finding.todo, finding


# --- all of it ----------------------------------------------------------------------------------------------


async def test_with_everything_away_every_check_still_answers(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "none", database_url="postgresql://nobody:s3cret@127.0.0.1:9/nowhere")
    async with asyncio.timeout(30), looked_at(settings, prefect=NOWHERE) as one:
        found = await examine(one)

    by_check = {finding.check: finding for finding in found}
    assert list(by_check) == list(CHECKS)
    assert {name for name, one in by_check.items() if one.state == "failed"} == {
        "home", "api-key", "webhook-secret", "database", "prefect-server", "service",
    }  # fmt: skip
    assert "see to database first" in by_check["queue"].todo
    assert "see to prefect-server first" in by_check["work-pool"].todo
    assert all(one.todo for one in found if one.state != "ok")
    assert "s3cret" not in str(found)
    assert not (tmp_path / "none").exists()  # it looks, and makes nothing


async def test_a_part_that_takes_connections_and_never_answers_holds_nobody_up(settings: Settings) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    prepare(settings)
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    hanging = settings.model_copy(
        update={
            "database_url": f"postgresql://nobody@127.0.0.1:{port}/nowhere",
            "api_port": port,
            "sites_port": port,
            "runtime_url": f"http://127.0.0.1:{port}",
            "smtp_url": SecretStr(f"smtp://127.0.0.1:{port}"),
        }
    )
    async with server, asyncio.timeout(60), looked_at(hanging, prefect=f"http://127.0.0.1:{port}/api") as one:
        found = {finding.check: finding for finding in await examine(one)}

    assert list(found) == list(CHECKS)
    for name in ("database", "prefect-server", "service", "runtime"):
        assert found[name].state == "failed", found[name]


async def test_a_fault_of_a_check_is_a_finding_and_no_traceback(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(patient: Patient) -> list[Finding]:
        raise RuntimeError("password=hunter2\nand more")

    monkeypatch.setitem(CHECKS, "disk", broken)
    async with looked_at(settings, prefect=NOWHERE) as one:
        found = {finding.check: finding for finding in await examine(one)}
    assert found["disk"].state == "failed"
    assert "RuntimeError" in found["disk"].saw
    assert "hunter2" not in found["disk"].saw
    assert "\n" not in found["disk"].saw


# --- home ---------------------------------------------------------------------------------------------------


async def test_a_home_that_is_missing_or_cannot_be_written(see: See, tmp_path: Path) -> None:
    is_wrong(await see("home", home=tmp_path / "gone"), "failed", "no folder", "automation up")
    is_wrong(await see("home", home=Path("/proc")), "failed", "cannot be written", "make it writable")
    (tmp_path / "home").chmod(0o777)
    is_wrong(await see("home"), "failed", "anybody may write", "chmod o-w")
    (tmp_path / "home").chmod(0o700)
    assert (await see("home")).state == "ok"
    assert (await see("disk", home=tmp_path / "gone" / "further")).check == ""  # of the disk that it would be on


async def test_a_key_that_others_can_read_and_one_that_is_too_short(see: See, tmp_path: Path) -> None:
    assert (await see("secret-files")).state == "ok"
    (tmp_path / "home/api.key").chmod(0o644)
    is_wrong(await see("secret-files"), "failed", "mode 0644", "chmod 600")
    assert (await see("api-key")).state == "ok"
    is_wrong(await see("api-key", api_key=SecretStr("short")), "warning", "5 characters", "set one of 32")
    (tmp_path / "home/api.key").unlink()
    is_wrong(await see("api-key"), "failed", "No such file", "AUTOMATION_API_KEY")


async def test_a_webhook_secret_that_is_missing_or_none(see: See, tmp_path: Path) -> None:
    file = tmp_path / "home/studio-webhook.secret"
    assert (await see("webhook-secret")).state == "ok"
    file.write_text("whsec_not base64!")
    is_wrong(await see("webhook-secret"), "failed", "no secret of Standard Webhooks", "whsec_")
    file.unlink()
    is_wrong(await see("webhook-secret"), "failed", "is not set", "AUTOMATION_STUDIO_WEBHOOK_SECRET")

    assert (await see("callback-secret")).state == "ok"
    (tmp_path / "home/studio-callback.secret").unlink()
    assert (await see("callback-secret")).saw.startswith("not needed")
    found = await see("callback-secret", studio_callback_url="http://studio.example.org/")
    is_wrong(found, "failed", "is not set", "AUTOMATION_STUDIO_CALLBACK_SECRET")

    pager = "http://pager.example.org/"
    assert (await see("alert-webhook-secret", alert_webhook_url=pager)).state == "ok"
    (tmp_path / "home/alert-webhook.secret").unlink()
    assert (await see("alert-webhook-secret")).saw.startswith("not needed")
    found = await see("alert-webhook-secret", alert_webhook_url=pager)
    is_wrong(found, "failed", "is not set", "AUTOMATION_ALERT_WEBHOOK_SECRET")


async def test_a_folder_to_watch_and_a_file_of_rules_that_are_not_there(see: See, tmp_path: Path) -> None:
    assert (await see("watch-roots", watch_roots=(tmp_path,))).state == "ok"
    is_wrong(await see("watch-roots", watch_roots=(tmp_path / "gone",)), "warning", "gone", "mount or make")
    assert (await see("alert-rules")).state == "ok"
    is_wrong(await see("alert-rules", alerts_file=tmp_path / "gone"), "failed", "gone", "AUTOMATION_ALERTS_FILE")


# --- database -----------------------------------------------------------------------------------------------


@pytest.fixture
def other_database(postgres: Postgres) -> Iterator[Callable[[str], str]]:
    """Make a database of another kind; its address."""
    made = []

    def make(options: str) -> str:
        name = f"other_{uuid4().hex[:8]}"
        execute(postgres.url, f"CREATE DATABASE {name} {options}")
        made.append(name)
        return postgres.url.replace("/automation?", f"/{name}?")

    yield make
    for name in made:
        execute(postgres.url, f"DROP DATABASE {name} WITH (FORCE)")


def execute(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(statement)


async def test_a_database_that_is_away_read_only_unknown_or_not_utf8(
    see: See, postgres: Postgres, other_database: Callable[[str], str]
) -> None:
    assert (await see("database")).state == "ok"
    found = await see("database", database_url="postgresql://me:s3cret@127.0.0.1:9/automation")
    is_wrong(found, "failed", "does not answer", "start PostgreSQL")
    assert "s3cret" not in str(found)
    found = await see("database", database_url=postgres.url.replace("/automation?", "/nowhere?"))
    is_wrong(found, "failed", '"nowhere" does not exist', "create the database")
    found = await see("database", database_url=postgres.url.replace("postgres@", "nobody@"))
    is_wrong(found, "failed", "nobody", "user and password")

    latin = other_database("TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    is_wrong(await see("database", database_url=latin), "failed", "LATIN1", "ENCODING 'UTF8'")
    standby = other_database("")
    execute(standby, f"ALTER DATABASE {make_url(standby).database} SET default_transaction_read_only = on")
    is_wrong(await see("database", database_url=standby), "failed", "takes no writes", "primary")


async def test_tables_of_another_version(see: See, database: Database, other_database: Callable[[str], str]) -> None:
    good = await see("migrations")
    assert good.state == "ok"
    head = good.saw.removeprefix("at ")
    for there, saw, todo in (("0003", "needs " + head, "automation db upgrade"), ("9999", "later version", "install")):
        await set_version(database, there)
        try:
            is_wrong(await see("migrations"), "failed", saw, todo)
        finally:
            await set_version(database, head)
    empty = other_database("")
    is_wrong(await see("migrations", database_url=empty), "failed", "no tables", "automation db upgrade")
    with pytest.raises(NotAskedError, match="another version"):
        await see("mirror", database_url=empty)


async def set_version(database: Database, version: str) -> None:
    async with database.transaction() as session:
        await session.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})


async def test_clocks_that_differ(see: See) -> None:
    ahead = timedelta(minutes=5)
    for check in ("database-clock", "prefect-clock"):
        assert (await see(check)).state == "ok"
        is_wrong(await see(check, ahead=ahead), "failed", "s behind this machine", "NTP")
        is_wrong(await see(check, ahead=-ahead), "failed", "s ahead of this machine", "NTP")


async def test_the_connections_of_the_server_are_counted(see: See) -> None:
    found = await see("connections")
    assert (found.state, "of 197 are in use" in found.saw) == ("ok", True)


# --- Prefect ------------------------------------------------------------------------------------------------


async def test_a_prefect_server_that_is_away_or_something_else_or_closed(see: See, neighbour: Neighbour) -> None:
    assert (await see("prefect-server")).state == "ok"
    is_wrong(await see("prefect-server", prefect=NOWHERE), "failed", "does not answer", "PREFECT_API_URL")
    neighbour.answer = lambda request: (404, {})
    is_wrong(await see("prefect-server", prefect=neighbour.url), "failed", "is it Prefect?", "PREFECT_API_URL")
    neighbour.answer = lambda request: (503, {})
    is_wrong(await see("prefect-server", prefect=neighbour.url), "failed", "its database", "PostgreSQL")

    def closed(request: Request) -> tuple[int, dict[str, Any]]:
        return (200, {}) if request.path.endswith("/ready") else (401, {})

    neighbour.answer = closed
    is_wrong(await see("prefect-server", prefect=neighbour.url), "failed", "let us in", "PREFECT_API_AUTH_STRING")


async def test_a_server_of_another_version(see: See, prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await see("prefect-version")).state == "ok"

    async def other(self: Patient, method: str, path: str, json: object = None) -> Any:
        return version

    monkeypatch.setattr(Patient, "prefect", other)
    version = "3.4.25"
    is_wrong(await see("prefect-version"), "failed", "3.4.25", "install prefect==")


async def test_a_server_that_was_started_by_hand_has_the_traps(settings: Settings, deployed: None) -> None:
    async with looked_at(settings) as one:
        found = await CHECKS["prefect-settings"](one)
    todo = " ".join(finding.todo for finding in found)
    for variable in ("DB_VACUUM_ENABLED", "LEASE_STORAGE", "CANCELLING_TIMEOUT", "SLOT_WAIT", "DATABASE_TIMEOUT"):
        assert variable in todo
    assert {finding.state for finding in found} == {"warning"}
    ours = environment(prepare(settings))
    assert all(one.todo.split()[1].partition("=")[0] in ours for one in found)  # what `automation up` sets


async def test_prefects_database_without_what_it_needs(see: See, other_database: Callable[[str], str]) -> None:
    assert (await see("prefect-database")).state == "ok"
    is_wrong(await see("prefect-database", prefect_database_url=other_database("")), "failed", "pg_trgm", "EXTENSION")
    away = "postgresql://me:s3cret@127.0.0.1:9/prefect"
    is_wrong(await see("prefect-database", prefect_database_url=away), "failed", "does not answer", "PostgreSQL")
    bare = other_database("")
    execute(bare, "CREATE EXTENSION pg_trgm")
    is_wrong(await see("prefect-database", prefect_database_url=bare), "failed", "no tables", "start Prefect")


async def test_a_pool_that_is_paused_or_of_another_size_or_missing(
    see: See, prefect: PrefectClient, neighbour: Neighbour
) -> None:
    assert (await see("work-pool")).state == "ok"
    async with changed(prefect, "/work_pools/automation", {"is_paused": True}, {"is_paused": False}):
        is_wrong(await see("work-pool"), "failed", "paused", "resume automation")
    async with changed(prefect, "/work_pools/automation", {"concurrency_limit": 3}, {"concurrency_limit": 10}):
        is_wrong(await see("work-pool"), "warning", "limit is 3", "automation deploy")
    neighbour.answer = lambda request: (404, {})
    is_wrong(await see("work-pool", prefect=neighbour.url), "failed", "no work pool", "automation deploy")
    is_wrong(await see("work-queues", prefect=neighbour.url), "failed", "no work pool", "automation deploy")
    neighbour.answer = lambda request: (200, {"type": "process"})
    is_wrong(await see("work-pool", prefect=neighbour.url), "failed", "type 'process'", "automation deploy")


@asynccontextmanager
async def changed(client: PrefectClient, path: str, fault: Any, mended: Any) -> AsyncIterator[None]:
    """Something in Prefect with a fault, for a while."""
    await client.request("PATCH", path, json=fault)  # type: ignore[arg-type]
    try:
        yield
    finally:
        await client.request("PATCH", path, json=mended)  # type: ignore[arg-type]


async def test_a_queue_that_is_paused_or_closed_or_missing(see: See, prefect: PrefectClient) -> None:
    assert (await see("work-queues")).state == "ok"
    path = "/work_pools/automation/queues/publish"
    async with changed(prefect, path, {"is_paused": True}, {"is_paused": False}):
        is_wrong(await see("work-queues"), "failed", "paused: publish", "resume publish --pool automation")
    async with changed(prefect, path, {"concurrency_limit": 0}, {"concurrency_limit": None}):
        is_wrong(await see("work-queues"), "failed", "limited to 0: publish", "clear-concurrency-limit publish")
    async with changed(prefect, path, {"name": "published"}, {}):
        try:
            is_wrong(await see("work-queues"), "failed", "missing: publish", "automation deploy")
        finally:
            await prefect.request("PATCH", "/work_pools/automation/queues/published", json={"name": "publish"})  # type: ignore[arg-type]


async def test_a_limit_that_is_missing_or_allows_none(see: See, prefect: PrefectClient) -> None:
    assert (await see("limits")).state == "ok"
    path = "/v2/concurrency_limits/tag:runtime-deploy"
    async with changed(prefect, path, {"limit": 0}, {"limit": 4}):
        is_wrong(await see("limits"), "failed", "tag:runtime-deploy", "--limit")
    async with changed(prefect, path, {"name": "tag:other"}, {}):
        try:
            is_wrong(await see("limits"), "warning", "tag:runtime-deploy", "automation deploy")
        finally:
            await prefect.request("PATCH", "/v2/concurrency_limits/tag:other", json={"name": "tag:runtime-deploy"})  # type: ignore[arg-type]


async def test_a_deployment_that_is_missing_or_changed_or_paused(see: See, prefect: PrefectClient) -> None:
    assert (await see("deployments")).state == "ok"
    found = await prefect.read_deployment_by_name("publish/publish")
    path = f"/deployments/{found.id}"
    async with changed(prefect, path, {"work_queue_name": "custom"}, {"work_queue_name": "publish"}):
        is_wrong(await see("deployments"), "warning", "publish (queue)", "automation deploy")
    async with changed(prefect, path, {"paused": True}, {"paused": False}):
        is_wrong(await see("deployments"), "warning", "paused: publish", "resume it")
    cleanup = await prefect.read_deployment_by_name("cleanup/cleanup")
    path = f"/deployments/{cleanup.id}/schedules/{cleanup.schedules[0].id}"
    async with changed(prefect, path, {"active": False}, {"active": True}):
        is_wrong(await see("deployments"), "warning", "schedule cleanup is off", "automation deploy")


async def test_an_automation_that_is_missing_or_off(see: See, prefect: PrefectClient) -> None:
    assert (await see("automations")).state == "ok"
    [one] = await prefect.read_automations_by_name("A run was lost")
    async with changed(prefect, f"/automations/{one.id}", {"enabled": False}, {"enabled": True}):
        is_wrong(await see("automations"), "warning", "off: A run was lost", "switch it on")
    content = one.model_dump(mode="json", exclude={"id", "owner_resource"})
    await prefect.request("PUT", f"/automations/{one.id}", json=content | {"name": "Mine"})  # type: ignore[arg-type]
    try:
        is_wrong(await see("automations"), "failed", "missing: A run was lost", "automation deploy")
    finally:
        await prefect.request("PUT", f"/automations/{one.id}", json=content)  # type: ignore[arg-type]


async def test_schedules_without_slug_or_too_many(
    see: See, prefect: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_id = await prefect.create_flow_from_name("doctor-test")
    body = {"name": "many", "flow_id": str(flow_id), "work_pool_name": "automation"}
    schedule = {"schedule": {"cron": "0 5 * * *", "timezone": "UTC"}, "active": False}

    async def with_schedules(schedules: list[dict[str, Any]]) -> Finding:
        made = await prefect.request("POST", "/deployments/", json={**body, "schedules": schedules})
        try:
            return await see("schedules")
        finally:
            await prefect.request("DELETE", f"/deployments/{made.json()['id']}")  # type: ignore[arg-type]

    for one in await prefect.read_deployments():  # other tests delete planned runs, and the scheduler takes its time
        await prefect.request("POST", f"/deployments/{one.id}/schedule", json={})  # type: ignore[arg-type]
    assert (await see("schedules")).state == "ok"
    monkeypatch.setattr(orchestration, "MANY_SCHEDULES", 10)
    is_wrong(await with_schedules([schedule]), "warning", "without slug on many", "automation deploy")
    many = [{**schedule, "slug": f"s{number}"} for number in range(11)]
    is_wrong(await with_schedules(many), "failed", "more than 10 schedules on deployment many", "spread")


# --- processes ----------------------------------------------------------------------------------------------


async def test_a_service_that_is_away_not_ready_strange_or_of_another_key(
    see: See, settings: Settings, database: Database, prefect: PrefectClient, neighbour: Neighbour
) -> None:
    is_wrong(await see("service"), "failed", "does not answer", "automation up")
    is_wrong(
        await see("service", api_port=httpx.URL(neighbour.url).port), "failed", "something else", "AUTOMATION_API_PORT"
    )
    key = SecretStr("a-key-that-nobody-can-guess")
    services = Services(settings.model_copy(update={"api_key": key}), database, prefect, Teller(0))
    async with serve(services) as api:
        port = httpx.URL(api.url).port
        is_wrong(await see("service", api_port=port), "warning", "does not know the key", "automation env")
        assert (await see("service", api_port=port, api_key=key)).state == "ok"


async def test_a_service_that_cannot_reach_its_database(see: See, settings: Settings, prefect: PrefectClient) -> None:
    away = Database("postgresql://nobody@127.0.0.1:9/nowhere")
    async with serve(Services(settings, away, prefect, Teller(0))) as api:
        is_wrong(await see("service", api_port=httpx.URL(api.url).port), "failed", "No answer from: database", "mend")
    await away.close()


async def test_sites_that_are_not_served(see: See, neighbour: Neighbour) -> None:
    is_wrong(await see("sites"), "warning", "does not answer", "automation sites")
    assert (await see("sites", sites_port=httpx.URL(neighbour.url).port)).state == "ok"


async def test_no_worker_and_one_that_is_silent(see: See, prefect: PrefectClient, neighbour: Neighbour) -> None:
    await prefect.request(
        "POST",
        "/work_pools/automation/workers/heartbeat",
        json={"name": "w1", "heartbeat_interval_seconds": 30},
    )
    found = await see("worker")
    assert (found.state, "w1" in found.saw) == ("ok", True)
    is_wrong(await see("worker", ahead=timedelta(minutes=10)), "failed", "heard of 6", "prefect worker start")
    neighbour.answer = lambda request: (404, {})
    is_wrong(await see("worker", prefect=neighbour.url), "failed", "never was", "prefect worker start")


# --- work ---------------------------------------------------------------------------------------------------


async def test_a_mirror_that_lags_or_never_read(see: See, database: Database) -> None:
    is_wrong(await see("mirror"), "warning", "never been read", "service")
    await rows.write(
        database,
        MirrorCursor(name="started", position=utc_now() - timedelta(minutes=5)),
        MirrorCursor(name="ended", position=utc_now()),
    )
    is_wrong(await see("mirror"), "failed", "300 s ago", "service")


async def test_executions_that_nobody_works_on(see: See, database: Database) -> None:
    workflow = await rows.workflow(database)
    long_ago = utc_now() - timedelta(minutes=10)
    well = await rows.flow_run(database, lease_until=utc_now() + timedelta(seconds=20))
    await rows.execution(database, workflow, status="RUNNING", flow_run_id=well)
    assert (await see("executions")).state == "ok"
    lost = await rows.flow_run(database, lease_until=long_ago)
    silent = await rows.execution(database, workflow, status="RUNNING", flow_run_id=lost, created_at=long_ago)
    ended = await rows.flow_run(database, state="COMPLETED", ended_at=long_ago)
    await rows.execution(database, workflow, status="PENDING", flow_run_id=ended)
    is_wrong(
        await see("executions"), "failed", f"2 are unfinished though nobody works on them: {silent}", "mirror verify"
    )


async def test_work_that_nothing_begins(see: See, database: Database) -> None:
    assert (await see("queue")).state == "ok"
    workflow = await rows.workflow(database)
    await rows.execution(database, workflow, due_at=utc_now() - timedelta(minutes=3))
    is_wrong(await see("queue"), "failed", "(publish) has been due for 18", "mend what failed")


async def test_slots_that_were_missed_and_a_scheduled_workflow_without_deployment(see: See, database: Database) -> None:
    workflow = await rows.workflow(database)
    every_minute = {"cron": "* * * * *", "timezone": "UTC"}
    trigger = Trigger(id=uuid4(), workflow_id=workflow, trigger_type="SCHEDULED", config=every_minute)
    await rows.write(database, trigger)
    is_wrong(await see("missed-slots"), "warning", f"no deployment in Prefect: {workflow}", "start the service")
    async with database.transaction() as session:
        (await session.get_one(Trigger, trigger.id)).last_slot = utc_now() - timedelta(hours=1)
    is_wrong(await see("missed-slots"), "failed", "1 schedules have a slot that is past", "catches up")


# --- neighbours ---------------------------------------------------------------------------------------------


async def test_neighbours_that_are_away_broken_or_there(see: See, neighbour: Neighbour) -> None:
    for check, name in (
        ("runtime", "runtime_url"), ("insights", "insights_url"), ("foundation", "foundation_url"),
        ("callback", "studio_callback_url"), ("alert-webhook", "alert_webhook_url"),
    ):  # fmt: skip
        assert (await see(check)).state == "ok"
        assert (await see(check, **{name: neighbour.url})).state == "ok"
        is_wrong(await see(check, **{name: NOWHERE}), "failed", "127.0.0.1:9 does not answer", "_URL")


async def test_a_neighbour_that_answers_that_it_is_broken(see: See) -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(broken, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        is_wrong(await see("insights", insights_url=url), "warning", "answers 503", "see why")


async def test_a_mail_server_that_is_away(see: See, neighbour: Neighbour) -> None:
    port = httpx.URL(neighbour.url).port
    assert (await see("mail", smtp_url=SecretStr(f"smtp://me:s3cret@127.0.0.1:{port}"))).state == "ok"
    found = await see("mail", smtp_url=SecretStr("smtp://me:s3cret@127.0.0.1:9"))
    is_wrong(found, "failed", "127.0.0.1:9 takes no connection", "AUTOMATION_SMTP_URL")
    assert "s3cret" not in str(found)
