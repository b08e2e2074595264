"""`automation triggers`: when workflows run, and why they did not."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from automation.cli import formatting, remote, verbs
from automation.cli.exits import Code
from automation.cli.formatting import Column, Json, ago
from automation.cli.options import (
    Active,
    All,
    AsJson,
    File,
    Id,
    IfMatch,
    Limit,
    Once,
    Project,
    Workflow,
    parse_since,
    read_document,
    read_text,
)
from automation.cli.remote import at

app = typer.Typer(no_args_is_help=True, help="When workflows run.")

COLUMNS = (
    Column("id", "id"),
    Column("type", "trigger_type"),
    Column("event", "event_type", cut=True),
    Column("project", "project_id", cut=True),
    Column("active", "is_active"),
    Column("fired", "last_triggered", ago),
    Column("next", "next_slot", ago),
    Column("conditions", "conditions", cut=True),
)
_LEAF_COLUMNS = (
    Column("holds", "holds"),
    Column("field", "field", cut=True),
    Column("operator", "operator"),
    Column("expected", "expected", cut=True),
    Column("found", "found", cut=True),
)
_REPLAY_COLUMNS = (
    Column("fires", "fires"),
    Column("event", "event_id", cut=True),
    Column("reason", "reason", cut=True),
    Column("execution", "execution_id"),
)


@app.command("list")
def list_(
    project: Project = None,
    workflow: Workflow = None,
    type: Annotated[str | None, typer.Option("--type", help="Only of this type, such as ON_PAGE_UPDATE.")] = None,
    active: Active = None,
    limit: Limit = 50,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Triggers, newest first."""
    filters = {"project_id": project, "workflow_id": workflow, "trigger_type": type, "is_active": active}
    verbs.list_them(at("triggers"), COLUMNS, limit=limit, everything=everything, as_json=as_json, **filters)


@app.command()
def show(id: Id, as_json: AsJson = False) -> None:
    """One trigger."""
    verbs.show_one(at("triggers", id), as_json)


@app.command()
def create(file: File, as_json: AsJson = False) -> None:
    """Add a trigger to the workflow that the file names; the secret of a WEBHOOK is shown this once."""
    verbs.create(at("triggers"), read_document(file), as_json)


@app.command()
def update(
    id: Id,
    file: File,
    replace: Annotated[bool, typer.Option("--replace", help="Put the file whole in its place.")] = False,
    if_match: IfMatch = None,
    as_json: AsJson = False,
) -> None:
    """Change what the file gives; config and conditions are given whole."""
    verbs.update(at("triggers", id), read_document(file), as_json, whole=replace, if_match=if_match)


@app.command()
def delete(id: Id, if_match: IfMatch = None) -> None:
    """Delete a trigger, and what waits for its time."""
    verbs.delete(at("triggers", id), f"Trigger {id}", if_match)


@app.command()
def secret(
    id: Id,
    file: Annotated[
        typer.FileBinaryRead | None,
        typer.Option("--given", metavar="FILE", help="The one that the sender made, as Stripe does; `-` reads it."),
    ] = None,
    idempotency_key: Once = None,
    as_json: AsJson = False,
) -> None:
    """Give a WEBHOOK trigger its next secret, shown this once; the one before stays valid for a day."""
    body = {"secret": read_text(file)} if file else {}
    with remote.connected() as api:
        verbs.printed(api.post(at("triggers", id, "secret"), body, idempotency_key=idempotency_key), as_json)


@app.command("test")
def try_out(
    id: Id,
    file: Annotated[
        typer.FileBinaryRead | None, typer.Argument(metavar="FILE", help="An event; `-` reads standard input.")
    ] = None,
    event: Annotated[str | None, typer.Option("--event", metavar="ID", help="An event that came.")] = None,
    as_json: AsJson = False,
) -> None:
    """Would it fire on this event, and what would it run? Nothing runs; exit code 1 if it would not."""
    if (file is None) == (event is None):
        raise typer.BadParameter("give a file with an event, or --event with the id of one that came")
    body = {"event": read_document(file)} if file else {"event_id": event}
    with remote.connected() as api:
        answer = api.post(at("triggers", id, "test"), body)
    verbs.printed(answer, as_json, _tested)
    raise typer.Exit(Code.FINE if answer["would_fire"] else Code.NO)


@app.command()
def replay(
    id: Id,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="2026-01-15T10:30Z, or so long ago: 24h.")],
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Likewise; now unless given.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would fire.")] = False,
    idempotency_key: Once = None,
    as_json: AsJson = False,
) -> None:
    """Fire a trigger on past events, by the time at which they came in."""
    begin, end = parse_since(since), parse_since(until) or datetime.now(UTC)
    assert begin is not None
    body = {"since": begin.isoformat(), "until": end.isoformat(), "dry_run": dry_run}
    with remote.connected() as api:
        answer = api.post(at("triggers", id, "replay"), body, idempotency_key=idempotency_key)
    verbs.printed(answer, as_json, _replayed)


def _tested(answer: Json) -> None:
    formatting.say(f"{'It would fire' if answer['would_fire'] else 'It would not fire'}: {answer['reason']}")
    formatting.details(answer, leave_out=("would_fire", "reason", "leaves", "would_run", "conditions_hold"))
    if answer["leaves"]:
        print()
        formatting.table(answer["leaves"], _LEAF_COLUMNS, "Conditions")
    would_run = answer["would_run"]
    print()
    formatting.say(f"Runs: {would_run['workflow_name']} ({would_run['workflow_id']})")
    formatting.say("Steps: " + ", ".join(f"{one['identifier']} ({one['step_type']})" for one in would_run["steps"]))


def _replayed(answer: Json) -> None:
    if answer["events"]:
        formatting.table(answer["events"], _REPLAY_COLUMNS)
    fire = sum(one["fires"] for one in answer["events"])
    formatting.hint(f"{fire} of {len(answer['events'])} {'would fire' if answer['dry_run'] else 'fired'}.")
