"""How a command ends: its exit code, and the one line that says why."""

from enum import IntEnum


class Code(IntEnum):
    """Exit codes; scripts rely on them, and docs/cli.md has them as a table."""

    FINE = 0
    NO = 1
    """The answer is no: an execution that was watched failed, a trigger would not fire, somebody declined."""
    USAGE = 2
    """A command, a file or a setting that cannot be right; also a key that the API does not know."""
    NOT_FOUND = 3
    REFUSED = 4
    """What was asked breaks a rule, is forbidden, or does not go with how things are."""
    UNREACHABLE = 5
    """The API, or something that it needs, does not answer."""


class CommandError(Exception):
    """A command cannot do what it was asked.

    Attributes:
        code: the exit code.
    """

    def __init__(self, message: str, code: Code) -> None:
        super().__init__(message)
        self.code = code
