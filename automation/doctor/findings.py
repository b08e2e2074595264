"""What a check says: how things are, what it saw, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """`failed`: something does not work, or will not; `warning`: it works, and should not be left so."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says, in one line.

    Attributes:
        saw: what was seen, with the values.
        todo: what to do; empty when all is well.
        check: whose finding it is, a heading of docs/doctor.md; whoever runs the check names it.
    """

    state: State
    saw: str
    todo: str = ""
    check: str = ""


Findings = list[Finding]
"""A check has one finding, or one for each thing that is wrong."""


def ok(saw: str) -> Findings:
    return [Finding(State.OK, saw)]


def warning(saw: str, todo: str) -> Findings:
    return [Finding(State.WARNING, saw, todo)]


def failed(saw: str, todo: str) -> Findings:
    return [Finding(State.FAILED, saw, todo)]


class NotAskedError(Exception):
    """A check could not look, because something that another check is about is not there.

    Attributes:
        check: the one to see to first.
    """

    def __init__(self, why: str, check: str) -> None:
        super().__init__(why)
        self.check = check


def listed(names: Sequence[object], most: int = 5) -> str:
    """Some names, and how many more there are."""
    shown = ", ".join(str(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
