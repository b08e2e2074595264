"""Projects over HTTP: what is going on in each, publishing one, and deleting one until nothing of it is left."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.states import Cancelled
from pydantic import SecretStr
from sqlalchemy import func, select, text

from automation import erasure
from automation.api import Services
from automation.erasure import Erasure
from automation.errors import NotFoundError
from automation.integrations import credentials
from automation.integrations.proofs import BearerCredentials
from automation.integrations.types import parse_config
from automation.models import (
    Activity,
    Alert,
    ApiKey,
    AuditEntry,
    Base,
    DeadLetter,
    DedupeKey,
    Delivery,
    Event,
    Execution,
    ExecutionAttempt,
    ExecutionLog,
    FlowRun,
    Integration,
    Owed,
    Project,
    ProjectDeletion,
    Sighting,
    Silence,
    Status,
    StepAttempt,
    StepExecution,
    Timer,
    TriggerState,
    Wait,
    WorkflowDeployment,
    WorkflowVersion,
    utc_now,
)
from automation.models.project_queries import refuse_deleted
from automation.runtime import releases
from automation.schedules.reconcile import Reconciler
from automation.settings import Settings
from tests.integration.api.serving import KEY, Api, page_event, serve
from tests.integration.flows import carry
from tests.integration.rows import every, write
from tests.integration.runtime import Runtime
from tests.integration.test_claim import waits_for_a_lock

DAY = timedelta(days=1)


@pytest.fixture
async def of_home(api: Api, prefect: PrefectClient, tmp_path: Path) -> Any:
    """The API of an installation whose sites lie in a folder of this test's."""
    settings = Settings(api_key=SecretStr(KEY), home=tmp_path)
    async with serve(Services(settings, api.database, prefect, api.services.teller)) as served:
        yield served


async def project(api: Api, id_: str = "p1") -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(f"projects/{id_}/")).json()
    return found


async def publish_workflows(api: Api, id_: str = "p1") -> None:
    """A project with the workflows that every project has."""
    answer = await api.post("events/", page_event(id_))
    assert answer.status_code == 202, answer.text


# --- reading ---------------------------------------------------------------------------------------------------


async def test_projects_are_listed_page_by_page_the_newest_first(api: Api) -> None:
    for number in range(5):
        await publish_workflows(api, f"p{number}")

    first = (await api.get("projects/", page_size=2)).json()
    second = (await api.client.get(first["next"])).json()

    assert [one["id"] for one in (*first["results"], *second["results"])] == ["p4", "p3", "p2", "p1"]
    assert first["previous"] is None


async def test_a_project_says_what_is_going_on_in_it(of_home: Api) -> None:
    api = of_home
    await publish_workflows(api)
    workflow = await api.workflow("p1")
    for status in (Status.RUNNING, Status.WAITING, Status.COMPLETED):
        await api.execution(workflow, status)
    await asyncio.to_thread(releases.switch, api.services.settings.runtime_root, "p1", "production", "v1")

    shown = await project(api)

    [event] = (await api.get("events/")).json()["results"]
    assert (shown["workflows"], shown["open_executions"]) == (4, 3)  # a page was changed, too
    assert shown["last_event"] == event
    assert (shown["live"], shown["deletion"]) == ({"production": "v1"}, None)


async def test_a_project_whose_runtime_is_away_is_shown_all_the_same(api: Api, prefect: PrefectClient) -> None:
    await publish_workflows(api)
    settings = Settings(api_key=SecretStr(KEY), RUNTIME_URL="http://127.0.0.1:9/api")
    async with serve(Services(settings, api.database, prefect, api.services.teller)) as served:
        assert (await project(served))["live"] is None


@pytest.mark.parametrize("id_", ["nobody", "%00", "%F0%9F%92%A9", "a%0Ab", "x" * 129])
async def test_a_project_that_is_not_there_is_not_found_or_has_no_such_name(api: Api, id_: str) -> None:
    answers = [await api.client.request(method, f"projects/{id_}/") for method in ("GET", "DELETE")]
    answers.append(await api.post(f"projects/{id_}/publish/"))

    assert len({one.status_code for one in answers}) == 1
    assert answers[0].status_code in (404, 422)


