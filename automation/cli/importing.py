"""`automation import`: projects and pages that are older than Automation, from JSON Lines.

A line becomes an event, with an id that is made of its content, and goes through the intake as any other does.
So a file can be imported as often as one likes: a line that was in already changes nothing.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO
from uuid import UUID, uuid5

import typer

from automation.cli.exits import Code, CommandError
from automation.cli.formatting import clean
from automation.cli.remote import address

if TYPE_CHECKING:
    from rich.progress import Progress

    from automation.client import Client, ClientError, EventResult

app = typer.Typer(no_args_is_help=True, help="Take in projects and pages that existed before. Safe to repeat.")
FileArgument = Annotated[typer.FileBinaryRead, typer.Argument(help="JSON Lines; `-` reads standard input.")]

_LINES = UUID("6b1f3c52-0d0e-5c0c-9a3f-3b1f5d8a7e21")
"""Namespace of the event ids."""

_BEFORE_EVERYTHING = "1970-01-01T00:00:00Z"
"""Time of a line that does not say when it was true: whatever Studio sends itself counts as newer."""

Line = dict[str, Any]
EventOf = Callable[[Line], dict[str, Any]]


@app.command()
def projects(file: FileArgument) -> None:
    """Import projects: a line is {"id", "name", "owner": {"id", "email"}, "updated_at"?}."""
    raise typer.Exit(_import(file, "projects", project_event))


@app.command()
def pages(file: FileArgument) -> None:
    """Import pages: a line is {"project_id", "page": {"id", "name", "route", "config", …}, "updated_at"?}."""
    raise typer.Exit(_import(file, "pages", page_event))


def project_event(line: Line) -> dict[str, Any]:
    """The event of a project's line: an update, since nobody creates it now.

    Raises:
        ValueError: a key is missing.
    """
    _require(line, "id", str)
    project = {key: value for key, value in line.items() if key != "updated_at"}
    return _event("project.updated", line, {"project_id": line["id"], "project": project})


def page_event(line: Line) -> dict[str, Any]:
    """The event of a page's line: an update, as if somebody had saved the page once more.

    Raises:
        ValueError: a key is missing.
    """
    _require(line, "project_id", str)
    _require(line, "page", dict)
    return _event("page.updated", line, {key: value for key, value in line.items() if key != "updated_at"})


def _require(line: Line, key: str, kind: type) -> None:
    if not isinstance(line.get(key), kind):
        expected = "a string" if kind is str else "an object"
        found = json.dumps(line[key])[:80] if key in line else "nothing"
        raise ValueError(f"{key}: expected {expected}, got {found}")


def _event(type_: str, line: Line, data: Line) -> dict[str, Any]:
    canonical = json.dumps([type_, line], sort_keys=True, separators=(",", ":"))
    timestamp = line.get("updated_at") or _BEFORE_EVERYTHING
    return {"type": type_, "id": str(uuid5(_LINES, canonical)), "timestamp": timestamp, "data": data}


def parse_line(raw: bytes) -> Line:
    """The object on a line.

    Raises:
        ValueError: there is none.
    """
    try:
        line = json.loads(raw, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"no JSON: {error}") from None
    if not isinstance(line, dict):
        raise ValueError(f"expected an object, got {type(line).__name__}")
    return line


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


@dataclass(slots=True)
class Report:
    """What became of the lines so far, told on the way where it is bad."""

    file: str
    progress: "Progress"
    new: int = 0
    known: int = 0
    bad: int = 0

    def add(self, results: "Iterable[EventResult]") -> None:
        for one in results:
            self.known += one.duplicate
            self.new += not one.duplicate

    def complain(self, number: int, reason: str) -> None:
        self.bad += 1
        text = f"{self.file}:{number}: {clean(reason)}"
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _import(file: BinaryIO, noun: str, event_of: EventOf) -> int:
    """Send a file's lines; the exit code: 1 if any line is bad.

    Raises:
        AutomationError: a setting is wrong.
        CommandError: the API does not take events.
    """
    from rich.console import Console
    from rich.progress import Progress

    from automation.client import ClientError

    console = Console(stderr=True)
    with _client() as client, Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        report = Report(file.name, progress)
        shown = progress.add_task(noun, total=_size(file))
        for part in _parts(_events(file, event_of, report)):
            try:
                _send(client, part, report)
            except ClientError as error:
                raise CommandError(
                    f"{error} Stopped at line {part[0].number}; the lines before are in. Repeat the command: what is "
                    "in already does not change.",
                    _code(error),
                ) from None
            progress.advance(shown, sum(one.size for one in part))
    print(f"{noun}: {report.new} taken in, {report.known} known already, {report.bad} bad")
    return 1 if report.bad else 0


def _code(error: "ClientError") -> Code:
    from automation.client import NotAuthorisedError, RefusedError

    if isinstance(error, NotAuthorisedError):
        return Code.USAGE
    return Code.REFUSED if isinstance(error, RefusedError) else Code.UNREACHABLE


@dataclass(frozen=True, slots=True)
class Numbered:
    """An event with its line's number, from 1, and size in bytes."""

    number: int
    size: int
    event: dict[str, Any]


def _events(file: BinaryIO, event_of: EventOf, report: Report) -> Iterator[Numbered]:
    """The events of the lines that have one; empty lines count for nothing but the numbers."""
    for number, raw in enumerate(file, start=1):
        if raw.strip():
            try:
                yield Numbered(number, len(raw), event_of(parse_line(raw)))
            except ValueError as error:
                report.complain(number, str(error))


def _parts(events: Iterable[Numbered]) -> Iterator[list[Numbered]]:
    """Lists of about one request's size, so that a file of any size costs little memory."""
    from automation.client.events import MAX_BYTES, MAX_EVENTS

    part: list[Numbered] = []
    size = 0
    for one in events:
        part.append(one)
        size += one.size
        if len(part) == MAX_EVENTS or size >= MAX_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _send(client: "Client", part: list[Numbered], report: Report) -> None:
    """Send a list; what is refused is named, and the rest goes on without it."""
    from automation.client import RefusedError

    while part:
        try:
            report.add(client.send([one.event for one in part]))
            return
        except RefusedError as error:
            if error.index is None:
                raise
            report.add(error.accepted)
            report.complain(part[error.index].number, error.reason)
            part = part[len(error.accepted) : error.index] + part[error.index + 1 :]


def _size(file: BinaryIO) -> int | None:
    """Bytes of a file, None of a pipe."""
    return os.fstat(file.fileno()).st_size if file is not sys.stdin.buffer else None


def _client() -> "Client":
    """A client of the installation that AUTOMATION_API_URL names, or of the local one.

    Raises:
        SettingError: the address or the key is wrong.
        CommandError: one of them is missing.
        UnavailableError: the local installation does not run.
    """
    from automation.client import Client
    from automation.errors import SettingError
    from automation.installation import prepare, require_database
    from automation.settings import get_settings

    if not os.environ.get("AUTOMATION_API_URL"):
        require_database(prepare(get_settings()))
    try:
        return Client(*address())
    except ValueError as error:
        raise SettingError(f"AUTOMATION_API_URL, AUTOMATION_API_KEY: {error}") from None
