"""Connections: what a session that only reads is, and what becomes of those that PostgreSQL has ended."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from automation import database as connections
from automation.database import Database
from automation.models import Project
from tests.conftest import Postgres
from tests.integration import rows

MY_PID = text("SELECT pg_backend_pid()")
STATE = text("SELECT state FROM pg_stat_activity WHERE pid = :pid")


@pytest.fixture
async def single(postgres: Postgres) -> AsyncIterator[Database]:
    """A pool of one connection, so that a session has the one that the session before it had."""
    database = Database(postgres.url, pool_size=1)
    yield database
    await database.close()


async def test_reading_sees_what_is_committed_meanwhile_and_holds_no_transaction_open(
    database: Database, single: Database
) -> None:
    count = text("SELECT count(*) FROM projects")
    async with single.reading() as session:
        assert await session.scalar(count) == 0
        await rows.write(database, Project(id="p1", name="one"))
        assert await session.scalar(count) == 1
        pid = await session.scalar(MY_PID)
        async with database.transaction() as other:
            assert await other.scalar(STATE, {"pid": pid}) == "idle"


async def test_a_connection_that_was_read_with_is_used_for_transactions_again(
    database: Database, single: Database
) -> None:
    async with single.reading() as session:
        pid = await session.scalar(MY_PID)
    async with single.rehearsal() as session:
        assert await session.scalar(MY_PID) == pid
        session.add(Project(id="p1", name="one"))
        await session.flush()
    assert await rows.every(database, Project) == []


async def test_a_connection_that_postgresql_ended_while_it_lay_idle_is_replaced_unseen(
    database: Database, single: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_FRESH", 0.0)
    async with single.reading() as session:
        pid = await session.scalar(MY_PID)
    async with database.transaction() as session:
        await session.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})

    async with single.transaction() as session:
        assert await session.scalar(MY_PID) != pid