async def test_a_project_is_found_and_paged_over_whatever_plain_name_it_has(api: Api) -> None:
    names = ["café\u00a0d'été", "\U0001f984", "a b"]
    for name in names:
        await publish_workflows(api, name)

    found = [(await project(api, name))["id"] for name in names]
    page = (await api.get("projects/", page_size=1)).json()
    listed = [page["results"][0]["id"]]
    while page["next"]:
        page = (await api.client.get(page["next"])).json()
        listed.append(page["results"][0]["id"])

    assert found == names
    assert listed == names[::-1]


# --- publishing ------------------------------------------------------------------------------------------------


async def test_publishing_is_what_the_event_of_studio_does(api: Api) -> None:
    await publish_workflows(api)

    answer = await api.post("projects/p1/publish/", {"data": {"user_id": "u1", "project_id": "p2"}})

    assert answer.status_code == 202, answer.text
    published = answer.json()
    event = (await api.get(f"events/{published['event_id']}/")).json()
    execution = (await api.get(f"executions/{published['id']}/")).json()
    assert (event["type"], event["project_id"], event["source"]) == ("project.published", "p1", "api")
    assert event["data"] == {"user_id": "u1", "project_id": "p1"}
    assert (execution["kind"], execution["trigger"]["event_type"]) == ("generate", "project.published")


async def test_a_project_is_published_once_under_one_key(api: Api) -> None:
    await publish_workflows(api)

    answers = [await api.post("projects/p1/publish/", **{"Idempotency-Key": "k"}) for _ in range(3)]

    assert [one.json() for one in answers] == [answers[0].json()] * 3
    assert len((await api.get("events/", type="project.published")).json()["results"]) == 1


async def test_where_nothing_would_publish_nothing_is_stored(api: Api) -> None:
    await publish_workflows(api)
    [generate] = (await api.get("workflows/", kind="generate")).json()["results"]
    await api.client.patch(f"workflows/{generate['id']}/", json={"is_active": False})

    answer = await api.post("projects/p1/publish/")

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
    assert (await api.get("events/", type="project.published")).json()["results"] == []


# --- deleting --------------------------------------------------------------------------------------------------


async def erase(api: Api) -> None:
    """One round of the loop."""
    services = api.services
    await Erasure(services.database, services.prefect, services.settings).round()


async def fill(api: Api, project_id: str, platform: UUID) -> UUID:
    """A project with something in every table, at a trigger of the platform too; an execution of it."""
    await publish_workflows(api, project_id)
    hook = {"name": "W", "project_id": project_id, "triggers": [{"trigger_type": "WEBHOOK"}]}
    workflow = (await api.post("workflows/", hook)).json()
    id_ = await api.execution(UUID(workflow["id"]), Status.FAILED)
    child = await api.execution(UUID(workflow["id"]), Status.COMPLETED, parent_id=id_, parent_step="s")
    at = {"project_id": project_id}
    event = {"event_id": f"e:{project_id}", "event_type": "x", "event_data": {"secret": 1}, "occurred_at": utc_now()}
    await write(
        api.database,
        StepExecution(execution_id=id_, identifier="s", step_type="WAIT", order=1, status=Status.COMPLETED, **at),
        StepAttempt(execution_id=id_, identifier="s", attempt=1, status=Status.FAILED),
        ExecutionAttempt(execution_id=id_, attempt=1, status=Status.FAILED),
        Wait(execution_id=id_, identifier="s", kind="execution", child_id=child, status="RESOLVED", **at),
        DeadLetter(
            execution_id=id_, workflow_id=UUID(workflow["id"]), kind="custom-workflow", error_code="X",
            error_message="m", **at,
        ),
        WorkflowVersion(workflow_id=UUID(workflow["id"]), version=99, definition={"steps": []}),
        *(
            Timer(trigger_id=trigger, purpose="delay", key=project_id, due_at=utc_now() + DAY, **event, **at)
            for trigger in (platform, UUID(workflow["triggers"][0]["id"]))
        ),
        *(TriggerState(trigger_id=platform, key=key) for key in (project_id, f"seen:{project_id}:page-1")),
        DedupeKey(trigger_id=platform, key=f"{project_id}:order-1", event_id="e"),
        ExecutionLog(execution_id=id_, level="INFO", message="of one", **at),
        ExecutionLog(level="INFO", message="of a batch", **at),
        Activity(idempotency_key=f"a:{project_id}", type="page.updated", **at),
        Alert(rule="r", fingerprint=project_id, severity="CRITICAL", message="m", **at),
        Sighting(rule="critical-errors", title="t", **at),
        Silence(id=uuid4(), until=utc_now() + DAY, created_by="api", **at),
        Delivery(key=f"d:{project_id}", type="execution.completed", execution_id=id_, **at),
        Owed(idempotency_key=f"o:{project_id}", neighbour="insights", step="s", request={}, execution_id=id_, **at),
        Integration(id=uuid4(), name="i", type="http", config={}, is_active=True, **at),
        ApiKey(
            id=uuid4(), name=f"k {project_id}", key_hash=project_id.encode(), prefix="ak_", scopes=["read"],
            created_by="api", **at,
        ),
    )  # fmt: skip
    folder = api.services.settings.runtime_root / project_id / "pages"
    await asyncio.to_thread(folder.mkdir, parents=True)
    await asyncio.to_thread((folder / "home.json").write_text, "{}")
    return id_


