"""ETags: which state of an object an answer shows, so that nobody overwrites what somebody else has just written.

An ETag is a hash of what people write of an object. What it becomes by itself (when a trigger fired last) is no part of
it, and neither is a secret, which is shown once.
"""

import hashlib
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import Header, Response
from pydantic import BaseModel

from automation.errors import ChangedError
from automation.models import Json

Shown = TypeVar("Shown", bound=BaseModel)

IfMatch = Annotated[
    str | None,
    Header(
        description="An `ETag` that you were answered: if the object has another one now, nothing is changed (412)."
    ),
]

ETAG: dict[str, Any] = {
    "ETag": {"description": "To be sent back as `If-Match`.", "schema": {"type": "string"}, "example": '"5e0b…"'}
}
"""For a route's declaration: the headers of an answer that `tagged` has made."""

_PASSING = {"last_triggered", "last_slot", "next_slot", "secret", "last_tested_at", "last_test"}


def etag(shown: BaseModel, hidden: Json | None = None) -> str:
    """The ETag of an object as it is shown.

    Args:
        hidden: what an answer does not show as it is, where no `updated_at` tells that it is another one.
    """
    passing: Any = {**dict.fromkeys(_PASSING, True), "triggers": {"__all__": _PASSING}}
    plain = shown.model_dump_json(exclude=passing).encode() + orjson.dumps(hidden, option=orjson.OPT_SORT_KEYS)
    return f'"{hashlib.sha256(plain).hexdigest()[:32]}"'


def tagged(response: Response, shown: Shown, hidden: Json | None = None) -> Shown:
    """An answer, with its ETag among the headers of `response`."""
    response.headers["ETag"] = etag(shown, hidden)
    return shown


def require_match(if_match: str | None, shown: BaseModel, hidden: Json | None = None) -> None:
    """Refuse to change an object that is not as the sender of `If-Match` (None: anything will do) has seen it.

    The caller holds the object's lock, so that it stays as it is.

    Raises:
        ChangedError: somebody else was faster.
    """
    if if_match is None or if_match.strip() == "*":
        return
    now = etag(shown, hidden)
    if now not in (one.strip() for one in if_match.split(",")):
        raise ChangedError(f"It was changed since: its ETag is {now} now. Read it again, then change it.")
