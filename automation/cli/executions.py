"""`automation executions`, and `automation active`: what has run, what runs, and having it tried again or stopped."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer

from automation.cli import formatting, remote, verbs
from automation.cli.formatting import Column, Json, ago, percent, plain, took
from automation.cli.options import (
    All,
    AsJson,
    Id,
    Kind,
    Limit,
    Once,
    Project,
    Since,
    Workflow,
    read_document,
    since_text,
)
from automation.cli.remote import at
from automation.cli.watching import follow

app = typer.Typer(no_args_is_help=True, help="What has run, and what runs.")


class Status(StrEnum):
    """What an execution can be."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    RETRYING = "RETRYING"
    WAITING = "WAITING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Ended(StrEnum):
    """How one that can be tried again has ended."""

    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Level(StrEnum):
    """How grave a line of a log is."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


COLUMNS = (
    Column("id", "id"),
    Column("status", "status"),
    Column("workflow", "workflow_name", cut=True),
    Column("project", "project_id", cut=True),
    Column("key", "key", cut=True),
    Column("accepted", "created_at", ago),
    Column("error", "error_message", cut=True),
)
_STEP_COLUMNS = (
    Column("step", "identifier"),
    Column("type", "type"),
    Column("status", "status"),
    Column("took", "duration_ms", took),
    Column("progress", "progress", percent),
    Column("attempt", "attempt"),
    Column("items", "items", cut=True),
    Column("error", "error_message", cut=True),
)
_PARTS = {
    "attempts": (
        Column("attempt", "attempt"),
        Column("status", "status"),
        Column("ended", "ended_at", ago),
        Column("step", "failed_step"),
        Column("next asked by", "asked_by", cut=True),
        Column("error", "error_message", cut=True),
    ),
    "waits": (
        Column("step", "identifier"),
        Column("for", "kind"),
        Column("status", "status"),
        Column("since", "since", ago),
        Column("until", "due_at", ago),
        Column("answered by", "resolved_by", cut=True),
        Column("message", "message", cut=True),
    ),
    "children": (Column("execution", "execution_id"), Column("status", "status"), Column("of step", "step")),
    "owed": (
        Column("neighbour", "neighbour"),
        Column("step", "step"),
        Column("status", "status"),
        Column("next try", "due_at", ago),
        Column("error", "last_error", cut=True),
    ),
}
_ITEM_COLUMNS = (
    Column("item", "identifier"),
    Column("status", "status"),
    Column("took", "duration_ms", took),
    Column("attempt", "attempt"),
    Column("error", "error_message", cut=True),
)
ACTIVE_COLUMNS = (
    Column("execution", "id"),
    Column("workflow", "workflow_name", cut=True),
    Column("project", "project_id", cut=True),
    Column("since", "started_at", ago),
    Column("step", "step", cut=True),
    Column("progress", "progress", percent),
    Column("process", "flow_run.process", cut=True),
    Column("flow run", "flow_run.id"),
)


@app.command("list")
def list_(
    project: Project = None,
    workflow: Workflow = None,
    status: Annotated[Status | None, typer.Option("--status", help="Only with this status.")] = None,
    kind: Kind = None,
    parent: Annotated[
        UUID | None, typer.Option("--parent", metavar="ID", help="Only those that this one's steps have started.")
    ] = None,
    degraded: Annotated[bool | None, typer.Option("--degraded/--sound", help="Only those that lack something.")] = None,
    limit: Limit = 50,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Executions, newest first."""
    filters = {
        "project_id": project,
        "workflow_id": workflow,
        "status": status and status.value,
        "kind": kind,
        "parent_id": parent,
        "degraded": degraded,
    }
    verbs.list_them(at("executions"), COLUMNS, limit=limit, everything=everything, as_json=as_json, **filters)


@app.command()
def show(id: Id, as_json: AsJson = False) -> None:
    """One execution with its steps."""
    verbs.show_one(at("executions", id), as_json, _present)


@app.command()
def items(
    id: Id,
    step: Annotated[str, typer.Option("--step", help="The identifier of a FOR_EACH step.")],
    status: Annotated[Status | None, typer.Option("--status", help="Only with this status.")] = None,
    as_json: AsJson = False,
) -> None:
    """What a FOR_EACH did with each of its items."""
    with remote.connected() as api:
        answer = api.get(at("executions", id, "items"), step=step, status=status and status.value)
    verbs.printed(answer, as_json, lambda one: formatting.table(one["results"], _ITEM_COLUMNS))


@app.command()
def logs(
    id: Id,
    level: Annotated[Level | None, typer.Option("--level", help="Only lines of this level, or graver.")] = None,
    step: Annotated[str | None, typer.Option("--step", help="Only of this step, by type or identifier.")] = None,
    text: Annotated[str | None, typer.Option("--text", help="Only with this in the message, in any case.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first so many; else all.")] = None,
    as_json: AsJson = False,
) -> None:
    """The log of an execution, oldest line first."""
    with remote.connected() as api:
        answer = api.pages(at("executions", id, "logs"), limit, min_level=level and level.value, step=step, q=text)
    verbs.printed(answer, as_json, _present_log)


@app.command()
def watch(id: Id, as_json: AsJson = False) -> None:
    """Follow an execution to its end, live; exit code 1 if it fails or is cancelled."""
    with remote.connected() as api:
        raise typer.Exit(follow(api, str(id), as_json))


