"""Whatever command the documentation shows, it is there, with these options; and docs/cli.md has every one."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from automation.cli import app

ROOT = Path(__file__).parents[3]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
CLI = typer.main.get_command(app)
OF_TYPER = {"--help", "--install-completion", "--show-completion"}


def lines(text: str) -> Iterator[str]:
    """What a page has of our commands, in blocks and in the middle of a sentence."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for found in re.findall(r"(?:^|\$\(|&& |\| )(automation [^|;&)]+)", line):
                yield found.split(" #")[0].strip()
    for found in re.findall(r"`(automation [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        yield found.replace("\\|", "|")


def resolve(line: str) -> tuple[str, ...]:
    """The words of the command that a line calls; it takes all options of the line."""
    command: Any = CLI
    words: list[str] = []
    for word in shlex.split(line)[1:]:
        word = word.strip("[]…,.")
        if hasattr(command, "commands") and not word.startswith("-"):
            word = word.split("|")[0]
            if re.fullmatch(r"<\w+>", word):  # a command that the page leaves open
                break
            assert word in command.commands, line
            command = command.commands[word]
            words.append(word)
        elif word.startswith("--"):
            known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | OF_TYPER
            assert word.split("=")[0] in known, line
    return tuple(words)


def commands(group: Any = CLI, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that there is."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        else:
            yield (*before, name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_shows_is_there_and_takes_these_options(page: Path) -> None:
    for line in lines(page.read_text()):
        resolve(line)


def test_the_page_of_the_command_line_has_every_command() -> None:
    rows = re.findall(r"^\| `(automation [^`]+)` \|", (ROOT / "docs" / "cli.md").read_text(), re.MULTILINE)

    assert {resolve(row) for row in rows} == set(commands())


def test_the_page_of_the_command_line_has_every_exit_code() -> None:
    from automation.cli.exits import Code

    text = (ROOT / "docs" / "cli.md").read_text().split("| exit code |")[1].split("\n\n")[0]
    assert [int(code) for code in re.findall(r"^\| (\d) \|", text, re.MULTILINE)] == sorted(Code)