async def platform_trigger(api: Api) -> UUID:
    """A trigger that hears the events of every project."""
    body = {"name": "All", "triggers": [{"trigger_type": "EVENT", "event_type": "x"}]}
    return UUID((await api.post("workflows/", body)).json()["triggers"][0]["id"])


async def rows_of(api: Api, project_id: str) -> dict[str, int]:
    """How many rows every table has that names a project."""
    counts = {}
    async with api.database.transaction() as session:
        for table in Base.metadata.sorted_tables:
            if "project_id" in table.c:
                query = select(func.count()).select_from(table).where(table.c.project_id == project_id)
                counts[table.name] = await session.scalar(query) or 0
    return counts


async def test_of_a_deleted_project_nothing_is_left_but_what_the_audit_says(of_home: Api) -> None:
    api = of_home
    platform = await platform_trigger(api)
    for id_ in ("p1", "p2"):
        await fill(api, id_, platform)
    other = await rows_of(api, "p2")

    answer = await api.client.delete("projects/p1/")
    await erase(api)

    assert answer.status_code == 202
    assert {name for name, count in (await rows_of(api, "p1")).items() if count} == {
        "api_keys", "audit", "project_deletions",
    }  # fmt: skip
    assert (await api.get("projects/p1/")).status_code == 404
    assert await rows_of(api, "p2") == other
    assert {one.key for one in await every(api.database, TriggerState)} == {"p2", "seen:p2:page-1"}
    assert {one.key for one in await every(api.database, DedupeKey)} == {"p2:order-1"}
    for model in (ExecutionAttempt, StepAttempt):
        assert len(await every(api.database, model)) == 1
    root = api.services.settings.runtime_root
    assert [path.name for path in await asyncio.to_thread(lambda: list(root.iterdir()))] == ["p2"]
    [deletion] = await every(api.database, ProjectDeletion)
    assert deletion.completed_at
    assert deletion.deleted["workflow_executions"] == 3
    [key] = [one for one in await every(api.database, ApiKey) if one.project_id == "p1"]
    assert key.revoked_at


async def test_who_wanted_a_project_gone_and_that_it_is_stands_in_the_audit(of_home: Api) -> None:
    api = of_home
    await publish_workflows(api)
    await api.client.delete("projects/p1/")
    await api.client.delete("projects/p1/")
    await erase(api)

    told = [(one.actor, one.action) for one in await every(api.database, AuditEntry) if one.object_type == "project"]
    assert told == [("api", "delete"), ("api", "erase")]


