"""Reading a long list page by page, by the place of its rows rather than by their number.

A page is "the next 50 after this row", so rows that arrive meanwhile neither repeat nor hide others, and the
hundredth page costs what the first one does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Position:
    """A row's place in a list that is ordered by a time and, among equals, by an id.

    Attributes:
        backwards: the page wanted is the one before this row, not the one after it.
    """

    at: datetime
    id: UUID | int | str
    backwards: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """By which two columns a list is ordered, and in which direction."""

    at: InstrumentedAttribute[datetime]
    id: InstrumentedAttribute[Any]
    descending: bool


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows of a list, and where the pages beside them begin (None: there is none)."""

    rows: Sequence[Row]
    previous: Position | None = None
    next: Position | None = None


async def read_page(
    session: AsyncSession, query: Select[Any], order: Order, position: Position | None, size: int
) -> Page[Any]:
    """The rows of `query` beside `position` (None: the first ones), in the list's order.

    `query` selects the entity that has the columns of `order` as its first element.
    """
    backwards = position is not None and position.backwards
    falling = order.descending != backwards
    if position:
        place, there = tuple_(order.at, order.id), (position.at, position.id)
        query = query.where(place < there if falling else place > there)
    columns = (order.at, order.id)
    query = query.order_by(*(one.desc() if falling else one.asc() for one in columns)).limit(size + 1)
    found = (await session.execute(query)).all()
    rows = found[:size]
    if not rows:
        return Page([])
    if backwards:
        rows = rows[::-1]
    more = len(found) > size
    return Page(
        rows,
        previous=_place(rows[0], order, backwards=True) if (more if backwards else position) else None,
        next=_place(rows[-1], order, backwards=False) if (more or backwards) else None,
    )


def _place(row: Any, order: Order, *, backwards: bool) -> Position:
    return Position(getattr(row[0], order.at.key), getattr(row[0], order.id.key), backwards)
