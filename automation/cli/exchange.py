"""`automation workflows`: all workflows as files, for git, and from files into the database."""

import asyncio
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from automation.cli.options import Yes, confirm

if TYPE_CHECKING:
    from automation.authoring.transfer import Change
    from automation.installation import Installation

DirectoryOption = Annotated[Path, typer.Option("--out", help="Folder of the files; made if it is not there.")]
FilesArgument = Annotated[list[Path], typer.Argument(help="Files, and folders whose *.yaml are meant.", exists=True)]


def export_files(
    out: DirectoryOption = Path("workflows"),
    project: Annotated[str | None, typer.Option(help="Only the workflows of this project.")] = None,
) -> None:
    """Write every workflow to a file. The same workflows give the same files, byte for byte."""
    from automation.installation import join

    documents = asyncio.run(documents_of(join(), project))
    print(write_documents(out, documents, whole=project is None))


def import_files(
    files: FilesArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    yes: Yes = False,
) -> None:
    """Create and change workflows as files say: all of them or none. No workflow is ever deleted."""
    from automation.installation import join

    raise typer.Exit(asyncio.run(import_from(join(), files, dry_run=dry_run, yes=yes)))


async def documents_of(installation: "Installation", project: str | None) -> dict[str, str]:
    """The documents of all workflows (None: of every project), by the names of their files."""
    from automation.authoring.documents import file_name, to_text
    from automation.authoring.transfer import workflows_of
    from automation.database import Database

    database = Database(installation.database_url)
    try:
        async with database.transaction() as session:
            await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            return {file_name(one): to_text(one) async for one in workflows_of(session, project)}
    finally:
        await database.close()


def write_documents(out: Path, documents: Mapping[str, str], *, whole: bool) -> str:
    """Write files that are not there as they should be; what there is to say of them.

    A file that has a workflow under a former name goes.

    Args:
        whole: these are all workflows, so that other files are of none.
    """
    from automation.runtime.files import write_file

    there = {path.name for path in out.glob("*.yaml")}
    new = [name for name, text in documents.items() if name not in there or (out / name).read_text("utf-8") != text]
    for name in new:
        write_file(out / name, documents[name].encode())
    numbers = {_number(name) for name in documents}
    left = sorted(there - documents.keys())
    for former in (name for name in left if _number(name) in numbers):
        (out / former).unlink()
    said = [f"{out / name}: is of no workflow that is there" for name in left if whole and _number(name) not in numbers]
    return "\n".join([*said, f"{len(documents)} workflows in {out}, {len(new)} of the files written"])


def _number(name: str) -> str:
    """What at the end of a file's name tells a workflow from others that are called the same."""
    return name.rsplit("-", 1)[-1]


async def import_from(installation: "Installation", files: Sequence[Path], *, dry_run: bool, yes: bool) -> int:
    """Say what an import changes, ask, and do it; the exit code.

    Raises:
        AutomationError: a file is wrong, or a workflow was changed meanwhile; nothing was imported.
    """
    from automation.authoring.transfer import apply, left_out, parse_documents, require_same
    from automation.database import Database
    from automation.steps import one_line

    settings = installation.settings
    wanted = parse_documents(_read(files), settings)
    database = Database(installation.database_url)
    try:
        async with database.rehearsal() as session:
            changes = await apply(session, wanted, settings)
            rest = await left_out(session, wanted, changes)
        for change in changes:
            print(_described(change), end="")
        for name, kind, id_ in rest if any(path.is_dir() for path in files) else ():
            print(f"not in the files, and left as it is: {one_line(name)} ({kind}, {id_})")
        kinds = [change.kind for change in changes]
        print(", ".join(f"{kinds.count(kind)} {kind}" for kind in ("created", "changed", "unchanged")))
        if dry_run or all(kind == "unchanged" for kind in kinds):
            return 0
        confirm("Import?", yes=yes)
        async with database.transaction() as session:
            require_same(changes, await apply(session, wanted, settings))
    finally:
        await database.close()
    print("imported")
    return 0


def _read(files: Sequence[Path]) -> dict[str, str]:
    """The texts of files, and of those in folders, by path."""
    from automation.authoring.documents import SUFFIX
    from automation.errors import RefusedError

    texts = {}
    for given in files:
        found = sorted(given.glob(f"*{SUFFIX}")) if given.is_dir() else [given]
        if not found:
            raise RefusedError(f"{given}: has no *{SUFFIX}")
        for path in found:
            try:
                texts[str(path)] = path.read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise RefusedError(f"{path}: cannot be read: {error}") from None
    return texts


def _described(change: "Change") -> str:
    """What a file changes, as a diff."""
    if change.kind == "unchanged":
        return ""
    lines = difflib.unified_diff(
        change.before.splitlines(keepends=True),
        change.after.splitlines(keepends=True),
        "in the database",
        change.place,
    )
    return f"{change.place}: {change.kind}\n" + ("".join(lines) if change.kind == "changed" else "")
