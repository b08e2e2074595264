"""Types of the query parameters by which lists are narrowed."""

from typing import Annotated, Literal

from fastapi import Query

TEXT = r"^[^\x00-\x1f\x7f]+$"  # PostgreSQL refuses NUL, and no name of ours has control characters

ProjectFilter = Annotated[str | None, Query(max_length=128, pattern=TEXT)]
NameFilter = Annotated[str | None, Query(max_length=100, pattern=TEXT)]
StatusFilter = Literal["PENDING", "RUNNING", "RETRYING", "WAITING", "COMPLETED", "FAILED", "CANCELLED"]
TextFilter = Annotated[
    str | None, Query(min_length=1, max_length=200, pattern=TEXT, description="A part of the message, in any case.")
]
LevelFilter = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
