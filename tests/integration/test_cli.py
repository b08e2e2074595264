"""The commands that reach the API, before a real one: what they print, and how they end."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
import typer
from prefect.client.orchestration import get_client
from pydantic import SecretStr

from automation.api import Services
from automation.authoring.triggers import CUSTOM
from automation.cli.app import app
from automation.database import Database
from automation.intake.telling import Teller
from automation.models import (
    Alert,
    DeadLetter,
    Delivery,
    Execution,
    ExecutionLog,
    FlowRun,
    Integration,
    Silence,
    Status,
    StepExecution,
    Wait,
    WorkflowStep,
    utc_now,
)
from automation.monitoring.fold import fold_all
from automation.monitoring.resources import Sampler
from automation.settings import Settings
from tests.integration.api.serving import KEY, Api, page_event, serve
from tests.integration.monitoring.ending import ended
from tests.integration.rows import write

Ran = subprocess.CompletedProcess[str]
Run = Callable[..., Awaitable[Ran]]


@pytest.fixture
async def api(database: Database, prefect_api: str) -> AsyncIterator[Api]:
    settings = Settings(api_key=SecretStr(KEY), studio_callback_url="http://127.0.0.1:9/")
    async with (
        get_client() as prefect,
        serve(Services(settings, database, prefect, Teller(settings.decision_events_per_second))) as api,
    ):
        yield api


@pytest.fixture
def run(api: Api, tmp_path: Path) -> Run:
    """A command in a process of its own; a variable that is empty is not set."""

    async def run(*words: object, stdin: str = "", **variables: str) -> Ran:
        env = os.environ | {"AUTOMATION_HOME": str(tmp_path / "home"), "AUTOMATION_API_KEY": KEY}
        env |= {"AUTOMATION_API_URL": api.url, **variables}
        command = [sys.executable, "-m", "automation.cli", *map(str, words)]
        return await asyncio.to_thread(
            subprocess.run,
            command,
            env={name: value for name, value in env.items() if value},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def failed_in_one_line(ran: Ran, code: int) -> str:
    """What a command says that ended with this code and said nothing else."""
    assert (ran.returncode, ran.stdout) == (code, ""), ran.stderr
    assert ran.stderr.startswith("automation: ")
    assert ran.stderr.count("\n") == 1
    return ran.stderr


# --- lists --------------------------------------------------------------------------------------------------

LISTS = {
    ("workflows",): "workflows/",
    ("steps", "{workflow}"): "workflows/{workflow}/steps/",
    ("triggers",): "triggers/",
    ("executions",): "executions/",
    ("events",): "events/",
    ("dead-letters",): "dead-letters/",
    ("deliveries",): "deliveries/",
    ("alerts",): "alerts/",
    ("silences",): "silences/",
    ("integrations",): "integrations/",
    ("projects",): "projects/",
    ("keys",): "api-keys/",
    ("audit",): "audit/",
}


def commands(group: Any = None, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that there is."""
    for name, command in (group or typer.main.get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        else:
            yield (*before, name)


def test_every_list_is_tried_below() -> None:
    assert {words[0] for words in commands() if words[-1] == "list"} == {words[0] for words in LISTS}


async def fill(api: Api) -> UUID:
    """Two of everything that can be listed, with texts that would command a terminal; a workflow of them."""
    workflow = await api.workflow("p1", name="Évil \x1b[31mred")
    await api.workflow("p2")
    steps = [
        WorkflowStep(workflow_id=workflow, identifier=name, step_type="TRANSFORM", order=1, config={})
        for name in ("a", "b")
    ]
    failed = [await api.execution(workflow, Status.FAILED, error_message="\x1b]0;title\x07") for _ in range(2)]
    letters = [DeadLetter(execution_id=id_, **letter(workflow)) for id_ in failed]
    deliveries = [
        Delivery(id=uuid4(), key=str(id_), type="execution.failed", project_id="p1", execution_id=id_) for id_ in failed
    ]
    alerts = [Alert(id=uuid4(), rule=one, severity="CRITICAL", message="\x1b[2J", project_id="p1") for one in "12"]
    until = utc_now() + timedelta(hours=1)
    silences = [Silence(rule="\x1b[2J", project_id="p1", until=until, created_by="api") for _ in "12"]
    integrations = [
        Integration(id=uuid4(), name=name, type="http", project_id="p1", config={"base_url": "https://example.org"})
        for name in ("crm", "erp")
    ]
    await write(api.database, *steps, *letters, *deliveries, *alerts, *silences, *integrations)
    for name in ("one", "two"):
        await api.post("events/", page_event("p1", name))
        await api.post("api-keys/", {"name": name, "scopes": ["read"]})
        await api.post("triggers/", {"workflow_id": str(workflow), "trigger_type": "ON_PAGE_UPDATE"})
    return workflow


def letter(workflow: UUID) -> dict[str, Any]:
    return {"workflow_id": workflow, "project_id": "p1", "kind": "custom", "error_code": "X", "error_message": "\x1b[m"}


async def test_the_json_of_every_list_is_what_the_api_answers(api: Api, run: Run) -> None:
    workflow = await fill(api)

    for words, path in LISTS.items():
        noun, *more = (word.format(workflow=workflow) for word in words)
        answer = (await api.get(path.format(workflow=workflow))).json()
        assert len(answer["results"]) >= 2, path
        shown = await run(noun, "list", *more, "--json")
        assert (shown.returncode, shown.stderr) == (0, ""), noun
        assert json.loads(shown.stdout) == answer, noun


async def test_the_tables_of_every_list_are_for_people_and_harmless(api: Api, run: Run) -> None:
    workflow = await fill(api)

    for words in LISTS:
        noun, *more = (word.format(workflow=workflow) for word in words)
        shown = await run(noun, "list", *more, "--limit", 1)
        assert shown.returncode == 0, shown.stderr
        head, *rows = shown.stdout.splitlines()
        assert head == head.upper()
        assert rows
        assert "\x1b" not in shown.stdout
        assert "\x07" not in shown.stdout


async def test_a_list_follows_its_pages_as_far_as_it_is_told_to(api: Api, run: Run) -> None:
    ids = [str(one) for one in await api.executions(await api.workflow(), 405)]

    default = json.loads((await run("executions", "list", "--json")).stdout)
    some = json.loads((await run("executions", "list", "--json", "--limit", 250)).stdout)
    rest = (await api.client.get(some["next"])).json()
    every = json.loads((await run("executions", "list", "--json", "--all")).stdout)

    assert [one["id"] for one in default["results"]] == ids[:50]
    assert [one["id"] for one in some["results"]] == ids[:250]
    assert [one["id"] for one in rest["results"]] == ids[250:300]
    assert [one["id"] for one in every["results"]] == ids
    assert (every["next"], every["previous"]) == (None, None)


async def test_a_list_is_narrowed_and_an_empty_one_says_so(api: Api, run: Run) -> None:
    workflow = await api.workflow("p1")
    failed = await api.execution(workflow, Status.FAILED)
    await api.execution(workflow)

    shown = await run("executions", "list", "--status", "FAILED", "--project", "p1", "--workflow", workflow)
    nothing = await run("executions", "list", "--project", "p2")

    assert [line.split()[0] for line in shown.stdout.splitlines()[1:]] == [str(failed)]
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "", "There are none.\n")


