"""Workflows as files: `automation workflows export` and `import`, against a real database."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text, update

from automation.authoring import write
from automation.authoring.documents import file_name, to_text
from automation.authoring.drafts import parse_workflow
from automation.authoring.transfer import Change, apply, parse_documents, require_same, workflows_of
from automation.database import Database
from automation.errors import ConflictError, NotFoundError, RefusedError
from automation.models import Base, Trigger, WebhookSecret, Workflow
from automation.settings import Settings
from tests.integration.drawing import beside_prefect
from tests.integration.rows import every

SETTINGS = Settings()
TRANSFORM = {"step_type": "TRANSFORM", "config": {"output": {"n": 1}}}


async def create(database: Database, project_id: str | None = "p1", **body: Any) -> UUID:
    draft = parse_workflow({"name": "Any", "project_id": project_id, "steps": [TRANSFORM], **body}, SETTINGS)
    async with database.transaction() as session:
        return (await write.create_workflow(session, draft, SETTINGS)).workflow.id


async def exported(database: Database, project_id: str | None = None) -> dict[str, str]:
    async with database.transaction() as session:
        return {file_name(one): to_text(one) async for one in workflows_of(session, project_id)}


async def imported(database: Database, texts: Mapping[str, str]) -> list[Change]:
    wanted = parse_documents(texts, SETTINGS)
    async with database.transaction() as session:
        return await apply(session, wanted, SETTINGS)


async def empty(database: Database) -> None:
    tables = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
    async with database.transaction() as session:
        await session.execute(text(f"TRUNCATE {tables} CASCADE"))


def kinds(changes: list[Change]) -> list[str]:
    return [one.kind for one in changes if one.kind != "unchanged"]


# --- there and back -------------------------------------------------------------------------------------------

_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20).filter(
    lambda one: "{{" not in one
)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=6,
)
_objects = st.dictionaries(_texts, _values, max_size=3)
_options = st.fixed_dictionaries(
    {}, optional={"retry": st.just({"NETWORK_ERROR": {"max_retries": 2}}), "timeout_seconds": st.integers(1, 300)}
)
_configs: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "TRANSFORM": st.fixed_dictionaries({"output": _objects}),
    "SET_VARIABLES": st.fixed_dictionaries({"variables": _objects}),
    "WAIT": st.fixed_dictionaries({"seconds": st.floats(0.5, 1e6)}),
    "APPROVAL": st.fixed_dictionaries({"message": _texts}),
    "FOR_EACH": st.fixed_dictionaries({"items": st.lists(_values, max_size=3), "step": st.just(TRANSFORM)}),
}


@st.composite
def _steps(draw: st.DrawFn) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(sorted(_configs)))
        before = [one["identifier"] for one in made]
        made.append(
            {
                "identifier": f"s{number}",
                "step_type": kind,
                "order": number // 2,  # what is later waits for what is earlier only, so there is no circle
                "config": draw(_configs[kind]) | draw(_options),
                "depends_on": draw(st.lists(st.sampled_from(before), unique=True)) if before else [],
                "conditions": draw(st.sampled_from([{}, {"field": "trigger.data.n", "operator": ">", "value": 1}])),
                "is_required": draw(st.booleans()),
            }
        )
    return made


_triggers = st.lists(
    st.sampled_from(
        [
            {"trigger_type": "API_CALL"},
            {"trigger_type": "ON_PUBLISH", "is_active": False},
            {"trigger_type": "EVENT", "event_type": "order.*", "conditions": {"field": "x", "operator": "exists"}},
            {"trigger_type": "SCHEDULED", "config": {"cron": "0 2 * * *", "timezone": "Europe/Paris"}},
            {"trigger_type": "WEBHOOK", "config": {"scheme": "github"}},
            {"trigger_type": "WEBHOOK"},
        ]
    ),
    max_size=4,
)  # fmt: skip
_workflows = st.fixed_dictionaries(
    {
        "name": _texts.filter(bool),
        "description": _texts,
        "is_active": st.booleans(),
        "config": _objects.filter(lambda one: not one.keys() & {"retry", "run_mode"}),
        "steps": _steps(),
        "triggers": _triggers,
    }
)


@beside_prefect
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(bodies=st.lists(_workflows, min_size=1, max_size=3))
async def test_what_is_exported_and_imported_is_what_it_was_byte_for_byte(
    database: Database, bodies: list[dict[str, Any]]
) -> None:
    await empty(database)
    for body in bodies:
        await create(database, **body)
    texts = await exported(database)
    times = {one.id: (one.updated_at, one.version) for one in await every(database, Workflow)}

    assert kinds(await imported(database, texts)) == []
    assert {one.id: (one.updated_at, one.version) for one in await every(database, Workflow)} == times
    assert await exported(database) == texts

    await empty(database)  # another installation
    assert kinds(await imported(database, texts)) == ["created"] * len(bodies)
    assert await exported(database) == texts


async def test_an_edit_in_a_file_changes_that_and_nothing_else(database: Database) -> None:
    id_ = await create(database, name="First", triggers=[{"trigger_type": "WEBHOOK"}, {"trigger_type": "ON_PUBLISH"}])
    await create(database, name="Second")
    [hook] = [one for one in await every(database, Trigger) if one.trigger_type == "WEBHOOK"]
    secrets = {one.id for one in await every(database, WebhookSecret)}
    texts = await exported(database)
    [mine] = [name for name in texts if name.startswith("first-")]
    hook_off = "- trigger_type: WEBHOOK\n  is_active: false\n"
    edited = texts[mine].replace("n: 1", "n: 2").replace("- trigger_type: WEBHOOK\n", hook_off)

    changes = await imported(database, texts | {mine: edited})

    assert [(one.kind, one.workflow_id) for one in changes if one.kind != "unchanged"] == [("changed", id_)]
    assert (await exported(database))[mine] == edited
    [same] = [one for one in await every(database, Trigger) if one.trigger_type == "WEBHOOK"]
    assert (same.id, same.is_active) == (hook.id, False)
    assert {one.id for one in await every(database, WebhookSecret)} == secrets


async def test_no_secret_is_in_a_file(database: Database) -> None:
    await create(database, triggers=[{"trigger_type": "WEBHOOK", "secret": "whsec_" + "c2VjcmV0" * 4}])

    assert not [one for one in (await exported(database)).values() if "c2VjcmV0" in one or "secret" in one]


async def test_a_workflow_of_the_system_takes_steps_and_config_and_keeps_what_it_is(database: Database) -> None:
    await create(database)
    texts = await exported(database)
    [mine] = [name for name in texts if "kind: auto-save" in texts[name]]
    assert "id:" not in texts[mine].split("\n")[0]
    edited = texts[mine].replace("triggers:\n", "config:\n  run_mode: single\ntriggers:\n", 1)
    edited = edited.replace("name: Auto-save p1", "name: Auto-save elsewhere")

    [change] = await imported(database, {mine: edited})

    assert change.kind == "changed"
    assert "run_mode: single" in change.after
    assert "name: Auto-save p1" in change.after


async def test_a_workflow_of_the_system_that_is_not_there_is_named(database: Database) -> None:
    with pytest.raises(NotFoundError, match=r"^x.yaml: the platform has no workflow of kind 'cleanup'"):
        await imported(database, {"x.yaml": "name: Cleanup\nkind: cleanup\n"})


# --- what is refused ------------------------------------------------------------------------------------------


async def test_every_wrong_file_is_told_with_its_fault_and_nothing_is_written(database: Database) -> None:
    good = f"id: {uuid4()}\nname: Good\nproject_id: p1\n"
    wrong = {
        "a.yaml": good,
        "b.yaml": f"id: {uuid4()}\nname: B\nsteps:\n- step_type: TRANSFORM\n  config: {{outptu: 1}}\n",
        "c.yaml": "name: [\n",
        "d.yaml": "name: No id\n",
        "e.yaml": good,
    }

    with pytest.raises(RefusedError) as refused:
        await imported(database, wrong)

    lines = str(refused.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["b.yaml", "c.yaml", "d.yaml", "e.yaml"]
    assert "steps.0.config.outptu" in lines[0]
    assert "a.yaml" in lines[3]
    assert await every(database, Workflow) == []


async def test_one_file_that_cannot_be_applied_keeps_all_others_out(database: Database) -> None:
    id_ = await create(database)
    texts = {
        "new.yaml": f"id: {uuid4()}\nname: New\nproject_id: p1\n",
        "moved.yaml": f"id: {id_}\nname: Moved\nproject_id: p2\n",
    }

    with pytest.raises(ConflictError, match=r"^moved.yaml: project_id"):
        await imported(database, texts)

    assert "New" not in {one.name for one in await every(database, Workflow)}


async def test_what_somebody_changed_after_it_was_shown_is_not_overwritten(database: Database) -> None:
    id_ = await create(database)
    texts = {name: one.replace("n: 1", "n: 2") for name, one in (await exported(database)).items() if "n: 1" in one}
    wanted = parse_documents(texts, SETTINGS)
    async with database.rehearsal() as session:
        shown = await apply(session, wanted, SETTINGS)
    async with database.transaction() as session:
        await session.execute(update(Workflow).where(Workflow.id == id_).values(description="Changed"))

    async with database.rehearsal() as session:
        with pytest.raises(ConflictError, match="changed meanwhile"):
            require_same(shown, await apply(session, wanted, SETTINGS))


# --- the command ----------------------------------------------------------------------------------------------


class Commands:
    """`automation workflows …`, as people type it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.folder = folder
        home = folder / "home"
        self.env = os.environ | {
            "AUTOMATION_HOME": str(home), "AUTOMATION_DATABASE_URL": database.url, "NO_COLOR": "1",
        }  # fmt: skip

    def __call__(self, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "automation.cli", "workflows", *arguments]
        return subprocess.run(
            command, env=self.env, cwd=self.folder, input=answer, capture_output=True, text=True, timeout=60
        )


