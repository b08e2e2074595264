"""Types of the query parameters by which lists are narrowed."""

from typing import Annotated, Literal

from fastapi import Depends, Query

from automation.models.log_queries import Wanted

TEXT = r"^[^\x00-\x1f\x7f]+$"  # PostgreSQL refuses NUL, and no name of ours has control characters

ProjectFilter = Annotated[str | None, Query(max_length=128, pattern=TEXT)]
NameFilter = Annotated[str | None, Query(max_length=100, pattern=TEXT)]
StatusFilter = Literal["PENDING", "RUNNING", "RETRYING", "WAITING", "COMPLETED", "FAILED", "CANCELLED"]
TextFilter = Annotated[
    str | None, Query(min_length=1, max_length=200, pattern=TEXT, description="A part of the message, in any case.")
]
LevelFilter = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


async def _lines(
    level: LevelFilter | None = None,
    min_level: LevelFilter | None = None,
    step: NameFilter = None,
    q: TextFilter = None,
) -> Wanted:
    return Wanted(level=level, min_level=min_level, step=step, text=q)


LinesFilter = Annotated[Wanted, Depends(_lines)]
"""Which lines of logs are meant, of whatever execution and project."""