@app.command()
def retry(
    id: Annotated[UUID | None, typer.Argument(metavar="ID", help="Which one; without it, --status says which.")] = None,
    status: Annotated[Ended | None, typer.Option("--status", help="All that have ended so.")] = None,
    project: Project = None,
    workflow: Workflow = None,
    kind: Kind = None,
    since: Since = None,
    from_step: Annotated[str | None, typer.Option("--from-step", help="One: this step and what follows anew.")] = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="One: all its steps anew.")] = False,
    file: Annotated[
        typer.FileBinaryRead | None,
        typer.Option("--input", metavar="FILE", help="With --from-start: another input, JSON or YAML."),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Kept with the attempt.")] = "",
    follow_it: Annotated[bool, typer.Option("--watch", help="One: follow it to its end.")] = False,
    idempotency_key: Once = None,
    as_json: AsJson = False,
) -> None:
    """Try an execution again, or all that a filter names; each goes on at its first step that is not completed."""
    filters = {
        "project_id": project,
        "workflow_id": workflow and str(workflow),
        "kind": kind,
        "since": since_text(since),
    }
    narrow = {name: value for name, value in filters.items() if value is not None}
    of_one = from_step is not None or from_start or file is not None or follow_it or idempotency_key is not None
    if (id is None) == (status is None):
        raise typer.BadParameter("give an ID, or --status FAILED or CANCELLED")
    if id is not None and narrow:
        raise typer.BadParameter("--project, --workflow, --kind and --since go with --status, not with an ID")
    if id is None and of_one:
        raise typer.BadParameter(
            "--from-step, --from-start, --input, --watch and --idempotency-key go with an ID, not with --status"
        )
    with remote.connected() as api:
        if status is not None:
            body = narrow | {"status": status.value, "reason": reason}
            verbs.repeated(lambda: api.post(at("executions", "retry"), body), as_json, "are tried again")
            return
        one: Json = {"from_start": from_start, "reason": reason}
        one |= {"from_step": from_step} if from_step is not None else {}
        one |= {"input": read_document(file)} if file else {}
        answer = api.post(at("executions", id, "retry"), one, idempotency_key=idempotency_key)
    verbs.started(answer, as_json, watch=follow_it)


@app.command()
def cancel(id: Id, as_json: AsJson = False) -> None:
    """Cancel an execution: at once while it waits, as soon as its step can be stopped while it runs."""
    with remote.connected() as api:
        verbs.started(api.post(at("executions", id, "cancel")), as_json)


@app.command()
def approve(
    id: Id,
    reject: Annotated[bool, typer.Option("--reject", help="Say no: it fails.")] = False,
    comment: Annotated[str, typer.Option("--comment", help="Kept with the answer.")] = "",
    step: Annotated[str | None, typer.Option("--step", help="Which approval, when several wait.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="Who says so.")] = None,
    as_json: AsJson = False,
) -> None:
    """Answer the approval that an execution waits for."""
    given = {"approve": not reject, "comment": comment, "step": step, "by": by}
    with remote.connected() as api:
        answer = api.post(
            at("executions", id, "approve"), {name: one for name, one in given.items() if one is not None}
        )
    verbs.started(answer, as_json)


def active(project: Project = None, kind: Kind = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    """What runs now: since when, at which step, how far, in which process."""
    with remote.connected() as api:
        running = api.pages(at("executions"), limit, status="RUNNING", project_id=project, kind=kind)
        found = []
        for one in running["results"]:
            detail = api.find(at("executions", one["id"]))
            if detail is not None and detail["status"] == "RUNNING":
                found.append(detail)
    if as_json:
        formatting.as_json(running | {"results": found})
    elif not found:
        formatting.hint("Nothing runs.")
    else:
        formatting.table([one | _at_work(one) for one in found], ACTIVE_COLUMNS)


def _at_work(execution: Json) -> Json:
    """The steps that are under way, since when, and how far the first of them is that says."""
    steps = [step for step in execution["steps"] if step["status"] == "RUNNING"]
    begun = min((step["started_at"] for step in steps if step["started_at"]), default=execution["started_at"])
    progress = next((step["progress"] for step in steps if step["progress"] is not None), None)
    return {"step": [step["identifier"] for step in steps], "progress": progress, "started_at": begun}


def _present(execution: Json) -> None:
    out = {"steps", "trigger", "result", "flow_run", "degraded", "parent", *_PARTS}
    formatting.details(execution, leave_out=out)
    trigger, run, parent = execution["trigger"], execution["flow_run"], execution["parent"]
    _line("trigger", trigger["type"], trigger["event_type"])
    if run:
        _line("flow run", plain(run["id"]), run["state"], run["process"])
    if parent:
        _line("started by", parent["execution_id"], f"step {parent['step']}")
    if execution["degraded"]:
        _line("degraded", "yes")
    for title, columns in {"steps": _STEP_COLUMNS, **_PARTS}.items():
        if execution[title]:
            print()
            formatting.table(execution[title], columns, title.capitalize())


def _line(name: str, *values: str) -> None:
    formatting.say(f"{name:<22} {'  '.join(value for value in values if value)}")


def _present_log(listing: Json) -> None:
    for line in listing["results"]:
        present_line(line)


def present_line(line: Json) -> None:
    """Print a line of a log; in colours, where there are any."""
    took_ = f"  ({took(line['duration_ms'])})" if line["duration_ms"] is not None else ""
    at_ = line["timestamp"].replace("T", " ")[:23]
    text = f"{at_}  {line['level']:<8} {line['step'] or formatting.NOTHING}  {line['message']}{took_}"
    formatting.say(text, line["level"])
