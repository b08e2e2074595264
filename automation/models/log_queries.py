"""The lines of all executions' logs: the newest, and those that have just come."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, bindparam, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from automation.models.execution import FINAL, Execution, ExecutionLog, StepExecution
from automation.models.paging import Page, Position

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SCANNED = 20_000
"""Lines that one page looks through, some 20 ms; what is rarer is found by asking for the next page."""

_GRAVE = ("WARNING", "ERROR", "CRITICAL")

Line = tuple[ExecutionLog, UUID | None, str, str, str]
"""A line, the id of its workflow, the type of its step, the request and the trace that its execution goes back to."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines are meant; what is None does not narrow.

    Attributes:
        level, min_level: exactly this one; this one and graver ones.
        step: a step's type or identifier.
        text: a part of the message, in whatever case.
    """

    project_id: str | None = None
    execution_id: UUID | None = None
    level: str | None = None
    min_level: str | None = None
    step: str | None = None
    text: str | None = None
    since: datetime | None = None

    @property
    def levels(self) -> Sequence[str]:
        """Those that are meant; all of them when nothing narrows them."""
        least = LEVELS.index(self.min_level) if self.min_level else 0
        return [one for one in LEVELS[least:] if self.level in (None, one)]

    def takes(self, line: Line) -> bool:
        """Whether a line is meant."""
        log, _, step, _, _ = line
        return (
            self.project_id in (None, log.project_id)
            and self.execution_id in (None, log.execution_id)
            and log.level in self.levels
            and self.step in (None, step, log.step_identifier)
            and (self.text is None or self.text.lower() in log.message.lower())
            and (self.since is None or log.timestamp >= self.since)
        )


def lines_of(log: Any = ExecutionLog) -> Select[Any]:
    """Lines, each as a `Line`. One whose step is not on record has its identifier in place of the type."""
    return (
        select(
            log,
            Execution.workflow_id,
            func.coalesce(StepExecution.step_type, log.step_identifier),
            func.coalesce(Execution.request_id, ""),
            func.coalesce(Execution.traceparent, ""),
        )
        .outerjoin(Execution, Execution.id == log.execution_id)
        .outerjoin(
            StepExecution,
            (StepExecution.execution_id == log.execution_id) & (StepExecution.identifier == log.step_identifier),
        )
    )


def narrowed(wanted: Wanted, log: Any = ExecutionLog) -> list[ColumnElement[bool]]:
    """`wanted` as conditions on `lines_of`, but for project and execution."""
    found: list[ColumnElement[bool]] = []
    if len(wanted.levels) < len(LEVELS):
        found.append(_among(log.level, wanted.levels))
    if wanted.step is not None:
        found.append(or_(log.step_identifier == wanted.step, StepExecution.step_type == wanted.step))
    if wanted.text is not None:
        found.append(log.message.icontains(wanted.text, autoescape=True))
    if wanted.since is not None:
        found.append(log.timestamp >= wanted.since)
    return found


async def newest_lines(session: AsyncSession, wanted: Wanted, position: Position | None, size: int) -> Page[Line]:
    """Lines, the newest first: the next page of those that are meant among the `SCANNED` lines behind `position`.

    The primary key; of a project ix_workflow_execution_logs_project_id_id, of grave ones
    ix_workflow_execution_logs_grave, of an execution ix_workflow_execution_logs_execution_id_timestamp. Ids rise in the
    order in which lines were stored.
    """
    backwards = position is not None and position.backwards
    scanned = _scanned(wanted, position).order_by(ExecutionLog.id if backwards else ExecutionLog.id.desc())
    log = aliased(ExecutionLog, scanned.limit(SCANNED).subquery())
    query = lines_of(log).where(*narrowed(wanted, log)).order_by(log.id if backwards else log.id.desc())
    found = list((await session.execute(query.limit(size + 1))).tuples())
    more = len(found) > size
    rows = found[:size]
    if backwards:
        rows.reverse()
        newer = _place(rows[0][0], backwards=True) if more else None
        return Page(rows, newer, _place(rows[-1][0]) if rows else None)
    older = _place(rows[-1][0]) if more else await _end_of_scan(session, wanted, scanned)
    return Page(rows, _place(rows[0][0], backwards=True) if rows and position else None, older)


def _scanned(wanted: Wanted, position: Position | None) -> Select[tuple[ExecutionLog]]:
    query = select(ExecutionLog)
    if position is not None:
        there = ExecutionLog.id > position.id if position.backwards else ExecutionLog.id < position.id
        query = query.where(there)
    if wanted.execution_id is not None:
        query = query.where(ExecutionLog.execution_id == wanted.execution_id)
    if wanted.project_id is not None:
        query = query.where(ExecutionLog.project_id == wanted.project_id)
    elif set(wanted.levels) <= set(_GRAVE):
        query = query.where(_among(ExecutionLog.level, _GRAVE))
    return query


def _among(column: Any, levels: Collection[str]) -> ColumnElement[bool]:
    """Written out in the statement, or PostgreSQL cannot see that a partial index is meant."""
    names: Any = bindparam("levels", list(levels), expanding=True, literal_execute=True, unique=True)
    found: ColumnElement[bool] = column.in_(names)
    return found


async def _end_of_scan(session: AsyncSession, wanted: Wanted, scanned: Select[Any]) -> Position | None:
    """The last line that was looked through, if there may be more that is meant behind it."""
    columns = scanned.with_only_columns(ExecutionLog.timestamp, ExecutionLog.id)
    last = (await session.execute(columns.offset(SCANNED - 1).limit(1))).one_or_none()
    if last is None or (wanted.since is not None and last.timestamp < wanted.since):
        return None
    return Position(last.timestamp, last.id)


def _place(line: ExecutionLog, *, backwards: bool = False) -> Position:
    return Position(line.timestamp, line.id, backwards)


async def last_line(session: AsyncSession) -> tuple[int, set[int]]:
    """The highest id, and those a little below it that are not there: their transactions may still be under way."""
    last = await session.scalar(select(func.max(ExecutionLog.id))) or 0
    near = select(ExecutionLog.id).where(ExecutionLog.id > last - 1000)
    return last, set(range(max(1, last - 999), last + 1)) - set(await session.scalars(near))


async def lines_behind(session: AsyncSession, last: int, missing: Collection[int], most: int) -> Sequence[Line]:
    """The lines with a higher id, at most so many, and those of the missing ones that have come."""
    new = lines_of().where(ExecutionLog.id > last).order_by(ExecutionLog.id).limit(most)
    found = list((await session.execute(new)).tuples())
    if missing:
        late = lines_of().where(ExecutionLog.id.in_(missing)).order_by(ExecutionLog.id)
        found = [*(await session.execute(late)).tuples(), *found]
    return found


async def ended(session: AsyncSession, execution_ids: Collection[UUID]) -> dict[UUID, str | None]:
    """Those of these executions that have ended, with their status, or are gone (None)."""
    query = select(Execution.id, Execution.status).where(Execution.id.in_(execution_ids))
    known = dict((await session.execute(query)).tuples().all())
    return {id_: known.get(id_) for id_ in execution_ids if known.get(id_) in (None, *FINAL)}
