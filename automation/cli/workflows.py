"""`automation workflows`, and `automation steps`, which they are made of."""

from typing import Annotated

import typer

from automation.cli import exchange, formatting, remote, verbs
from automation.cli.formatting import Column, Json, ago
from automation.cli.options import (
    Active,
    All,
    AsJson,
    File,
    Id,
    IfMatch,
    Kind,
    Limit,
    Once,
    Project,
    read_document,
)
from automation.cli.remote import at
from automation.cli.triggers import COLUMNS as TRIGGER_COLUMNS

app = typer.Typer(no_args_is_help=True, help="What the platform does.")
steps = typer.Typer(no_args_is_help=True, help="The steps of a workflow.")

app.command("export")(exchange.export_files)
app.command("import")(exchange.import_files)

COLUMNS = (
    Column("id", "id"),
    Column("name", "name", cut=True),
    Column("project", "project_id", cut=True),
    Column("kind", "kind"),
    Column("active", "is_active"),
    Column("version", "version"),
    Column("changed", "updated_at", ago),
)
STEP_COLUMNS = (
    Column("order", "order"),
    Column("step", "identifier"),
    Column("type", "step_type"),
    Column("after", "depends_on", cut=True),
    Column("required", "is_required"),
    Column("config", "config", cut=True),
    Column("id", "id"),
)
VERSION_COLUMNS = (
    Column("version", "version"),
    Column("stored", "created_at", ago),
    Column("steps", "step_count"),
    Column("name", "definition.name", cut=True),
)

Watch = Annotated[bool, typer.Option("--watch", help="Follow it to its end; exit code 1 if it fails.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Put the file whole in its place (PUT), not only what it has.")
]
Input = Annotated[
    typer.FileBinaryRead | None, typer.Option("--input", metavar="FILE", help="Its input, JSON or YAML; `-` reads it.")
]


@app.command("list")
def list_(
    project: Project = None,
    kind: Kind = None,
    active: Active = None,
    archived: Annotated[bool, typer.Option("--archived", help="Those that were deleted and have a history.")] = False,
    limit: Limit = 50,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Workflows, newest first."""
    filters = {"project_id": project, "kind": kind, "is_active": active, "archived": archived or None}
    verbs.list_them(at("workflows"), COLUMNS, limit=limit, everything=everything, as_json=as_json, **filters)


@app.command()
def show(id: Id, as_json: AsJson = False) -> None:
    """One workflow with its steps and triggers."""
    verbs.show_one(at("workflows", id), as_json, _present)


@app.command()
def create(file: File, as_json: AsJson = False) -> None:
    """Create a workflow with its steps and triggers; secrets of webhooks are shown this once."""
    verbs.create(at("workflows"), read_document(file), as_json)


@app.command()
def update(id: Id, file: File, replace: Replace = False, if_match: IfMatch = None, as_json: AsJson = False) -> None:
    """Change what the file gives; steps and triggers are given whole."""
    verbs.update(at("workflows", id), read_document(file), as_json, whole=replace, if_match=if_match)


@app.command()
def delete(id: Id, if_match: IfMatch = None) -> None:
    """Delete a workflow; one that has executions is archived."""
    verbs.delete(at("workflows", id), f"Workflow {id}", if_match)


@app.command()
def execute(
    id: Id, file: Input = None, watch: Watch = False, idempotency_key: Once = None, as_json: AsJson = False
) -> None:
    """Run a workflow now."""
    body = {"input": read_document(file)} if file else {}
    with remote.connected() as api:
        answer = api.post(at("workflows", id, "execute"), body, idempotency_key=idempotency_key)
    verbs.started(answer, as_json, watch=watch)


@app.command()
def versions(id: Id, limit: Limit = 50, everything: All = False, as_json: AsJson = False) -> None:
    """What a workflow has been, newest first."""
    path = at("workflows", id, "versions")
    verbs.list_them(path, VERSION_COLUMNS, limit=limit, everything=everything, as_json=as_json)


def _present(workflow: Json) -> None:
    formatting.details(workflow, leave_out=("steps", "triggers"))
    for title, columns in (("steps", STEP_COLUMNS), ("triggers", TRIGGER_COLUMNS)):
        if workflow[title]:
            print()
            formatting.table(workflow[title], columns, title.capitalize())


@steps.command("list")
def list_steps(workflow: Id, limit: Limit = 50, everything: All = False, as_json: AsJson = False) -> None:
    """The steps of a workflow, in their order."""
    path = at("workflows", workflow, "steps")
    verbs.list_them(path, STEP_COLUMNS, limit=limit, everything=everything, as_json=as_json)


@steps.command("show")
def show_step(id: Id, as_json: AsJson = False) -> None:
    """One step."""
    verbs.show_one(at("steps", id), as_json)


@steps.command("add")
def add_step(workflow: Id, file: File, as_json: AsJson = False) -> None:
    """Add a step to a workflow."""
    verbs.create(at("workflows", workflow, "steps"), read_document(file), as_json)


@steps.command("update")
def update_step(
    id: Id, file: File, replace: Replace = False, if_match: IfMatch = None, as_json: AsJson = False
) -> None:
    """Change what the file gives."""
    verbs.update(at("steps", id), read_document(file), as_json, whole=replace, if_match=if_match)


@steps.command("delete")
def delete_step(id: Id, if_match: IfMatch = None) -> None:
    """Delete a step."""
    verbs.delete(at("steps", id), f"Step {id}", if_match)


@steps.command("execute")
def execute_step(
    id: Id, file: Input = None, watch: Watch = False, idempotency_key: Once = None, as_json: AsJson = False
) -> None:
    """Run one step alone, with a given input, as an execution of its own."""
    body = {"input": read_document(file)} if file else {}
    with remote.connected() as api:
        answer = api.post(at("steps", id, "execute"), body, idempotency_key=idempotency_key)
    verbs.started(answer, as_json, watch=watch)
