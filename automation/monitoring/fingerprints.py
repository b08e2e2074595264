"""Which failures have one cause: the same class, the same step, the same message but for its variable parts. Pure."""

import hashlib
import re

from automation.redaction import redact_text
from automation.steps import one_line

_LONGEST = 300
"""Characters of a message that count; the rest of a long one is a trace or a document."""
_LOOKED_AT = 2000

# the wider come first: an address is found before the numbers in it
_VARIABLE: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"\b[a-z][a-z0-9+.-]{1,20}://[^\s\"'<>]+", "<url>"),
        (r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}", "<address>"),
        (r"\b[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\b", "<id>"),
        (r"\"[^\"]*\"|'[^']*'|“[^”]*”|«[^»]*»|`[^`]*`", "<text>"),
        (r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?:Z| ?[+-]\d\d:?\d\d)?", "<time>"),
        (r"\b\d\d?:\d\d(?::\d\d(?:[.,]\d+)?)?\b", "<time>"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b", "<host>"),
        (r"\[?\b(?:[0-9a-fA-F]{0,4}:){3,7}[0-9a-fA-F]{0,4}\b\]?", "<host>"),
        (r"(?<![\w<])(?:[A-Za-z]:)?(?:\.{0,2}[/\\][\w.@%+~-]+)+[/\\]?", "<path>"),
        (r"\b(?=[0-9a-fA-F]*\d)(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{8,}\b|\b0x[0-9a-fA-F]+\b", "<id>"),
        (r"(?<![<\w])[+-]?\d+(?:[.,]\d+)*", "<number>"),
        (r"\d+", "<number>"),
    )
)


def template(message: str) -> str:
    """A message without its variable parts, in one line, without secrets, at most 300 characters."""
    text = one_line(redact_text(message[:_LOOKED_AT]))
    for pattern, name in _VARIABLE:
        text = pattern.sub(name, text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def step_of(identifier: str) -> str:
    """The step that an item of a FOR_EACH belongs to: `save[12]` is `save`."""
    return identifier.partition("[")[0]


def fingerprint(error_code: str, step: str, message: str) -> str:
    """16 hex digits of a class, a step and a template."""
    return hashlib.sha256("\0".join((error_code, step, message)).encode(errors="replace")).hexdigest()[:16]
