"""`automation queue`: what waits, and throwing it away."""

from enum import StrEnum
from typing import Annotated

import typer

from automation.cli import remote, verbs
from automation.cli.formatting import Json, hint
from automation.cli.options import AsJson, Kind, Project, Workflow, Yes, confirm
from automation.cli.remote import Api, at

app = typer.Typer(no_args_is_help=True, help="What waits to be run.")


class Waiting(StrEnum):
    """How an execution can wait: for its first run, for its next try, or in the middle for something else."""

    PENDING = "PENDING"
    RETRYING = "RETRYING"
    WAITING = "WAITING"


@app.command()
def purge(
    project: Project = None,
    workflow: Workflow = None,
    kind: Kind = None,
    status: Annotated[
        list[Waiting] | None, typer.Option("--status", help="Which; PENDING and RETRYING unless given.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Cancel what waits. What runs goes on, and what comes later is taken."""
    given = {"project_id": project, "workflow_id": workflow and str(workflow), "kind": kind}
    body: Json = {name: value for name, value in given.items() if value is not None}
    wanted = [one.value for one in status or (Waiting.PENDING, Waiting.RETRYING)]
    with remote.connected() as api:
        waiting = {one: _post(api, body | {"status": one, "dry_run": True})["left"] for one in wanted}
        total = sum(waiting.values())
        if total and not yes:
            listed = ", ".join(f"{number} {one}" for one, number in waiting.items())
            confirm(f"{total} executions wait ({listed}). Cancel them?", yes=yes)
        elif not total and not as_json:
            hint("Nothing waits.")
            return
        verbs.repeated(lambda: _round(api, body, wanted), as_json, "are cancelled")


def _round(api: Api, body: Json, wanted: list[str]) -> Json:
    """Cancel some of each status."""
    answers = [_post(api, body | {"status": one}) for one in wanted]
    return {
        "count": sum(one["count"] for one in answers),
        "executions": [id_ for one in answers for id_ in one["executions"]],
        "left": sum(one["left"] for one in answers),
    }


def _post(api: Api, body: Json) -> Json:
    answer: Json = api.post(at("executions", "cancel"), body)
    return answer
