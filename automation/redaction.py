"""Hiding secrets from whoever reads: values under names such as `password` or `Authorization`, and in free text.

Names are those of AUTOMATION_REDACT_FIELDS; a field's name counts when one of them is a part of it, whatever its case,
its hyphens and underscores. What is stored stays whole, since steps need it.

What was hidden in an answer and is sent back unchanged keeps its stored value (`restored`).
"""

import re
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator

from automation.errors import RefusedError, StepError
from automation.models import Json
from automation.settings import get_settings

REDACTED = "[redacted]"

T = TypeVar("T")

_CREDENTIALS = re.compile(r"(?<=://)[^\s/?#@\"'<>]+(?=@)")


def redact(value: T, names: tuple[str, ...] | None = None) -> T:
    """JSON without its secrets, at any depth. Null and booleans stay: they tell whether there is one.

    Args:
        names: as the setting has them; None: the setting's.
    """
    hidden: T = _redacted(value, _named(_chosen(names)))
    return hidden


def redact_text(text: str, names: tuple[str, ...] | None = None) -> str:
    """Text without what follows a name (`password=…`, `"token": "…"`, `Authorization: Bearer …`), and without the
    credentials in URLs."""
    return _CREDENTIALS.sub(REDACTED, _assigned(_chosen(names)).sub(rf"\g<name>{REDACTED}", text))


def hides(name: str) -> bool:
    """Whether the value of a field of this name, or at this dotted path, is hidden."""
    return _named(_chosen(None)).search(_plain(name)) is not None


def redact_error(error: StepError) -> StepError:
    """The same error without secrets: in its text, and in those of what it came from, which a traceback shows too."""
    texts = {str(one) for one in _shown_with(error)}
    if any(redact_text(one) != one for one in texts):
        error.args = (redact_text(str(error)),)
        error.__cause__ = error.__context__ = None
    return error


RedactedJson = Annotated[Json, AfterValidator(redact)]
"""Of a model that is shown: a JSON object, without its secrets."""

RedactedText = Annotated[str, AfterValidator(redact_text)]
"""The same for text, such as an error's."""


def restored(given: Any, stored: Any, field: str) -> Any:
    """`given`, with the stored value wherever an answer had `[redacted]` instead of it.

    Args:
        given, stored: of one shape; members of lists belong together by their place.
        field: the dotted path of `given` in the request.

    Raises:
        RefusedError: nothing is stored there.
    """
    if given == REDACTED:
        if stored is None:
            raise RefusedError(f"{field}: {REDACTED!r} stands for a value that is stored, and none is; give it", field)
        return stored
    if isinstance(given, dict):
        known = stored if isinstance(stored, dict) else {}
        return {key: restored(value, known.get(key), f"{field}.{key}") for key, value in given.items()}
    if isinstance(given, list):
        there = stored if isinstance(stored, list) else []
        return [
            restored(value, there[index] if index < len(there) else None, f"{field}.{index}")
            for index, value in enumerate(given)
        ]
    return given


def _shown_with(error: BaseException) -> list[BaseException]:
    """The error, what it came from, and what groups hold: each once, as one may have been raised from itself."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or any(one is known for known in found):
            continue
        found.append(one)
        waiting += [one.__cause__, one.__context__]
        waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
    return found


def _redacted(value: Any, named: re.Pattern[str]) -> Any:
    if isinstance(value, dict):
        return {
            key: REDACTED if _hides(value) and named.search(_plain(str(key))) else _redacted(value, named)
            for key, value in value.items()
        }
    if isinstance(value, list):
        return [_redacted(one, named) for one in value]
    return _CREDENTIALS.sub(REDACTED, value) if isinstance(value, str) and "://" in value else value


def _hides(value: Any) -> bool:
    return value is not None and not isinstance(value, bool) and value not in ("", [], {})


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _chosen(names: tuple[str, ...] | None) -> tuple[str, ...]:
    return get_settings().redact_fields if names is None else names


@cache
def _named(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(_plain(name)) for name in names) or r"(?!)")


@cache
def _assigned(names: tuple[str, ...]) -> re.Pattern[str]:
    """A name, `:` or `=`, and a value: quoted, or up to a blank; `Bearer` and `Basic` belong to it."""
    one_of = "|".join(re.sub(r"[-_]", "[-_]?", re.escape(name).replace(r"\-", "-")) for name in names) or r"(?!)"
    value = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|(?:(?:bearer|basic)\s{1,3})?[^\s,;&\"'}\])]+"
    # bounded, since the time that hostile text takes would else grow with its square
    return re.compile(rf"(?P<name>(?:{one_of})[\w-]{{0,40}}[\"']?\s{{0,3}}[:=]\s{{0,3}})(?:{value})", re.IGNORECASE)
