"""`automation alerts` and `silences`: what is wrong, who looks after it, and not hearing of it for a while."""

import re
from enum import StrEnum
from typing import Annotated

import typer

from automation.cli import formatting, remote, verbs
from automation.cli.formatting import Column, ago
from automation.cli.options import All, AsJson, Id, Limit, Project
from automation.cli.remote import at

app = typer.Typer(no_args_is_help=True, help="What an operator should know.")
silences = typer.Typer(no_args_is_help=True, help="What nobody is told of for a while.")

COLUMNS = (
    Column("id", "id"),
    Column("state", "state"),
    Column("severity", "severity"),
    Column("rule", "rule", cut=True),
    Column("project", "project_id", cut=True),
    Column("since", "created_at", ago),
    Column("over", "resolved_at", ago),
    Column("looked after by", "acknowledged_by", cut=True),
    Column("message", "message", cut=True),
)
RULE_COLUMNS = (
    Column("rule", "name"),
    Column("on", "enabled"),
    Column("severity", "severity"),
    Column("title", "title", cut=True),
)
SILENCE_COLUMNS = (
    Column("id", "id"),
    Column("rule", "rule"),
    Column("project", "project_id", cut=True),
    Column("until", "until"),
    Column("by", "created_by", cut=True),
    Column("comment", "comment", cut=True),
)


class Severity(StrEnum):
    """How grave an alert is."""

    INFO = "INFO"
    WARNING = "WARNING"
    CRITICAL = "CRITICAL"


class State(StrEnum):
    """How an alert stands."""

    PENDING = "PENDING"
    FIRING = "FIRING"
    RESOLVED = "RESOLVED"


By = Annotated[str | None, typer.Option("--by", help="Who says so.")]
Comment = Annotated[str, typer.Option("--comment", help="Kept with it.")]
Rule = Annotated[str | None, typer.Option("--rule", help="Only of this rule, such as repeated-failures.")]
For = Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 90s, 30m, 8h, 7d.")]


@app.command("list")
def list_alerts(
    project: Project = None,
    rule: Rule = None,
    severity: Annotated[Severity | None, typer.Option("--severity", help="Only so grave.")] = None,
    state: Annotated[State | None, typer.Option("--state", help="Only in this state.")] = None,
    is_open: Annotated[
        bool | None, typer.Option("--open/--closed", help="Neither over nor acknowledged, or the others.")
    ] = None,
    limit: Limit = 50,
    everything: All = False,
    as_json: AsJson = False,
) -> None:
    """Alerts, newest first."""
    filters = {
        "project_id": project,
        "rule": rule,
        "severity": severity and severity.value,
        "state": state and state.value,
        "open": is_open,
    }
    verbs.list_them(at("alerts"), COLUMNS, limit=limit, everything=everything, as_json=as_json, **filters)


@app.command()
def show(id: Id, as_json: AsJson = False) -> None:
    """One alert: what was seen, its threshold, what to do, where to read on."""
    verbs.show_one(at("alerts", id), as_json)


@app.command()
def acknowledge(id: Id, comment: Comment = "", by: By = None, as_json: AsJson = False) -> None:
    """Say that somebody looks after an alert."""
    with remote.connected() as api:
        verbs.printed(api.post(at("alerts", id, "acknowledge"), _said(comment, by)), as_json)


@app.command()
def silence(id: Id, for_: For, comment: Comment = "", by: By = None, as_json: AsJson = False) -> None:
    """Tell nobody of an alert, or of the next one about the same thing, for a while."""
    body = {"seconds": _seconds(for_), **_said(comment, by)}
    with remote.connected() as api:
        verbs.printed(api.post(at("alerts", id, "silence"), body), as_json)


@app.command()
def rules(as_json: AsJson = False) -> None:
    """The rules in force."""
    with remote.connected() as api:
        answer = api.get(at("alert-rules"))
    verbs.printed(answer, as_json, lambda listing: formatting.table(listing["results"], RULE_COLUMNS))


@silences.command("list")
def list_silences(project: Project = None, limit: Limit = 50, everything: All = False, as_json: AsJson = False) -> None:
    """Silences that are not over, newest first."""
    path = at("silences")
    verbs.list_them(path, SILENCE_COLUMNS, limit=limit, everything=everything, as_json=as_json, project_id=project)


@silences.command()
def create(
    for_: For, rule: Rule = None, project: Project = None, comment: Comment = "", by: By = None, as_json: AsJson = False
) -> None:
    """Tell nobody of what a rule sees, or of what concerns a project, for a while; with neither, of anything."""
    narrow = {name: value for name, value in (("rule", rule), ("project_id", project)) if value is not None}
    with remote.connected() as api:
        verbs.printed(api.post(at("silences"), {"seconds": _seconds(for_), **narrow, **_said(comment, by)}), as_json)


@silences.command()
def delete(id: Id) -> None:
    """End a silence now."""
    verbs.delete(at("silences", id), f"Silence {id}")


def _said(comment: str, by: str | None) -> dict[str, str]:
    return {"comment": comment} | ({"by": by} if by is not None else {})


def _seconds(text: str) -> int:
    """Raises BadParameter: it is no duration."""
    found = re.fullmatch(r"(\d{1,7})([smhd])", text)
    if not found:
        raise typer.BadParameter(f"{text!r} is no duration such as 90s, 30m, 8h or 7d.", param_hint="--for")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]