@pytest.fixture
def command(database: Database, tmp_path: Path) -> Commands:
    return Commands(database, tmp_path)


async def test_a_folder_of_files_is_written_read_and_written_again(
    database: Database, command: Commands, tmp_path: Path
) -> None:
    id_ = await create(database, name="Tell the team")
    await create(database, name="Elsewhere", project_id="p2")
    folder = tmp_path / "files"

    first = command("export", "--out", "files", "--project", "p1")

    assert (first.returncode, first.stdout) == (0, "4 workflows in files, 4 of the files written\n")
    file = folder / f"tell-the-team-{id_.hex[:8]}.yaml"
    assert command("export", "--out", "files", "--project", "p1").stdout.endswith(" 0 of the files written\n")
    assert command("import", "files").stdout == "0 created, 0 changed, 4 unchanged\n"

    file.write_text(file.read_text().replace("n: 1", "n: 2").replace("Tell the team", "Tell everybody"))
    dry = command("import", "files", "--dry-run")
    assert "-      n: 1\n+      n: 2\n" in dry.stdout
    assert dry.stdout.endswith("0 created, 1 changed, 3 unchanged\n")
    unasked = command("import", "files", answer="y\n")
    assert (unasked.returncode, "--yes" in unasked.stderr) == (2, True)
    assert [one.name for one in await every(database, Workflow) if one.id == id_] == ["Tell the team"]

    done = command("import", "files", "--yes")
    assert done.returncode == 0, done.stderr
    assert [one.name for one in await every(database, Workflow) if one.id == id_] == ["Tell everybody"]
    command("export", "--out", "files", "--project", "p1")
    assert sorted(one.name for one in folder.glob("tell-*")) == [f"tell-everybody-{id_.hex[:8]}.yaml"]


async def test_what_no_file_is_about_is_named_and_stays(database: Database, command: Commands, tmp_path: Path) -> None:
    await create(database, name="In a file")
    command("export", "--out", "files", "--project", "p1")
    extra = await create(database, name="Not in one")

    said = command("import", "files", "--yes").stdout

    assert f"not in the files, and left as it is: Not in one (custom-workflow, {extra})" in said
    assert "In a file" not in said


async def test_a_wrong_file_ends_the_command_with_its_name_and_place(command: Commands, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(f"id: {uuid4()}\nname: W\nsteps:\n- step_type: BREW_COFFEE\n")

    result = command("import", "wrong.yaml", "--yes")

    assert result.returncode == 4
    assert result.stderr.startswith("automation: wrong.yaml: steps.0.step_type: ")
    assert "Traceback" not in result.stderr
