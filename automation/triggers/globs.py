"""Globs over paths below a folder: `*`, `?` and `[…]` within a name, `**` for any number of folders."""

import re
from functools import lru_cache
from typing import Any

import re2

from automation.errors import RefusedError

MAX_CHARACTERS = 1000

_TOKEN = re.compile(r"\*+|\?|\[!?\]?[^\]/]*\]|[^*?[]+|\[")


def check_glob(glob: str, field: str) -> None:
    """Whether a glob can be used.

    Raises:
        RefusedError: it could never match a path below a folder, or cannot be read.
    """
    parts = glob.split("/")
    if len(glob) > MAX_CHARACTERS:
        raise RefusedError(f"{field}: longer than {MAX_CHARACTERS} characters", field)
    if any(part in ("", ".", "..") for part in parts):
        raise RefusedError(f"{field}: {glob!r} is no path below the root, such as *.csv or in/**/*.csv", field)
    try:
        compile_glob(glob)
    except re2.error:
        raise RefusedError(
            f"{field}: {glob!r} is no glob; a range in [] runs backwards, or it is too large", field
        ) from None


def matches(glob: str, path: str) -> bool:
    """Whether a path with `/` between its names, relative to the folder, matches."""
    return compile_glob(glob).fullmatch(path.encode(errors="replace")) is not None


@lru_cache(maxsize=256)
def compile_glob(glob: str) -> Any:
    """The glob as an expression of RE2, which a hostile one cannot hang.

    Raises:
        re2.error: it has a range that runs backwards, or is too large.
    """
    *folders, last = glob.split("/")
    expression = "".join("(?:[^/]+/)*" if one == "**" else _name(one) + "/" for one in folders)
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    return re2.compile((expression + (".+" if last == "**" else _name(last))).encode(), options)


def _name(pattern: str) -> str:
    return "".join(_token(token) for token in _TOKEN.findall(pattern))


def _token(text: str) -> str:
    if text[0] == "*":
        return "[^/]*"
    if text == "?":
        return "[^/]"
    if text[0] == "[" and len(text) > 2:
        members = re.sub(r"([\[\]\\^&~|])", r"\\\1", text[1:-1].removeprefix("!"))
        return f"[{'^/' if text[1] == '!' else ''}{members}]"
    return str(re2.escape(text))
