"""Secrets taken out of what somebody else says: a server may repeat in its answer the credentials that it was sent."""

from collections.abc import Sequence
from typing import Any

from automation.errors import StepError, as_step_error
from automation.redaction import REDACTED


def scrubbed(value: Any, secrets: Sequence[str]) -> Any:
    """JSON without these texts, in its keys and values, at any depth.

    Args:
        secrets: the longest first, as one may be a part of another.
    """
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REDACTED)
        return value
    if isinstance(value, dict):
        return {scrubbed(key, secrets): scrubbed(one, secrets) for key, one in value.items()}
    if isinstance(value, list):
        return [scrubbed(one, secrets) for one in value]
    return value


def scrubbed_error(error: Exception, secrets: Sequence[str]) -> StepError:
    """The failure as a step's error, without these texts and without what it came from, whose text is logged too."""
    known = as_step_error(error)
    clean = type(known)(scrubbed(str(known), secrets))
    clean.retry_after = known.retry_after
    return clean
