"""`automation projects`: Studio's projects, publishing them, and removing all that is left of one."""

from typing import Annotated

import typer

from automation.cli import formatting, remote, verbs
from automation.cli.formatting import Column, ago
from automation.cli.options import All, AsJson, Limit, Once, Yes, confirm, read_document
from automation.cli.remote import at
from automation.cli.workflows import Watch

app = typer.Typer(no_args_is_help=True, help="Studio's projects.")

COLUMNS = (
    Column("id", "id"),
    Column("name", "name", cut=True),
    Column("owner", "owner_email", cut=True),
    Column("known since", "created_at", ago),
)
ProjectId = Annotated[str, typer.Argument(metavar="ID", show_default=False)]


@app.command("list")
def list_(limit: Limit = 50, everything: All = False, as_json: AsJson = False) -> None:
    """Projects, newest first."""
    verbs.list_them(at("projects"), COLUMNS, limit=limit, everything=everything, as_json=as_json)


@app.command()
def show(id: ProjectId, as_json: AsJson = False) -> None:
    """One project."""
    verbs.show_one(at("projects", id), as_json)


@app.command()
def publish(
    id: ProjectId,
    file: Annotated[
        typer.FileBinaryRead | None, typer.Option("--data", metavar="FILE", help="What else the event has; JSON, YAML.")
    ] = None,
    watch: Watch = False,
    idempotency_key: Once = None,
    as_json: AsJson = False,
) -> None:
    """Generate a project's site and put it live, as if Studio had sent `project.published`."""
    body = {"data": read_document(file)} if file else {}
    with remote.connected() as api:
        answer = api.post(at("projects", id, "publish"), body, idempotency_key=idempotency_key)
    verbs.started(answer, as_json, watch=watch)


@app.command()
def delete(id: ProjectId, yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete a project with its workflows, history and sites, in the background; `show` says how far it is."""
    confirm(f"Everything of the project {formatting.clean(id)} goes: workflows, history, sites. Go on?", yes=yes)
    with remote.connected() as api:
        answer = api.request("DELETE", at("projects", id)).json()
    verbs.printed(answer, as_json, lambda _: formatting.say(f"Project {id} is being deleted."))