# --- writing ------------------------------------------------------------------------------------------------

WORKFLOW = """
# a workflow as people write it
name: Nightly
project_id: p1
steps:
  - {step_type: TRANSFORM, identifier: add, config: {output: {day: 2026-01-15}}}
triggers:
  - {trigger_type: ON_PAGE_UPDATE}
"""


async def test_a_workflow_is_created_from_yaml_changed_replaced_and_deleted(api: Api, run: Run, tmp_path: Path) -> None:
    await api.workflow("p1")
    file = tmp_path / "nightly.yaml"
    file.write_text(WORKFLOW)

    created = await run("workflows", "create", file, "--json")
    assert created.returncode == 0, created.stderr
    id_ = json.loads(created.stdout)["id"]
    assert (await api.get(f"workflows/{id_}/")).json()["steps"][0]["config"] == {"output": {"day": "2026-01-15"}}

    off = await run("workflows", "update", id_, "-", stdin="is_active: false")
    assert off.returncode == 0, off.stderr
    assert (await api.get(f"workflows/{id_}/")).json()["is_active"] is False

    whole = await run("workflows", "update", id_, "-", "--replace", stdin=WORKFLOW.replace("Nightly", "Daily"))
    assert whole.returncode == 0, whole.stderr
    shown = await run("workflows", "show", id_)
    assert "Daily" in shown.stdout
    assert "TRANSFORM" in shown.stdout
    assert "ON_PAGE_UPDATE" in shown.stdout

    gone = await run("workflows", "delete", id_)
    assert (gone.returncode, gone.stdout) == (0, "")
    assert (await api.get(f"workflows/{id_}/")).status_code == 404


