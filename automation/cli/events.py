"""`automation events`: what happened, and telling it."""

from typing import Annotated

import typer

from automation.cli import formatting, remote, verbs
from automation.cli.formatting import Column, Json, ago
from automation.cli.options import All, AsJson, File, Limit, Project, read_document
from automation.cli.remote import at

app = typer.Typer(no_args_is_help=True, help="What happened, and what each trigger made of it.")

COLUMNS = (
    Column("id", "id", cut=True),
    Column("type", "type"),
    Column("project", "project_id", cut=True),
    Column("received", "received_at", ago),
    Column("source", "source"),
)
_TOLD_COLUMNS = (
    Column("fired", "fired"),
    Column("trigger", "trigger_id"),
    Column("type", "trigger_type"),
    Column("workflow", "workflow_name", cut=True),
    Column("outcome", "outcome"),
    Column("reason", "reason", cut=True),
    Column("due", "due_at", ago),
)


@app.command("list")
def list_(
    project: Project = None,
    type: Annotated[str | None, typer.Option("--type", help="Only of this type, such as page.updated.")] = None,
    limit: Limit = 50,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Events of the inbox, newest first."""
    filters = {"project_id": project, "type": type}
    verbs.list_them(at("events"), COLUMNS, limit=limit, everything=everything, as_json=as_json, **filters)


@app.command()
def show(id: Annotated[str, typer.Argument(metavar="ID", show_default=False)], as_json: AsJson = False) -> None:
    """Why it did, or did not, fire: an event, and what every trigger of its project made of it."""
    verbs.show_one(at("events", id), as_json, _present)


@app.command()
def send(file: File, as_json: AsJson = False) -> None:
    """Send one event, or a list of up to 500; one whose `id` came before changes nothing."""
    with remote.connected() as api:
        verbs.printed(api.post(at("events"), read_document(file)), as_json, _sent)


def _present(event: Json) -> None:
    formatting.details(event, leave_out=("triggers",))
    if event["triggers"]:
        print()
        formatting.table(event["triggers"], _TOLD_COLUMNS, "Triggers")


def _sent(answer: Json) -> None:
    for one in answer["events"]:
        started = ", ".join(f"{run['id']} ({run['status']})" for run in one["executions"])
        known = "known already" if one["duplicate"] else "taken in"
        formatting.say(f"{one['id']}: {known}; {'executions: ' + started if started else 'nothing runs'}")
