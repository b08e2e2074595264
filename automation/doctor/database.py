"""Our database: does it answer, is it of this version, and is there room for what connects to it?"""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from automation import migrate
from automation.doctor.findings import Findings, NotAskedError, failed, ok, warning
from automation.doctor.patient import AWAY, PATIENCE, Patient

OLDEST = 14
"""Major version of PostgreSQL; Prefect takes none that is older."""

_MANY, _ALL = 0.80, 0.95
"""Shares of the connections that are in use: what an alert is told of, and what a restart of a part would exceed."""

_ODD, _WRONG = 2.0, 15.0
"""Seconds that clocks may differ: above the first, times in logs tell a wrong order; above the second, half a lease,
runs that are well may count as lost."""

_ABOUT = text("""
    SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int / 10000 AS major,
        pg_is_in_recovery() OR current_setting('default_transaction_read_only')::bool AS read_only,
        current_setting('server_encoding') AS encoding, current_database() AS name
""")

_CONNECTIONS = text("""
    SELECT count(*) AS used, current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int AS allowed
    FROM pg_stat_activity WHERE backend_type = 'client backend'
""")


async def database(patient: Patient) -> Findings:
    """Whether it answers, of a version that we can use, and takes writes."""
    where = _where(patient.at.database_url)
    try:
        async with asyncio.timeout(PATIENCE), patient.database.transaction() as session:
            found = (await session.execute(_ABOUT)).one()
    except (*AWAY, SQLAlchemyError, TimeoutError) as error:
        return failed(f"{where} does not answer: {_reason(error)}", _remedy(patient, error))
    if found.major < OLDEST:
        return failed(f"PostgreSQL {found.version} in {where}", f"upgrade it to {OLDEST} or later")
    if found.read_only:
        return failed(f"{where} takes no writes", "name the primary in AUTOMATION_DATABASE_URL, not a replica")
    if found.encoding != "UTF8":
        return failed(
            f"{where} has the encoding {found.encoding}", "make a database with ENCODING 'UTF8', and restore into it"
        )
    return ok(f"PostgreSQL {found.version}, {where}")


def _where(url: str) -> str:
    """Which database of which server; no user and no password."""
    parts = make_url(url)
    return f"database {parts.database!r} of {parts.query.get('host') or parts.host}"


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing within {PATIENCE:g} s"
    inner = error.orig if isinstance(error, DBAPIError) and error.orig else error
    return str(inner.__cause__ or inner) or type(inner).__name__


def _remedy(patient: Patient, error: BaseException) -> str:
    cause = error.orig.__cause__ if isinstance(error, DBAPIError) and error.orig else error
    if isinstance(cause, asyncpg.TooManyConnectionsError):
        return "see pg_stat_activity for who holds them; raise max_connections, or run fewer processes"
    if isinstance(cause, asyncpg.InvalidAuthorizationSpecificationError):
        return "mend user and password in AUTOMATION_DATABASE_URL, or pg_hba.conf of the server"
    if isinstance(cause, asyncpg.InvalidCatalogNameError):
        return "create the database, then run automation db upgrade"
    if patient.at.data_dir:
        return f"start it with `automation up`; if it runs, see {patient.at.home / 'logs/postgresql.log'}"
    return "start PostgreSQL, and see that this machine reaches the address in AUTOMATION_DATABASE_URL"


async def migrations(patient: Patient) -> Findings:
    """Whether the tables are those of this version."""
    known = await asyncio.to_thread(lambda: list(_revisions()))
    try:
        async with patient.session() as session:
            there = (await session.scalars(text("SELECT version_num FROM alembic_version"))).first()
    except NotAskedError as error:
        if error.check != "migrations":
            raise
        there = None
    head = known[0]
    if there == head:
        return ok(f"at {head}")
    if there is None:
        return failed("there are no tables", "automation db upgrade")
    if there not in known:
        return failed(
            f"the tables are of a later version, {there}; this program knows up to {head}",
            "install that version on every machine; or, where it still is, automation db downgrade",
        )
    return failed(
        f"the tables are at {there}, this version needs {head}", "automation db upgrade, then restart every part"
    )


def _revisions() -> Iterator[str]:
    """Those of this version, the newest first."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    return (script.revision for script in ScriptDirectory.from_config(config).walk_revisions())


async def connections(patient: Patient) -> Findings:
    """Whether there are connections left."""
    async with patient.session() as session:
        found = (await session.execute(_CONNECTIONS)).one()
    return judge_connections(found.used, found.allowed)


def judge_connections(used: int, allowed: int) -> Findings:
    """What the number of connections means."""
    saw = f"{used} of {allowed} are in use"
    todo = "see pg_stat_activity for who holds them; raise max_connections, or run fewer processes"
    if used >= _ALL * allowed:
        return failed(saw, todo)
    return warning(saw, todo) if used >= _MANY * allowed else ok(saw)


async def database_clock(patient: Patient) -> Findings:
    """Whether the database's clock is this machine's."""
    async with patient.session() as session:
        await session.connection()  # which may take its time
        asked = patient.now()
        theirs: Any = await session.scalar(text("SELECT clock_timestamp()"))
    return judge_clock("the database's clock", theirs, asked, patient.now())


def judge_clock(whose: str, theirs: datetime, asked: datetime, answered: datetime, grain: float = 0.0) -> Findings:
    """How far a clock is off that was read between two moments of ours.

    Args:
        grain: seconds by which it may lie behind, being told in whole ones.
    """
    early = (asked - theirs).total_seconds() - grain
    late = (theirs - answered).total_seconds()
    off = max(early, late, 0.0)
    todo = "have every machine keep its time by NTP (timedatectl status; chronyc tracking)"
    saw = f"{whose} is {off:.1f} s {'behind' if early > late else 'ahead of'} this machine's"
    if off > _WRONG:
        return failed(saw, todo)
    return warning(saw, todo) if off > _ODD else ok(f"{whose} and this machine's agree")
