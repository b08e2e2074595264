"""What the database is asked, and that it does not answer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from automation.database import Database


@contextmanager
def statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are sent while the block runs, with their parameters."""
    seen: list[tuple[str, Any]] = []

    def note(connection: object, cursor: object, statement: str, parameters: Any, *_: object) -> None:
        seen.append((statement, parameters))

    with _before_each(database, note):
        yield seen


@contextmanager
def away(database: Database) -> Iterator[None]:
    """No statement reaches the database while the block runs."""

    def fail(*_: object) -> None:
        raise OSError("away")

    with _before_each(database, fail):
        yield


@contextmanager
def _before_each(database: Database, do: Callable[..., None]) -> Iterator[None]:
    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", do)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", do)
