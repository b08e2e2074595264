"""Pages of a list over HTTP: the opaque cursor, and the links to the pages beside."""

import base64
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel
from starlette.requests import Request

from automation.errors import RefusedError
from automation.models.paging import Page, Position

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

PageSize = Annotated[int, Query(ge=1, le=200, description="Rows of a page.")]
CursorText = Annotated[str | None, Query(description="From `next` or `previous` of another page.")]


class Listing(BaseModel, Generic[T]):
    """A page of a list; `next` and `previous` are the addresses of the pages beside it."""

    results: list[T]
    next: str | None
    previous: str | None


def encode_cursor(position: Position) -> str:
    """A place in a list as text for a URL; microseconds, since rows differ in those."""
    direction = "p" if position.backwards else "n"
    plain = f"{direction}:{(position.at - _EPOCH) // _MICROSECOND}:{position.id}"
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def decode_cursor(text: str | None, id_type: type[UUID] | type[int] | type[str]) -> Position | None:
    """The place that `text` stands for; None for None.

    Raises:
        RefusedError: it is no cursor of such a list; `field` is `cursor`.
    """
    if text is None:
        return None
    try:
        plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
        direction, microseconds, id_text = plain.split(":", 2)
        at = _EPOCH + int(microseconds) * _MICROSECOND
        id_ = id_type(id_text)
        if direction not in ("n", "p") or "\0" in id_text or (isinstance(id_, int) and not 0 <= id_ < 2**63):
            raise ValueError(plain)
    except (ValueError, OverflowError):
        raise RefusedError("cursor: not one that this list has given; begin without it.", "cursor") from None
    return Position(at, id_, backwards=direction == "p")


def listing(request: Request, page: Page[Any], results: Iterable[T]) -> Listing[T]:
    """The answer for a page: its results, and links that keep the request's filters."""
    following, previous = _link(request, page.next), _link(request, page.previous)
    return Listing(results=list(results), next=following, previous=previous)


def _link(request: Request, position: Position | None) -> str | None:
    if position is None:
        return None
    return str(request.url.include_query_params(cursor=encode_cursor(position)))
