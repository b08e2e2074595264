"""Names from outside that become file names: of projects, pages, environments and releases."""

import unicodedata

from automation.errors import RefusedError

MAX_CHARACTERS = 128
MAX_BYTES = 200
"""In UTF-8: a file name may have 255, and suffixes such as `.previous.json` need room."""

_FORBIDDEN_PARTS = ("/", "\\", "..")
_FORBIDDEN_CATEGORIES = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of surrogates, line breaks


def plain_name(value: object, field: str) -> str:
    """`value`, if it can safely be the name of a file or folder.

    Args:
        field: where in the request it stood, for the error.

    Raises:
        RefusedError: it is no string, empty, too long, or could lead to another folder; carries `field`.
    """
    if not isinstance(value, str):
        raise RefusedError(f"{field}: expected a string, got {type(value).__name__}.", field)
    fault = _fault(value)
    if fault:
        raise RefusedError(f"{field}: {value[:MAX_CHARACTERS]!r} is no plain name: it {fault}.", field)
    return value


def _fault(name: str) -> str:
    if not 1 <= len(name) <= MAX_CHARACTERS:
        return f"must have 1 to {MAX_CHARACTERS} characters and has {len(name)}"
    for part in _FORBIDDEN_PARTS:
        if part in name:
            return f"must not contain {part!r}"
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in name):
        return "must not contain control characters"
    if name == ".":
        return "must not be a dot"
    if name.endswith(".previous"):
        return "must not end in '.previous', which marks the kept version of a page"
    if len(name.encode()) > MAX_BYTES:
        return f"must have at most {MAX_BYTES} bytes in UTF-8"
    return ""
