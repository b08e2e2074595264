"""The end of an execution's log, as the page shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from automation.api.executions import LogLineOut, line_out
from automation.models.execution_queries import list_log_lines
from automation.models.log_queries import Wanted
from automation.models.paging import Position

LINES = 200
_END = Position(datetime(9999, 1, 1, tzinfo=UTC), 2**62, backwards=True)


@dataclass(frozen=True, slots=True)
class LogView:
    """Lines of a log, oldest first, and where the lines before and after them are; `is_end`: the newest are shown."""

    execution_id: UUID
    lines: Sequence[LogLineOut]
    previous: Position | None
    next: Position | None
    is_end: bool
    level: str
    step: str
    text: str


async def read_log(
    session: AsyncSession,
    execution_id: UUID,
    level: str | None,
    step: str | None,
    text: str | None,
    position: Position | None,
) -> LogView:
    """Up to 200 lines of this level and graver ones, beside `position`; None: the newest.

    Raises:
        NotFoundError: there is no such execution.
    """
    wanted = Wanted(min_level=level, step=step, text=text)
    found = await list_log_lines(session, execution_id, wanted, position or _END, LINES)
    return LogView(
        execution_id=execution_id,
        lines=[line_out(execution_id, *row) for row in found.rows],
        previous=found.previous,
        next=found.next if position else None,
        is_end=position is None,
        level=level or "",
        step=step or "",
        text=text or "",
    )