async def test_who_changes_what_somebody_else_has_changed_is_told_so(api: Api, run: Run) -> None:
    id_ = await api.workflow("p1", kind=CUSTOM)
    shown = await run("workflows", "show", id_)
    tag = shown.stdout.splitlines()[-1].split()[1]
    assert shown.stdout.splitlines()[-1].startswith("ETag")

    mine = await run("workflows", "update", id_, "-", "--if-match", tag, stdin="name: mine")
    late = await run("workflows", "update", id_, "-", "--if-match", tag, stdin="name: late")

    assert mine.returncode == 0, mine.stderr
    assert "changed" in failed_in_one_line(late, 4)
    assert (await api.get(f"workflows/{id_}/")).json()["name"] == "mine"


async def test_a_key_is_shown_once_and_works_until_it_is_revoked(api: Api, run: Run, tmp_path: Path) -> None:
    await api.workflow("p1")
    await api.workflow("p2")

    made = await run("keys", "create", "--name", "ops", "--scope", "read", "--project", "p1", "--json")
    key = json.loads(made.stdout)
    file = tmp_path / "key"
    file.write_text(key["key"] + "\n")
    with_file = {"AUTOMATION_API_KEY": "", "AUTOMATION_API_KEY_FILE": str(file)}
    seen = await run("workflows", "list", "--json", **with_file)
    forbidden = await run("projects", "publish", "p1", **with_file)
    revoked = await run("keys", "revoke", key["id"])
    after = await run("workflows", "list", **with_file)

    assert {one["project_id"] for one in json.loads(seen.stdout)["results"]} == {"p1"}
    assert "scope" in failed_in_one_line(forbidden, 4)
    assert revoked.returncode == 0
    assert "revoked" in failed_in_one_line(after, 2)
    assert key["key"] not in (await run("keys", "list", "--revoked", "--json")).stdout


async def test_an_event_is_sent_and_says_what_each_trigger_made_of_it(api: Api, run: Run) -> None:
    event = page_event("p1", "home", id="evt/1?x#y")

    sent = await run("events", "send", "-", stdin=json.dumps(event))
    again = await run("events", "send", "-", "--json", stdin=json.dumps([event]))
    shown = await run("events", "show", "evt/1?x#y")

    assert "taken in" in sent.stdout
    assert json.loads(again.stdout)["events"][0]["duplicate"] is True
    assert shown.returncode == 0, shown.stderr
    assert "page.updated" in shown.stdout


