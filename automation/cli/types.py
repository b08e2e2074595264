"""`automation step-types` and `trigger-types`: what a workflow can be made of; and `automation health`."""

from typing import Annotated

import typer

from automation.cli import formatting, remote, verbs
from automation.cli.exits import Code, CommandError
from automation.cli.formatting import Column, Json
from automation.cli.options import AsJson
from automation.cli.remote import at

_COLUMNS = (Column("name", "name"), Column("description", "description", cut=True))
Name = Annotated[str | None, typer.Argument(metavar="NAME", help="Show this one, with the schema of its config.")]


def step_types(name: Name = None, as_json: AsJson = False) -> None:
    """What a step can do."""
    _types("step-types", name, as_json)


def trigger_types(name: Name = None, as_json: AsJson = False) -> None:
    """When a workflow can run."""
    _types("trigger-types", name, as_json)


def health(as_json: AsJson = False) -> None:
    """Whether the API, its database and Prefect answer; exit code 5 says no."""
    with remote.connected() as api:
        verbs.printed(api.get(at("health", "ready")), as_json, lambda one: formatting.say(f"{one['status']}"))


def _types(noun: str, name: str | None, as_json: bool) -> None:
    with remote.connected() as api:
        listing: Json = api.get(at(noun))
    if name is None:
        verbs.printed(listing, as_json, lambda one: formatting.table(one["results"], _COLUMNS))
        return
    found = next((one for one in listing["results"] if one["name"] == name), None)
    if found is None:
        raise CommandError(f"There is no {name!r} among the {noun}.", Code.NOT_FOUND)
    verbs.printed(found, as_json)
