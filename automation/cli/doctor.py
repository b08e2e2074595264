"""`automation doctor`: is this installation in order, and if not, what is to be done?"""

import asyncio
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from automation.cli import formatting
from automation.cli.exits import Code
from automation.cli.formatting import clean

if TYPE_CHECKING:
    from automation.doctor.findings import Finding

_FIELDS = ("check", "state", "saw", "todo")
_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Look whether everything here is as it should be, and say what to do about what is not; exit code 1 if anything
    has failed. Changes nothing."""
    found = _findings()
    code = Code.NO if any(one.state == "failed" for one in found) else Code.FINE
    if as_json:
        checks = [{name: getattr(one, name) for name in _FIELDS} for one in found]
        formatting.as_json({"ok": code == Code.FINE, "checks": checks})
    else:
        _show(found)
    sys.stdout.flush()
    os._exit(code)  # a thread that waits for a disk or a name server for ever would hold us


def _findings() -> "Sequence[Finding]":
    """What every check says; of a program that cannot be loaded, at least why."""
    from automation.doctor import packages
    from automation.doctor.findings import failed

    try:
        from automation.doctor.examine import examine
        from automation.doctor.patient import patient
        from automation.errors import SettingError
        from automation.installation import addresses
        from automation.settings import get_settings
    except Exception as error:  # a library of a wrong version raises what it likes
        broken = failed(f"it cannot be loaded: {type(error).__name__}: {clean(str(error))}", "see `packages`")
        return [_named(one, "packages") for one in packages.check()] + [_named(one, "program") for one in broken]
    wrong: list[Finding] = []
    while True:
        try:
            settings = get_settings()
            break
        except SettingError as error:
            lines = str(error).splitlines()
            wrong += [
                _named(one, "settings") for line in lines for one in failed(line, "mend it; its default is taken here")
            ]
            if not _forget(lines):
                return wrong

    async def look() -> "Sequence[Finding]":
        async with patient(settings, addresses(settings), os.environ) as one:
            return await examine(one)

    runner = asyncio.Runner()  # not closed: it would wait for the threads
    return wrong + list(runner.run(look()))


def _named(finding: "Finding", check: str) -> "Finding":
    return replace(finding, check=check)


def _forget(lines: Sequence[str]) -> bool:
    """Take the variables that errors name out of our environment; whether that was any."""
    names = [match[0] for line in lines if (match := re.match(r"\w+", line))]
    there = [name for name in names if os.environ.pop(name, None) is not None]
    return bool(there)


def _show(found: "Sequence[Finding]") -> None:
    from rich.text import Text

    console = formatting.console()
    width = max(len(one.check) for one in found) + 2
    for one in found:
        line = Text.assemble((f"{one.state:<9}", _STYLES[one.state]), f"{one.check:<{width}}", clean(one.saw))
        if one.todo:
            line.append(f"  → {clean(one.todo)}", "bold")
        console.print(line, soft_wrap=True)
    counts = {state: sum(one.state == state for one in found) for state in _STYLES}
    console.print(
        Text(
            f"\n{counts['failed']} failed, {counts['warning']} warnings, {counts['ok']} ok. "
            "docs/doctor.md has a section for each."
        ),
        soft_wrap=True,
    )
