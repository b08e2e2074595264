"""What commands list: for people, and for scripts."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import typer

from automation.cli.app import app
from automation.models import (
    Alert,
    DeadLetter,
    Delivery,
    Integration,
    Silence,
    Status,
    WorkflowStep,
    utc_now,
)
from tests.integration.api.serving import Api, page_event
from tests.integration.cli.commands import Run, letter
from tests.integration.rows import write

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