async def test_a_trigger_that_would_not_fire_ends_with_1_and_says_why(api: Api, run: Run) -> None:
    body = {
        "workflow_id": str(await api.workflow("p1")),
        "trigger_type": "ON_PAGE_UPDATE",
        "conditions": {"field": "data.page.id", "operator": "==", "value": "home"},
    }
    trigger = (await api.post("triggers/", body)).json()["id"]

    fires = await run("triggers", "test", trigger, "-", stdin=json.dumps(page_event("p1", "home")))
    not_so = await run("triggers", "test", trigger, "-", stdin=json.dumps(page_event("p1", "other")))

    assert fires.returncode == 0, fires.stderr
    assert fires.stdout.startswith("It would fire")
    assert not_so.returncode == 1
    assert not_so.stdout.startswith("It would not fire: ")
    assert "data.page.id" in not_so.stdout


# --- executions ---------------------------------------------------------------------------------------------


async def test_all_that_failed_in_a_project_are_tried_again(api: Api, run: Run) -> None:
    mine, other = await api.workflow("p1"), await api.workflow("p2")
    old = await api.execution(mine, Status.FAILED, completed_at=utc_now() - timedelta(hours=3))
    new = await api.execution(mine, Status.FAILED, completed_at=utc_now())
    elsewhere = await api.execution(other, Status.FAILED, completed_at=utc_now())

    since = await run("executions", "retry", "--status", "FAILED", "--project", "p1", "--since", "1h", "--json")
    rest = await run("executions", "retry", "--status", "FAILED", "--project", "p1", "--reason", "mended")

    assert json.loads(since.stdout) == {"count": 1, "executions": [str(new)], "left": 0}
    assert rest.stdout == "1 executions are tried again.\n"
    assert [(await api.stored(one)).status for one in (old, new, elsewhere)] == ["RETRYING", "RETRYING", "FAILED"]


async def test_one_is_tried_again_and_cancelled_and_its_state_is_respected(api: Api, run: Run) -> None:
    id_ = await api.execution(await api.workflow(), Status.FAILED)

    retried = await run("executions", "retry", id_)
    again = await run("executions", "retry", id_)
    cancelled = await run("executions", "cancel", id_, "--json")

    assert retried.stdout == f"Execution {id_} is RETRYING.\n"
    assert "RETRYING" in failed_in_one_line(again, 4)
    assert json.loads(cancelled.stdout)["status"] == "CANCELLED"


async def test_an_approval_is_answered(api: Api, run: Run) -> None:
    id_ = await api.execution(await api.workflow(), Status.WAITING)
    await write(api.database, Wait(execution_id=id_, identifier="ask", kind="approval"))

    answered = await run("executions", "approve", id_, "--comment", "fine", "--by", "Ada", "--json")

    assert answered.returncode == 0, answered.stderr
    wait = json.loads(answered.stdout)["wait"]
    assert (wait["status"], wait["comment"]) == ("RESOLVED", "fine")
    assert "Ada" in wait["resolved_by"]


async def test_watching_tells_the_course_live_and_ends_as_the_execution_does(api: Api) -> None:
    id_ = await api.execution(await api.workflow(), Status.RUNNING)
    await write(api.database, step_execution(id_, Status.RUNNING))
    command = [sys.executable, "-m", "automation.cli", "executions", "watch", str(id_)]
    env = os.environ | {"AUTOMATION_API_URL": api.url, "AUTOMATION_API_KEY": KEY}
    watching = await asyncio.create_subprocess_exec(*command, env=env, stdout=asyncio.subprocess.PIPE)
    assert watching.stdout is not None

    first = [(await watching.stdout.readline()).decode()[10:] for _ in "12"]
    async with api.database.transaction() as session:
        execution = await session.get_one(Execution, id_)
        execution.status, execution.error_message, execution.completed_at = Status.FAILED, "no pages", utc_now()
    last = [line.decode()[10:] async for line in watching.stdout]

    assert first == ["RUNNING    a (TRANSFORM)\n", "RUNNING    Workflow of p1 of p1\n"]
    assert last == ["FAILED     Workflow of p1 of p1: no pages\n"]
    assert await watching.wait() == 1


