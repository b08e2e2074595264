"""`automation dead-letters` and `deliveries`: what went wrong, and having it done again."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer

from automation.cli import remote, verbs
from automation.cli.formatting import Column, ago
from automation.cli.options import All, AsJson, Id, Kind, Limit, Once, Project
from automation.cli.remote import at

dead_letters = typer.Typer(no_args_is_help=True, help="What has failed for good.")
deliveries = typer.Typer(no_args_is_help=True, help="What Studio, and who listens to alerts, was told.")

LETTER_COLUMNS = (
    Column("execution", "execution_id"),
    Column("workflow", "workflow_name", cut=True),
    Column("project", "project_id", cut=True),
    Column("failed", "created_at", ago),
    Column("step", "failed_step", cut=True),
    Column("code", "error_code"),
    Column("error", "error_message", cut=True),
)
DELIVERY_COLUMNS = (
    Column("id", "id"),
    Column("status", "status"),
    Column("type", "type"),
    Column("project", "project_id", cut=True),
    Column("tries", "attempts"),
    Column("made", "created_at", ago),
    Column("answer", "last_status"),
    Column("error", "last_error", cut=True),
)


class DeliveryStatus(StrEnum):
    """What became of a delivery."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


ErrorCode = Annotated[str | None, typer.Option("--error-code", help="Only of this error, such as NETWORK_ERROR.")]


@dead_letters.command("list")
def list_letters(
    project: Project = None,
    kind: Kind = None,
    error_code: ErrorCode = None,
    redriven: Annotated[bool, typer.Option("--redriven", help="Those that were tried again.")] = False,
    limit: Limit = 50,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Dead letters, newest first."""
    filters = {"project_id": project, "kind": kind, "error_code": error_code, "redriven": redriven or None}
    verbs.list_them(at("dead-letters"), LETTER_COLUMNS, limit=limit, everything=everything, as_json=as_json, **filters)


@dead_letters.command()
def redrive(
    id: Annotated[UUID | None, typer.Argument(metavar="EXECUTION", help="Which one.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them, or all that the filters name.")] = False,
    project: Project = None,
    kind: Kind = None,
    error_code: ErrorCode = None,
    idempotency_key: Once = None,
    as_json: AsJson = False,
) -> None:
    """Try a dead letter again, or many."""
    narrow = {"project_id": project, "kind": kind, "error_code": error_code}
    body = {name: value for name, value in narrow.items() if value is not None}
    if (id is None) != (everything or bool(body)):
        raise typer.BadParameter("give an EXECUTION, or --all, --project, --kind or --error-code")
    if id is None and idempotency_key is not None:
        raise typer.BadParameter("--idempotency-key goes with an EXECUTION: many are asked for call by call")
    with remote.connected() as api:
        if id is not None:
            answer = api.post(at("dead-letters", id, "redrive"), idempotency_key=idempotency_key)
            verbs.started(answer, as_json)
        else:
            verbs.repeated(lambda: api.post(at("dead-letters", "redrive"), body), as_json, "are tried again")


@deliveries.command("list")
def list_deliveries(
    status: Annotated[DeliveryStatus | None, typer.Option("--status", help="Only with this status.")] = None,
    type: Annotated[str | None, typer.Option("--type", help="Only of this type, such as execution.failed.")] = None,
    project: Project = None,
    execution: Annotated[UUID | None, typer.Option("--execution", metavar="ID", help="Only of this one.")] = None,
    limit: Limit = 50,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Deliveries, newest first."""
    filters = {"status": status and status.value, "type": type, "project_id": project, "execution_id": execution}
    verbs.list_them(at("deliveries"), DELIVERY_COLUMNS, limit=limit, everything=everything, as_json=as_json, **filters)


@deliveries.command()
def redeliver(id: Id, idempotency_key: Once = None, as_json: AsJson = False) -> None:
    """Send a delivery now, under its old id."""
    with remote.connected() as api:
        verbs.printed(api.post(at("deliveries", id, "redeliver"), idempotency_key=idempotency_key), as_json)