async def test_from_the_answer_on_nothing_of_a_deleted_project_runs(of_home: Api) -> None:
    api = of_home
    await publish_workflows(api)
    workflow = (await api.post("workflows/", {"name": "W", "project_id": "p1"})).json()
    waiting = await api.execution(UUID(workflow["id"]), Status.WAITING)
    await api.client.delete("projects/p1/")

    event = (await api.post("events/", page_event("p1", id="late"))).json()["events"][0]
    integration = {"name": "i", "type": "http", "project_id": "p1", "config": {"base_url": "https://e.example"}}
    refused = [
        await api.post(f"workflows/{workflow['id']}/execute/"),
        await api.post("projects/p1/publish/"),
        await api.post(f"executions/{waiting}/retry/"),
        await api.client.patch(f"workflows/{workflow['id']}/", json={"is_active": True}),
        await api.post("workflows/", {"name": "W", "project_id": "p1"}),
        await api.post("integrations/", integration),
    ]

    assert (await api.stored(waiting)).status == Status.CANCELLED
    assert event["executions"] == []
    assert [one.status_code for one in refused] == [409] * 6
    assert (await project(api))["deletion"]["last_error"] == ""


async def test_what_is_being_added_to_a_project_is_there_before_its_deletion_begins(of_home: Api) -> None:
    api = of_home
    await publish_workflows(api)

    async with api.database.transaction() as session:
        await refuse_deleted(session, "p1")
        deleting = asyncio.create_task(api.client.delete("projects/p1/"))
        await waits_for_a_lock(api.database)
        assert (await project(api))["deletion"] is None

    assert (await deleting).status_code == 202


async def test_a_deletion_waits_for_what_runs_and_has_it_stopped(of_home: Api) -> None:
    api = of_home
    workflow = await api.workflow("p1")
    running = await api.execution(workflow, Status.RUNNING)

    await api.client.delete("projects/p1/")
    await erase(api)

    assert (await api.stored(running)).cancel_requested_at is not None
    assert (await project(api))["deletion"]["last_error"] == "1 executions have not stopped yet"
    async with api.database.transaction() as session:
        (await session.get_one(Execution, running)).status = Status.CANCELLED
    await erase(api)
    assert (await api.get("projects/p1/")).status_code == 404


async def test_what_the_platform_does_for_a_deleted_project_ends_too(of_home: Api) -> None:
    api = of_home
    await publish_workflows(api)
    everybodys = await api.workflow(None)
    waiting, retrying, waiting_elsewhere = [
        await api.execution(everybodys, status, project_id=id_)
        for status, id_ in ((Status.WAITING, "p1"), (Status.RETRYING, "p1"), (Status.WAITING, "p2"))
    ]
    await write(
        api.database,
        Wait(execution_id=waiting, identifier="ask", kind="approval", project_id="p1"),
        StepExecution(execution_id=retrying, identifier="s", step_type="TRANSFORM", order=1, status=Status.FAILED),
    )

    await api.client.delete("projects/p1/")

    [wait] = await every(api.database, Wait)
    assert wait.status == "CANCELLED"
    assert [(await api.stored(one)).status for one in (waiting, retrying, waiting_elsewhere)] == [
        "CANCELLED", "CANCELLED", "WAITING",
    ]  # fmt: skip
    await erase(api)
    assert [one.id for one in await every(api.database, Execution)] == [waiting_elsewhere]