@pytest.mark.parametrize(("status", "code"), [("COMPLETED", 0), ("FAILED", 1), ("CANCELLED", 1)])
async def test_watching_one_that_has_ended_says_how(api: Api, run: Run, status: str, code: int) -> None:
    id_ = await api.execution(await api.workflow(), status)

    watched = await run("executions", "watch", id_, "--json")

    events = [json.loads(line) for line in watched.stdout.splitlines()]
    assert [one["event"] for one in events] == ["snapshot", "end"]
    assert events[0]["data"] == (await api.get(f"executions/{id_}/")).json()
    assert watched.returncode == code


async def test_logs_are_all_there_oldest_first(api: Api, run: Run) -> None:
    id_ = await api.execution(await api.workflow())
    begin = utc_now()
    lines = [
        ExecutionLog(execution_id=id_, level="INFO", message=f"line {n}", timestamp=begin + timedelta(seconds=n))
        for n in range(230)
    ]
    await write(api.database, *lines)

    shown = await run("executions", "logs", id_)
    first = json.loads((await run("executions", "logs", id_, "--limit", 3, "--json")).stdout)

    assert [line.split("line ")[1] for line in shown.stdout.splitlines()] == [str(n) for n in range(230)]
    assert first == (await api.get(f"executions/{id_}/logs/", page_size=3)).json()


async def test_logs_of_all_executions_are_shown_and_followed(api: Api, run: Run) -> None:
    mine, theirs = [await api.execution(await api.workflow(project), "COMPLETED") for project in ("p1", "p2")]
    begin = utc_now()
    lines = [
        (mine, "p1", "INFO", "saved"), (mine, "p1", "ERROR", "disk \x1b[2J full"), (theirs, "p2", "CRITICAL", "theirs"),
    ]  # fmt: skip
    for n, (id_, project, level, message) in enumerate(lines):
        at = begin + timedelta(seconds=n)
        await write(
            api.database,
            ExecutionLog(execution_id=id_, project_id=project, level=level, message=message, timestamp=at),
        )

    shown = await run("logs")
    narrowed = await run("logs", "--project", "p1", "--level", "WARNING", "--text", "FULL", "--json")
    followed = await run("logs", "--follow", "--execution", mine, "--level", "ERROR")

    assert [line.split()[2] for line in shown.stdout.splitlines()] == ["INFO", "ERROR", "CRITICAL"]
    assert f"disk \\x1b[2J full  [p1  {mine}]" in shown.stdout
    [line] = [json.loads(one) for one in narrowed.stdout.splitlines()]
    assert (line["level"], line["execution_id"]) == ("ERROR", str(mine))
    assert (followed.returncode, len(followed.stdout.splitlines())) == (0, 1)
    assert "disk" in followed.stdout


async def test_active_says_what_runs_where(api: Api, run: Run) -> None:
    workflow = await api.workflow()
    flow_run = FlowRun(id=uuid4(), prefect_id=uuid4(), kind="custom", state="RUNNING", process="worker-1:4711")
    await write(api.database, flow_run)
    id_ = await api.execution(workflow, Status.RUNNING, flow_run_id=flow_run.id, started_at=utc_now())
    await write(api.database, step_execution(id_, Status.RUNNING, progress=0.25))
    await api.execution(workflow)

    shown = await run("active")
    listed = json.loads((await run("active", "--json")).stdout)

    [_, row] = shown.stdout.splitlines()
    for part in (str(id_), "25 %", "worker-1:4711", str(flow_run.prefect_id), "p1"):
        assert part in row
    assert [one["id"] for one in listed["results"]] == [str(id_)]
    assert listed["results"][0]["steps"][0]["progress"] == 0.25


