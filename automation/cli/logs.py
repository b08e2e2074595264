"""`automation logs`: what executions log, all of them together, now and live."""

from typing import Annotated
from uuid import UUID

import typer

from automation.cli import formatting, remote
from automation.cli.executions import Level, present_line
from automation.cli.formatting import Json
from automation.cli.options import Limit, Project, Since, since_text
from automation.cli.remote import at


def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    project: Project = None,
    execution: Annotated[UUID | None, typer.Option("--execution", metavar="ID", help="Only of this one.")] = None,
    level: Annotated[Level | None, typer.Option("--level", help="Only of this level, or graver.")] = None,
    step: Annotated[str | None, typer.Option("--step", help="Only of this step, by type or identifier.")] = None,
    text: Annotated[str | None, typer.Option("--text", help="Only with this in the message, in any case.")] = None,
    since: Since = None,
    limit: Limit = 50,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON each, for scripts.")] = False,
) -> None:
    """What executions have logged: the last lines, oldest first. With --execution, --follow ends when it has ended."""
    if follow and since:
        raise typer.BadParameter("--since does not go with --follow; --limit says how many lines come first")
    wanted = {"project_id": project, "min_level": level and level.value, "step": step, "q": text}
    show = _as_json if as_json else _present
    with remote.connected() as api:
        if not follow:
            found = api.pages(at("logs"), limit, execution_id=execution, since=since_text(since), **wanted)
            for line in reversed(found["results"]):
                show(line)
            return
        path = at("logs", "stream") if execution is None else at("executions", execution, "logs", "stream")
        if execution is not None:
            wanted.pop("project_id")
        for name, data in api.stream(path, last=min(limit, 1000), **wanted):
            if name == "line":
                show(data)
            elif name == "left_out":
                formatting.hint(f"{data['count']} lines came too fast, and are left out here.")


def _present(line: Json) -> None:
    of = "  ".join(str(one) for one in (line["project_id"], line["execution_id"]) if one)
    present_line(line | {"message": f"{line['message']}  [{of}]"} if of else line)


def _as_json(line: Json) -> None:
    formatting.as_json(line, indent=None)
