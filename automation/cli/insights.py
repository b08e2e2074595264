"""`automation insights`: how workflows and steps went, what fails, and what processes use."""

from typing import Annotated, Any

import typer

from automation.cli import formatting, remote, verbs
from automation.cli.formatting import Column, Json, ago, percent, took
from automation.cli.options import AsJson, Kind, Project, Since, since_text
from automation.cli.remote import at

app = typer.Typer(no_args_is_help=True, help="What was measured, lately.")

Length = Annotated[
    str, typer.Option("--window", metavar="LENGTH", help="How far back: 90s, 15m, 24h, 7d; 90d at most.")
]

_TIMES = (
    Column("mean", "mean_ms", took),
    Column("p50", "p50_ms", took),
    Column("p95", "p95_ms", took),
    Column("p99", "p99_ms", took),
)
WORKFLOW_COLUMNS = (
    Column("kind", "kind"),
    Column("ended", "count"),
    Column("completed", "completed"),
    Column("failed", "failed"),
    Column("cancelled", "cancelled"),
    Column("success", "success_rate", percent),
    *_TIMES,
    Column("event to done, p95", "to_done_p95_ms", took),
)
STEP_COLUMNS = (Column("step", "step_type"), Column("ran", "count"), Column("failed", "failed"), *_TIMES)
ERROR_COLUMNS = (
    Column("times", "count"),
    Column("error", "error_code"),
    Column("step", "step"),
    Column("message", "message", cut=True),
    Column("first", "first_seen", ago),
    Column("last", "last_seen", ago),
    Column("example", "execution_id"),
)


def _megabytes(value: Any) -> str:
    return formatting.NOTHING if value is None else f"{value / 1e6:.0f} MB"


RESOURCE_COLUMNS = (
    Column("what", "role"),
    Column("host", "host", cut=True),
    Column("pid", "pid"),
    Column("cpu", "cpu", percent),
    Column("most cpu", "most_cpu", percent),
    Column("memory", "memory_bytes", _megabytes),
    Column("of all", "memory_share", percent),
    Column("disk", "disk_share", percent),
    Column("connections", "connections"),
    Column("of all", "connections_share", percent),
    Column("seen", "at", ago),
)


@app.command()
def workflows(
    length: Length = "24h", since: Since = None, project: Project = None, kind: Kind = None, as_json: AsJson = False
) -> None:
    """Execution time and success rate, by type of workflow."""
    _show("workflows", WORKFLOW_COLUMNS, as_json, window=length, since=since, project_id=project, kind=kind)


@app.command()
def steps(
    length: Length = "24h", since: Since = None, project: Project = None, kind: Kind = None, as_json: AsJson = False
) -> None:
    """Performance of steps, by type; --kind is that of their workflow."""
    _show("steps", STEP_COLUMNS, as_json, window=length, since=since, project_id=project, kind=kind)


@app.command()
def errors(
    length: Length = "24h",
    since: Since = None,
    project: Project = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="So many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Frequent errors, grouped by their cause."""
    _show("errors", ERROR_COLUMNS, as_json, window=length, since=since, project_id=project, limit=limit)


@app.command()
def resources(length: Length = "15m", since: Since = None, as_json: AsJson = False) -> None:
    """CPU, memory, disk and connections: what is used now, and the most CPU that was."""
    with remote.connected() as api:
        answer = api.get(at("insights", "resources"), window=length, since=since_text(since))
    verbs.printed(answer, as_json, lambda one: _table([_latest(series) for series in one["results"]], RESOURCE_COLUMNS))


def _latest(series: Json) -> Json:
    points = series["points"]
    most = max((one["cpu"] for one in points if one["cpu"] is not None), default=None)
    latest: Json = points[-1]
    return series | latest | {"most_cpu": most}


def _show(what: str, columns: tuple[Column, ...], as_json: bool, *, since: str | None, **params: Any) -> None:
    with remote.connected() as api:
        answer = api.get(at("insights", what), since=since_text(since), **params)
    verbs.printed(answer, as_json, lambda one: _table(one["results"], columns))


def _table(rows: list[Json], columns: tuple[Column, ...]) -> None:
    if rows:
        formatting.table(rows, columns)
    else:
        formatting.hint("Nothing was measured then.")