async def test_a_purge_cancels_what_waits_and_nothing_else(api: Api, run: Run) -> None:
    mine, other = await api.workflow("p1"), await api.workflow("p2")
    pending = [await api.execution(mine) for _ in range(3)]
    retrying = await api.execution(mine, Status.RETRYING)
    kept = {
        await api.execution(mine, Status.RUNNING): "RUNNING",
        await api.execution(mine, Status.WAITING): "WAITING",
        await api.execution(mine, Status.COMPLETED): "COMPLETED",
        await api.execution(other): "PENDING",
    }

    unasked = await run("queue", "purge", "--project", "p1")
    purged = await run("queue", "purge", "--project", "p1", "--yes", "--json")
    again = await run("queue", "purge", "--project", "p1", "--yes")

    assert unasked.returncode == 2
    assert "--yes" in unasked.stderr
    answer = json.loads(purged.stdout)
    assert (answer["count"], set(answer["executions"]), answer["left"]) == (
        4, {str(one) for one in (*pending, retrying)}, 0,
    )  # fmt: skip
    assert {(await api.stored(one)).status for one in (*pending, retrying)} == {"CANCELLED"}
    assert {one: (await api.stored(one)).status for one in kept} == kept
    assert again.stderr == "Nothing waits.\n"
    audit = (await api.get("audit/", action="cancel")).json()["results"]
    assert {one["object_id"] for one in audit} == set(answer["executions"])


async def test_a_filter_that_is_empty_is_refused_and_does_not_mean_all(api: Api, run: Run) -> None:
    workflow = await api.workflow("p1")
    pending = await api.execution(workflow)
    failed = await api.execution(workflow, Status.FAILED)
    await write(api.database, DeadLetter(execution_id=failed, **letter(workflow)))

    for words in (
        ["queue", "purge", "--yes", "--project", ""],
        ["queue", "purge", "--yes", "--kind", ""],
        ["executions", "retry", "--status", "FAILED", "--project", ""],
        ["dead-letters", "redrive", "--all", "--project", ""],
        ["silences", "create", "--for", "1h", "--rule", ""],
        ["executions", "list", "--project", ""],
    ):
        failed_in_one_line(await run(*words), 4)
    assert (await run("executions", "retry", "--status", "FAILED", "--since", "")).returncode == 2

    assert [(await api.stored(one)).status for one in (pending, failed)] == ["PENDING", "FAILED"]
    assert (await api.get("silences/")).json()["results"] == []


async def test_insights_are_tables_for_people_and_json_for_scripts(api: Api, run: Run) -> None:
    workflow_id = await api.workflow("p1", kind="auto-save")
    for _ in range(3):
        await ended(api.database, workflow_id, seconds=2, steps={"SAVE_TO_RUNTIME": (Status.COMPLETED, 40.0)})
    message = "no \x1b[31m answer"
    await ended(api.database, workflow_id, Status.FAILED, error_code="NETWORK_ERROR", error_message=message)
    await fold_all(api.database)
    await Sampler(api.database, "service", api.services.settings.home).look()

    shown = (await run("insights", "workflows", "--window", "1h")).stdout.splitlines()
    assert shown[1].split()[:6] == ["auto-save", "4", "3", "1", "0", "75"]
    assert "SAVE_TO_RUNTIME" in (await run("insights", "steps", "--project", "p1")).stdout
    errors = (await run("insights", "errors")).stdout
    assert "NETWORK_ERROR" in errors
    assert "\x1b" not in errors
    assert " MB" in (await run("insights", "resources")).stdout
    [save] = json.loads((await run("insights", "workflows", "--json")).stdout)["results"]
    assert (save["completed"], save["failed"]) == (3, 1)
    assert (await run("insights", "workflows", "--kind", "publish")).stderr.strip() == "Nothing was measured then."
    assert "longer than 90 days" in failed_in_one_line(await run("insights", "errors", "--window", "91d"), 4)