async def test_what_came_while_a_project_was_cleared_away_goes_with_it(
    of_home: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = of_home
    await publish_workflows(api)
    await api.client.delete("projects/p1/")
    finish = erasure._finish

    async def late(*arguments: Any) -> str:
        await api.post("events/", page_event("p1", id="late"))
        return await finish(*arguments)

    monkeypatch.setattr(erasure, "_finish", late)
    await erase(api)

    assert await every(api.database, Event) == []
    assert await every(api.database, Project) == []


@pytest.mark.usefixtures("deployed")
async def test_what_prefect_holds_of_a_deleted_project_goes_too(of_home: Api, prefect: PrefectClient) -> None:
    api = of_home
    made = await api.post("workflows/", {
        "name": "W", "project_id": "p1", "triggers": [{"trigger_type": "SCHEDULED", "config": {"cron": "0 5 1 1 *"}}],
    })  # fmt: skip
    workflow_id = UUID(made.json()["id"])
    reconciler = Reconciler(api.database, prefect)
    await reconciler.reconcile([workflow_id])
    config = parse_config("http", {"base_url": "https://example.com", "auth": "bearer"})
    integration = Integration(
        id=uuid4(), name="i", type="http", project_id="p1", config=config.model_dump(mode="json"), is_active=True
    )
    await write(api.database, integration)
    await credentials.store(prefect, integration.id, config, BearerCredentials(token=SecretStr("hunter2")))
    run = await carry(prefect, await api.execution(workflow_id, Status.COMPLETED))
    await prefect.update_flow_run(run.id, tags=["project:p1"])
    await prefect.delete_flow_run((await carry(prefect, uuid4())).id)  # one that is not there any more
    await prefect.set_flow_run_state(run.id, Cancelled(), force=True)
    await write(api.database, FlowRun(id=uuid4(), prefect_id=run.id, kind="publish", ended_at=utc_now()))

    await api.client.delete("projects/p1/")
    await erase(api)
    assert "deployments of its workflows" in (await project(api))["deletion"]["last_error"]
    await reconciler.reconcile([workflow_id])
    await erase(api)

    assert (await api.get("projects/p1/")).status_code == 404
    assert await every(api.database, WorkflowDeployment) == []
    assert await every(api.database, FlowRun) == []
    assert run.id not in {one.id for one in await prefect.read_flow_runs()}
    with pytest.raises(NotFoundError):
        await credentials.load(prefect, integration.id, config)


async def test_where_runtime_is_a_module_of_its_own_it_is_told(
    api: Api, prefect: PrefectClient, tmp_path: Path
) -> None:
    await publish_workflows(api)
    runtime = Runtime(tmp_path / "there")
    (tmp_path / "there" / "p1" / "pages").mkdir(parents=True)
    settings = Settings(api_key=SecretStr(KEY), home=tmp_path, RUNTIME_URL=runtime.url)
    try:
        async with serve(Services(settings, api.database, prefect, api.services.teller)) as served:
            await served.client.delete("projects/p1/")
            await erase(served)

            assert (await served.get("projects/p1/")).status_code == 404
    finally:
        runtime.go()
    assert not (tmp_path / "there" / "p1").exists()


async def test_a_deletion_that_cannot_go_on_says_why_and_does_not_hold_up_others(
    api: Api, prefect: PrefectClient, tmp_path: Path
) -> None:
    for id_ in ("p1", "p2"):
        await publish_workflows(api, id_)
    settings = Settings(api_key=SecretStr(KEY), home=tmp_path)
    (settings.runtime_root / "p1").parent.mkdir(parents=True)
    (settings.runtime_root / "p1").write_text("no folder at all")
    async with serve(Services(settings, api.database, prefect, api.services.teller)) as served:
        for id_ in ("p1", "p2"):
            await served.client.delete(f"projects/{id_}/")
        async with api.database.transaction() as session:  # a row that cannot go
            await session.execute(text("CREATE TABLE IF NOT EXISTS holds (id text REFERENCES projects)"))
            await session.execute(text("INSERT INTO holds VALUES ('p1')"))
        await erase(served)
        stuck, gone = (await project(served))["deletion"], await served.get("projects/p2/")
        async with api.database.transaction() as session:
            await session.execute(text("DROP TABLE holds"))
        await erase(served)

        assert "holds" in stuck["last_error"]
        assert gone.status_code == 404
        assert (await served.get("projects/p1/")).status_code == 404


async def test_a_project_that_was_deleted_can_begin_anew(of_home: Api) -> None:
    api = of_home
    await publish_workflows(api)
    await api.client.delete("projects/p1/")
    await erase(api)

    await api.post("events/", page_event("p1"))

    assert (await project(api))["workflows"] == 3
    assert len(await every(api.database, Event)) == 1
    assert [one.id for one in await every(api.database, Project)] == ["p1"]
