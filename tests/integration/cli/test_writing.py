"""What commands write: workflows, keys, events."""

import json
from pathlib import Path

from automation.authoring.triggers import CUSTOM
from tests.integration.api.serving import Api, page_event
from tests.integration.cli.commands import Run, failed_in_one_line

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
