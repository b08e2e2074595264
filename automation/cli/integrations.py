"""`automation integrations`: systems outside that steps may call."""

from typing import Annotated

import typer

from automation.cli import remote, verbs
from automation.cli.exits import Code
from automation.cli.formatting import Column, ago
from automation.cli.options import Active, All, AsJson, File, Id, IfMatch, Limit, Project, read_document
from automation.cli.remote import at

app = typer.Typer(no_args_is_help=True, help="Systems outside that steps may call.")

COLUMNS = (
    Column("id", "id"),
    Column("name", "name", cut=True),
    Column("type", "type"),
    Column("project", "project_id", cut=True),
    Column("active", "is_active"),
    Column("tested", "last_tested_at", ago),
    Column("fine", "last_test.ok"),
)


@app.command("list")
def list_(
    project: Project = None,
    type: Annotated[str | None, typer.Option("--type", help="Only of this type.")] = None,
    active: Active = None,
    limit: Limit = 50,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Integrations, newest first."""
    filters = {"project_id": project, "type": type, "is_active": active}
    verbs.list_them(at("integrations"), COLUMNS, limit=limit, everything=everything, as_json=as_json, **filters)


@app.command()
def show(id: Id, as_json: AsJson = False) -> None:
    """One integration; its credentials cannot be read."""
    verbs.show_one(at("integrations", id), as_json)


@app.command()
def create(file: File, as_json: AsJson = False) -> None:
    """Create an integration."""
    verbs.create(at("integrations"), read_document(file), as_json)


@app.command()
def update(
    id: Id,
    file: File,
    replace: Annotated[bool, typer.Option("--replace", help="Put the file whole in its place.")] = False,
    if_match: IfMatch = None,
    as_json: AsJson = False,
) -> None:
    """Change what the file gives; credentials are replaced by new ones only."""
    verbs.update(at("integrations", id), read_document(file), as_json, whole=replace, if_match=if_match)


@app.command()
def delete(id: Id, if_match: IfMatch = None) -> None:
    """Delete an integration with its credentials."""
    verbs.delete(at("integrations", id), f"Integration {id}", if_match)


@app.command("test")
def try_out(id: Id, as_json: AsJson = False) -> None:
    """Do the harmless thing of its type, and say what came of it; exit code 1 if that was no good."""
    with remote.connected() as api:
        answer = api.post(at("integrations", id, "test"))
    verbs.printed(answer, as_json)
    raise typer.Exit(Code.FINE if answer["ok"] else Code.NO)
