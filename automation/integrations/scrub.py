"""Secrets taken out of what somebody else says: a server may repeat in its answer the credentials that it was sent."""

from collections.abc import Sequence
from typing import Any

from automation.errors import StepError, as_step_error
from automation.redaction import REDACTED

_TELLING = 4
"""So many characters of a secret are told by nobody; fewer stand in any text."""


def scrubbed(value: Any, secrets: Sequence[str]) -> Any:
    """JSON without these texts, in its keys and values, at any depth.

    Args:
        secrets: the longest first, as one may be a part of another.
    """
    if isinstance(value, str):
        return _text(value, secrets)
    if isinstance(value, dict):
        return {scrubbed(key, secrets): scrubbed(one, secrets) for key, one in value.items()}
    if isinstance(value, list):
        return [scrubbed(one, secrets) for one in value]
    return value


def _text(text: str, secrets: Sequence[str]) -> str:
    if told := _told_at_the_end(text, secrets):
        text = text[:-told] + REDACTED
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    return text


def _told_at_the_end(text: str, secrets: Sequence[str]) -> int:
    """How many characters of a secret a text ends in that was cut within it; 0: it was not."""
    for secret in secrets:
        at = max(0, len(text) - len(secret)) - 1
        while (at := text.find(secret[:_TELLING], at + 1)) >= 0:
            if secret.startswith(text[at:]):
                return len(text) - at
    return 0


def scrubbed_error(error: Exception, secrets: Sequence[str]) -> StepError:
    """The failure as a step's error, without these texts and without what it came from, whose text is logged too."""
    known = as_step_error(error)
    clean = type(known)(scrubbed(str(known), secrets))
    clean.retry_after = known.retry_after
    return clean
