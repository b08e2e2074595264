"""Writing many rows in one statement: `INSERT … SELECT FROM unnest(…)`, columns as arrays.

A batch run records hundreds of executions at once. As one array a column is one parameter, and the statement is the
same however many rows there are: composing a VALUES list for 500 events cost the intake 0.7 ms of CPU for each.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Row, Table, TextClause, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from automation.models.base import Json

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


async def insert_rows(
    session: AsyncSession, table: Table, rows: Sequence[Json], conflict: str = "", returning: str = ""
) -> Sequence[Row[Any]]:
    """Insert rows that all have the same keys.

    Args:
        conflict: an `ON CONFLICT …` clause.
        returning: columns to answer of the rows that were written.
    """
    if not rows:
        return []
    columns = tuple(rows[0])
    tail = f"{conflict} RETURNING {returning}" if returning else conflict
    result = await session.execute(_insert(table, columns, tail), _arrays(table, columns, rows))
    return result.all() if returning else []


async def update_rows(session: AsyncSession, table: Table, rows: Sequence[Json], keys: tuple[str, ...]) -> None:
    """Update rows by the columns `keys`; all rows have the same columns."""
    if rows:
        columns = tuple(rows[0])
        await session.execute(_update(table, columns, keys), _arrays(table, columns, rows))


@lru_cache
def _insert(table: Table, columns: tuple[str, ...], tail: str) -> TextClause:
    return text(
        f"INSERT INTO {table.name} ({_names(columns)}) "  # noqa: S608 (names are our own tables')
        f"SELECT {_casts(table, columns)} FROM unnest({_parameters(table, columns)}) AS new({_names(columns)}) "
        f"{tail}"
    )


@lru_cache
def _update(table: Table, columns: tuple[str, ...], keys: tuple[str, ...]) -> TextClause:
    new = dict(zip(columns, _casts(table, columns).split(", "), strict=True))
    assignments = ", ".join(f'"{name}" = {new[name]}' for name in columns if name not in keys)
    condition = " AND ".join(f'{table.name}."{name}" = new."{name}"' for name in keys)
    return text(
        f"UPDATE {table.name} SET {assignments} "  # noqa: S608 (names are our own tables')
        f"FROM unnest({_parameters(table, columns)}) AS new({_names(columns)}) WHERE {condition}"
    )


def _names(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def _is_json(table: Table, name: str) -> bool:
    return isinstance(table.c[name].type, JSONB)


def _casts(table: Table, columns: Sequence[str]) -> str:
    """JSON travels as text: an array of jsonb would need a codec of its own on every connection."""
    return ", ".join(f'new."{name}"::jsonb' if _is_json(table, name) else f'new."{name}"' for name in columns)


def _parameters(table: Table, columns: Sequence[str]) -> str:
    types = {n: "text" if _is_json(table, n) else table.c[n].type.compile(_DIALECT) for n in columns}
    return ", ".join(f"CAST(:{name} AS {types[name]}[])" for name in columns)


def _arrays(table: Table, columns: Sequence[str], rows: Sequence[Json]) -> dict[str, list[Any]]:
    arrays: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in columns}
    for name in columns:
        if _is_json(table, name):
            arrays[name] = [orjson.dumps(value, default=str).decode() for value in arrays[name]]
    return arrays
