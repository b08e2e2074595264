"""`automation keys` and `audit`: who may do what, and who did what."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from automation.cli import formatting, remote, verbs
from automation.cli.formatting import Column, Json, ago
from automation.cli.options import All, AsJson, Id, Limit, Project, Since, since_text
from automation.cli.remote import at

keys = typer.Typer(no_args_is_help=True, help="Keys of the API.")
audit = typer.Typer(no_args_is_help=True, help="Who did what.")

KEY_COLUMNS = (
    Column("id", "id"),
    Column("name", "name", cut=True),
    Column("key", "prefix"),
    Column("scopes", "scopes", cut=True),
    Column("project", "project_id", cut=True),
    Column("expires", "expires_at", ago),
    Column("used", "last_used_at", ago),
    Column("revoked", "revoked_at", ago),
)
AUDIT_COLUMNS = (
    Column("when", "at", ago),
    Column("who", "actor", cut=True),
    Column("action", "action"),
    Column("what", "object_type"),
    Column("id", "object_id", cut=True),
    Column("project", "project_id", cut=True),
)


class Scope(StrEnum):
    """What a key may do."""

    EVENTS_WRITE = "events:write"
    READ = "read"
    EXECUTE = "execute"
    MANAGE = "manage"
    ADMIN = "admin"


@keys.command("list")
def list_keys(
    project: Project = None,
    revoked: Annotated[bool, typer.Option("--revoked", help="Those that were revoked.")] = False,
    limit: Limit = 50,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Keys, newest first; the keys themselves are nowhere."""
    filters = {"project_id": project, "revoked": revoked or None}
    verbs.list_them(at("api-keys"), KEY_COLUMNS, limit=limit, everything=everything, as_json=as_json, **filters)


@keys.command()
def create(
    name: Annotated[str, typer.Option("--name", help="Who uses it; records of what was asked have it.")],
    scope: Annotated[list[Scope], typer.Option("--scope", help="What it may do; can be given again.")],
    project: Annotated[str | None, typer.Option("--project", metavar="ID", help="Restrict it to a project.")] = None,
    expires: Annotated[
        datetime | None, typer.Option("--expires", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%MZ"], help="In UTC.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key; it is shown this once."""
    body: Json = {"name": name, "scopes": [one.value for one in scope]}
    body |= {"project_id": project} if project is not None else {}
    body |= {"expires_at": expires.replace(tzinfo=UTC).isoformat()} if expires else {}
    verbs.create(at("api-keys"), body, as_json)


@keys.command()
def revoke(id: Id) -> None:
    """Revoke a key, at once and for good."""
    with remote.connected() as api:
        api.request("DELETE", at("api-keys", id))
    formatting.hint(f"Key {id} is revoked.")


@audit.command("list")
def list_audit(
    object_type: Annotated[str | None, typer.Option("--type", help="Only of this type, such as workflow.")] = None,
    object_id: Annotated[str | None, typer.Option("--id", help="Only of this one.")] = None,
    actor: Annotated[str | None, typer.Option("--actor", help="Only what this key did, by its name.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only this, such as update, retry, cancel.")] = None,
    project: Project = None,
    since: Since = None,
    limit: Limit = 50,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Who did what, newest first; --json has each object before and after."""
    filters = {"object_type": object_type, "object_id": object_id, "actor": actor, "action": action}
    filters |= {"project_id": project, "since": since_text(since)}
    verbs.list_them(at("audit"), AUDIT_COLUMNS, limit=limit, everything=everything, as_json=as_json, **filters)
