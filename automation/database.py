"""Connections to our PostgreSQL: one pool a process, and a listener for NOTIFY."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import orjson
from sqlalchemy import URL, make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine


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
            pool_pre_ping=True,
            hide_parameters=True,  # an error's text goes to the log; what people wrote does not
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session whose work is committed at the end of the block, and undone by an exception."""
        async with self._sessions() as session, session.begin():
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
