"""Connections to our PostgreSQL: one pool a process, and a listener for NOTIFY."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
from sqlalchemy import URL, Engine, event, exc, make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

_FRESH = 1.0
"""Seconds for which a connection that has just been used is taken to be there: asking whether it is costs as many round
trips as a small read."""


def driver_url(url: str, driver: str) -> URL:
    """`postgresql://…` with the driver (`asyncpg` or `psycopg2`) that a caller needs."""
    parsed = make_url(url.replace("postgres://", "postgresql://", 1)).set(drivername=f"postgresql+{driver}")
    if driver == "asyncpg" and "sslmode" in parsed.query:  # the same option under asyncpg's name
        mode = parsed.query["sslmode"]
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": mode})
    return parsed


def _dumps(value: object) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class Database:
    """A pool of connections. `transaction()` is the one boundary at which work is committed."""

    def __init__(self, url: str, pool_size: int = 5) -> None:
        self.url = url
        self.engine = create_async_engine(
            driver_url(url, "asyncpg"),
            pool_size=pool_size,
            max_overflow=5,
            hide_parameters=True,  # an error's text goes to the log; what people wrote does not
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
        )
        _ping_after_pauses(self.engine.sync_engine)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        plain = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._reading = async_sessionmaker(plain, expire_on_commit=False, autoflush=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session whose work is committed at the end of the block, and undone by an exception."""
        async with self._sessions() as session, session.begin():
            yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session that only reads, without BEGIN and COMMIT, which cost as much as a small read: each statement sees
        what is committed when it begins, as in `transaction()`."""
        async with self._reading() as session:
            yield session

    @asynccontextmanager
    async def rehearsal(self) -> AsyncIterator[AsyncSession]:
        """A session whose work is always undone: what would happen, without its happening."""
        async with self._sessions() as session, session.begin() as transaction:
            yield session
            await transaction.rollback()

    async def listen(self) -> asyncpg.Connection:
        """A connection of its own for `add_listener`; the caller closes it."""
        return await asyncpg.connect(self.url.replace("postgres://", "postgresql://", 1))

    async def close(self) -> None:
        await self.engine.dispose()


def _ping_after_pauses(engine: Engine) -> None:
    """Replace a connection that has lain idle, and is gone, before anybody gets it."""

    def used(connection: Any, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    def ask(connection: Any, record: Any, proxy: Any) -> None:
        if time.monotonic() - record.info.get("used_at", 0.0) < _FRESH:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise exc.DisconnectionError("PostgreSQL has ended this connection") from error

    event.listen(engine, "connect", used)
    event.listen(engine, "checkin", used)
    event.listen(engine, "checkout", ask)
