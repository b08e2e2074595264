"""Which statements read a large table from one end to the other, by EXPLAIN."""

import json
import re
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import asyncpg
from sqlalchemy import event

from automation.database import Database

_LARGE = 10_000
"""Rows from which on reading a table whole is worth a word."""


class Scans:
    """Notes the statements that a database is sent while the context lasts."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statements: dict[str, Any] = {}

    def __enter__(self) -> Self:
        event.listen(self._database.engine.sync_engine, "before_cursor_execute", self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        event.remove(self._database.engine.sync_engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        self._statements[statement] = parameters

    async def found(self) -> list[str]:
        """`table (rows): statement` for each sequential scan of a large table."""
        connection = await self._database.listen()
        try:
            query = "SELECT relname, reltuples::bigint FROM pg_class WHERE relkind = 'r' AND reltuples > $1"
            large = {row["relname"]: row["reltuples"] for row in await connection.fetch(query, _LARGE)}
            return [
                f"{table} ({large[table]:,} rows): {_short(statement)}"
                for statement, parameters in self._statements.items()
                for table in await _scanned(connection, statement, parameters)
                if table in large
            ]
        finally:
            await connection.close()


def _short(statement: str) -> str:
    """The statement on one line, without the columns of its outermost SELECT."""
    line = " ".join(statement.split())
    return re.sub(r"^SELECT .*? FROM ", "SELECT … FROM ", line)[:400]


async def _scanned(connection: asyncpg.Connection, statement: str, parameters: Any) -> set[str]:
    if not statement.lstrip().upper().startswith(("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")):
        return set()
    plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *parameters)
    return set(_sequential(json.loads(plan)[0]["Plan"]))


def _sequential(node: dict[str, Any]) -> Iterator[str]:
    if node["Node Type"] == "Seq Scan":
        yield node["Relation Name"]
    for inner in node.get("Plans", ()):
        yield from _sequential(inner)