async def test_a_redrive_takes_one_or_all(api: Api, run: Run) -> None:
    workflow = await api.workflow("p1")
    failed = [await api.execution(workflow, Status.FAILED) for _ in range(3)]
    await write(api.database, *(DeadLetter(execution_id=id_, **letter(workflow)) for id_ in failed))

    one = await run("dead-letters", "redrive", failed[0])
    nothing_said = await run("dead-letters", "redrive")
    rest = await run("dead-letters", "redrive", "--all")

    assert one.stdout == f"Execution {failed[0]} is RETRYING.\n"
    assert nothing_said.returncode == 2
    assert rest.stdout == "2 executions are tried again.\n"


# --- how a command ends -------------------------------------------------------------------------------------


async def test_what_is_not_there_ends_with_3(run: Run) -> None:
    assert "does not exist" in failed_in_one_line(await run("executions", "show", uuid4()), 3)


async def test_a_refusal_ends_with_4_and_names_the_field(run: Run) -> None:
    refused = await run("workflows", "create", "-", stdin="name: x\nsteps: [{step_type: NOPE, config: {}}]")

    assert "steps" in failed_in_one_line(refused, 4)


async def test_a_wrong_key_ends_with_2(run: Run) -> None:
    failed_in_one_line(await run("executions", "list", AUTOMATION_API_KEY="wrong"), 2)


async def test_no_api_ends_with_5_and_so_does_something_else_in_its_place(run: Run, prefect_api: str) -> None:
    nobody = await run("executions", "list", AUTOMATION_API_URL="http://127.0.0.1:9")
    other = await run("executions", "list", AUTOMATION_API_URL=prefect_api.removesuffix("/api"))

    assert "does not answer" in failed_in_one_line(nobody, 5)
    assert "is not the API" in failed_in_one_line(other, 5)


async def test_usage_and_settings_that_cannot_be_right_end_with_2(run: Run) -> None:
    id_ = uuid4()
    for words in (
        ["executions", "show", "x"],
        ["executions", "list", "--status", "DONE"],
        ["executions", "list", "--limit", "0"],
        ["executions", "retry"],
        ["executions", "retry", id_, "--status", "FAILED"],
        ["executions", "retry", id_, "--project", "p1"],
        ["executions", "retry", "--status", "FAILED", "--from-start"],
        ["workflows", "create", "/no/such/file"],
        ["triggers", "test", id_],
        ["nonsense"],
    ):
        ran = await run(*words)
        assert (ran.returncode, ran.stdout) == (2, ""), words
        assert "Traceback" not in ran.stderr
    failed_in_one_line(await run("projects", "list", AUTOMATION_API_URL="nonsense"), 2)
    failed_in_one_line(await run("projects", "list", AUTOMATION_API_KEY=""), 2)
    missing = {"AUTOMATION_API_KEY": "", "AUTOMATION_API_KEY_FILE": "/no/such/file"}
    failed_in_one_line(await run("projects", "list", **missing), 2)


async def test_without_an_address_the_local_installation_is_meant(api: Api, run: Run, tmp_path: Path) -> None:
    local = {"AUTOMATION_API_URL": "", "AUTOMATION_API_KEY": "", "AUTOMATION_API_PORT": str(urlsplit(api.url).port)}
    nothing = await run("projects", "list", **local)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "api.key").write_text(KEY + "\n")
    found = await run("projects", "list", **local)

    assert "`automation up`" in failed_in_one_line(nothing, 5)
    assert found.returncode == 0, found.stderr


async def test_a_worker_that_is_elsewhere_is_not_restarted(run: Run, prefect_api: str) -> None:
    said = failed_in_one_line(await run("worker", "restart"), 3)

    assert "on this machine" in said
    assert "Prefect" in said


def step_execution(execution_id: UUID, status: str, **values: Any) -> StepExecution:
    return StepExecution(
        execution_id=execution_id,
        identifier="a",
        step_type="TRANSFORM",
        order=1,
        status=status,
        started_at=utc_now(),
        **values,
    )
