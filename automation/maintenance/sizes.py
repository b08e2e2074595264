"""How large everything is: tables, Prefect's database, and the folders of the home.

Both are cheap enough for a scrape: tables are asked of PostgreSQL, which looks at its files only, and folders are
walked in the background now and then, never while somebody waits.
"""

import asyncio
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import AsyncSession

from automation.requests import context_of_nobody
from automation.steps import one_line

log = logging.getLogger(__name__)

PREFECT = "(prefect)"
"""What Prefect's database is called among the tables; no table of ours can be."""

FRESH = 600.0
"""Seconds for which folders are taken to be as large as they were: a disk fills in hours, and a walk looks at each
file."""

MOST_FILES = 500_000
"""Files of one folder that are looked at; of a larger one the size is that of these, and a warning says so."""

_TABLES = text("""
    SELECT c.relname, pg_total_relation_size(c.oid)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND n.nspname = current_schema()
""")

# reltuples is what the last VACUUM or ANALYZE found; never vacuumed is -1
_PER_ROW = text("""
    SELECT c.relname, pg_total_relation_size(c.oid) / c.reltuples::double precision
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname = current_schema() AND c.reltuples > 0
""")

_DATABASE = text("""
    SELECT pg_database_size(oid) FROM pg_database
    WHERE datname = :name AND has_database_privilege(oid, 'CONNECT')
""")


async def sizes(session: AsyncSession, prefect_database_url: str | None = None) -> dict[str, int]:
    """Bytes by table, each with its indexes and TOAST; Prefect's database, as `PREFECT`, where this server has it.

    Args:
        prefect_database_url: of a Prefect server of ours.
    """
    found = dict((await session.execute(_TABLES)).tuples().all())
    if name := await _prefect_database(session, prefect_database_url):
        size = await session.scalar(_DATABASE, {"name": name})
        found |= {PREFECT: size} if size is not None else {}
    return found


async def _prefect_database(session: AsyncSession, url: str | None) -> str | None:
    """The name of Prefect's database, if it is another one of the server that the session is connected to."""
    if url is None:
        return None
    ours, theirs = (await session.connection()).engine.url, make_url(url)
    apart = ours.database != theirs.database and _server(ours) == _server(theirs)
    return theirs.database if apart else None


def _server(url: URL) -> tuple[object, int]:
    """Where a server is; a socket's folder stands in the query."""
    return url.query.get("host") or url.host or "localhost", url.port or 5432


async def freed_bytes(session: AsyncSession, rows: Mapping[str, int]) -> int:
    """About how much room so many deleted rows leave for new ones, by what a row of their table takes on average.

    Args:
        rows: how many of each table.
    """
    per_row = dict((await session.execute(_PER_ROW)).tuples().all())
    freed: float = sum(number * per_row.get(table, 0.0) for table, number in rows.items())
    return round(freed)


def in_words(size: float) -> str:
    """Bytes as people say them: `12.3 MB`."""
    for unit in ("bytes", "kB", "MB"):
        if abs(size) < 1000:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


@dataclass(slots=True)
class _Known:
    """The sizes of a home's folders as they were found last."""

    found: dict[str, int] = field(default_factory=dict)
    at: float = float("-inf")
    walk: asyncio.Task[None] | None = None


_known: dict[Path, _Known] = {}


async def folder_sizes(home: Path) -> dict[str, int]:
    """Bytes on the disk by folder of the home (`runtime`, `logs`, …), as they were up to `FRESH` seconds ago.

    Answers at once: what is older is looked at again in the background, and before the first look there is nothing.
    """
    known = _known.setdefault(home, _Known())
    if known.walk is None and monotonic() - known.at > FRESH:
        known.walk = asyncio.create_task(_look(home, known), context=context_of_nobody())
    return known.found


async def _look(home: Path, known: _Known) -> None:
    try:
        known.found = await asyncio.to_thread(measure_folders, home)
    except OSError as error:
        log.warning("The folders of %s cannot be measured: %s", home, one_line(str(error)))
    finally:
        known.at, known.walk = monotonic(), None


def measure_folders(home: Path) -> dict[str, int]:
    """Bytes on the disk by folder of the home; walks them. What is not there or may not be entered counts nothing.

    Raises:
        OSError: the home cannot be read.
    """
    if not home.is_dir():  # a process that has written nothing yet
        return {}
    with os.scandir(home) as entries:
        return {entry.name: _measure(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)}


def _measure(folder: str) -> int:
    total = 0
    for number, found in enumerate(_files(folder)):
        if number == MOST_FILES:
            log.warning("%s has more than %d files; only these are measured.", folder, MOST_FILES)
            break
        total += found.st_blocks * 512  # POSIX: whatever the file system's own blocks are
    return total


def _files(folder: str) -> Iterator[os.stat_result]:
    """Every entry below a folder, links not followed; what goes or is closed meanwhile is left out."""
    waiting = [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    try:
                        found = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue
                    yield found
                    if stat.S_ISDIR(found.st_mode):
                        waiting.append(entry.path)
        except OSError:
            continue
