"""Options and arguments that many commands have, and the files that they read."""

import json
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, BinaryIO
from uuid import UUID

import typer

Id = Annotated[UUID, typer.Argument(metavar="ID", show_default=False)]
File = Annotated[typer.FileBinaryRead, typer.Argument(metavar="FILE", help="JSON or YAML; `-` reads standard input.")]
AsJson = Annotated[bool, typer.Option("--json", help="What the API answers, for scripts.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="So many at most, from as many pages as it takes.")]
All = Annotated[bool, typer.Option("--all", help="All of them, whatever --limit says.")]
Project = Annotated[str | None, typer.Option("--project", metavar="ID", help="Only of this project.")]
Workflow = Annotated[UUID | None, typer.Option("--workflow", metavar="ID", help="Only of this workflow.")]
Kind = Annotated[str | None, typer.Option("--kind", help="Only of this kind, such as auto-save, publish, custom.")]
Active = Annotated[bool | None, typer.Option("--active/--inactive", help="Only what is switched on, or off.")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="2026-01-15T10:30Z, or so long ago: 90s, 5m, 24h, 7d.")
]
IfMatch = Annotated[
    str | None,
    typer.Option("--if-match", metavar="ETAG", help="Only if nobody has changed it since `show` said this."),
]
Once = Annotated[
    str | None,
    typer.Option("--idempotency-key", metavar="KEY", help="Under one key it starts once, however often you ask."),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def parse_since(text: str | None) -> datetime | None:
    """An ISO time, or a duration before now such as `24h`; None for no limit.

    Raises:
        BadParameter: it is neither.
    """
    if text is None:
        return None
    if duration := re.fullmatch(r"(\d+)([smhd])", text):
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[duration[2]]
        with suppress(OverflowError):
            return datetime.now(UTC) - timedelta(**{unit: int(duration[1])})
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither a time (2026-01-15T10:30Z) nor a duration (24h, 7d).", param_hint="--since"
        ) from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def since_text(text: str | None) -> str | None:
    """The same, as the API takes it."""
    parsed = parse_since(text)
    return parsed.isoformat() if parsed else None


def read_document(file: BinaryIO) -> Any:
    """The value of a JSON or YAML file, of what JSON can hold only.

    Raises:
        BadParameter: it is neither.
    """
    raw = file.read()
    with suppress(ValueError, RecursionError):
        return json.loads(raw)
    try:
        return _from_yaml(raw)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise typer.BadParameter(f"{file.name} is neither JSON nor YAML: {reason}", param_hint="FILE") from None


def read_text(file: BinaryIO) -> str:
    """The text of a file, without the end of its last line: a secret that no list of processes should show.

    Raises:
        BadParameter: it is no text.
    """
    try:
        return file.read().decode().strip()
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file.name} is no text.", param_hint="FILE") from None


def _from_yaml(raw: bytes) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """A time stays the text that it is in JSON."""

        yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML wants it so)
            first: [one for one in found if one[0] != "tag:yaml.org,2002:timestamp"]
            for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        value = yaml.load(raw, Loader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    try:
        json.dumps(value, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"JSON cannot hold it: {error}") from None
    return value


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless `yes`.

    Raises:
        BadParameter: nobody can be asked.
        Exit: somebody said no; exit code 1.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask you; give --yes if you are sure", param_hint="--yes")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)
