"""Models and migrations tell the same story, in both directions."""

from collections.abc import Iterator

import psycopg2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, pool, text

from automation import migrate
from automation.database import driver_url
from automation.errors import UnavailableError
from automation.models import Base
from tests.conftest import Postgres


@pytest.fixture
def fresh(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database in the same server."""
    _admin(postgres, "CREATE DATABASE fresh")
    yield postgres.url.replace("/automation?", "/fresh?")
    _admin(postgres, "DROP DATABASE fresh WITH (FORCE)")


def _admin(postgres: Postgres, statement: str) -> None:
    connection = psycopg2.connect(postgres.url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


@pytest.fixture
def connection(fresh: str) -> Iterator[Connection]:
    engine = create_engine(driver_url(fresh, "psycopg2"), poolclass=pool.NullPool)
    with engine.connect() as connection:
        yield connection


def _tables(connection: Connection) -> set[str]:
    connection.rollback()
    return set(inspect(connection).get_table_names())


def _left_over(connection: Connection) -> list[str]:
    """Everything in the schema but Alembic's own table: tables, sequences, indexes, functions, types."""
    connection.rollback()
    query = text("""
        SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'alembic%'
        UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    """)
    return list(connection.execute(query).scalars())


def test_a_migrated_database_is_what_the_models_say(fresh: str, connection: Connection) -> None:
    migrate.upgrade(fresh)

    options = {"compare_type": True, "compare_server_default": True}
    assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []
    assert _tables(connection) - {"alembic_version"} == set(Base.metadata.tables)


def test_the_tables_go_down_to_nothing_and_up_again(fresh: str, connection: Connection) -> None:
    migrate.upgrade(fresh)
    migrate.downgrade(fresh)
    assert _left_over(connection) == []

    migrate.upgrade(fresh)
    migrate.upgrade(fresh)
    assert _tables(connection) > set(Base.metadata.tables)


def test_what_ended_before_there_were_figures_waits_to_be_counted_after_the_upgrade(
    fresh: str, connection: Connection
) -> None:
    migrate.upgrade(fresh, "0007")
    connection.execute(
        text("""
        SET LOCAL session_replication_role = replica;
        INSERT INTO workflow_executions (id, workflow_id, kind, coalesces, batch, status, created_at, due_at,
            completed_at, trigger_type, event_type, trigger_data, occurred_at, event_count, result, error_message,
            error_code, attempt, lost_count, dispatch_no)
        SELECT gen_random_uuid(), gen_random_uuid(), 'custom', true, false, status, at, at, at, 'API_CALL', '', '{}',
            at, 1, '{}', '', error_code, 2, 0, 0
        FROM (VALUES ('COMPLETED', 1, ''), ('FAILED', 89, 'NETWORK_ERROR'), ('FAILED', 91, 'NETWORK_ERROR'),
            ('CANCELLED', 1, 'SKIPPED'), ('RUNNING', 1, '')) AS past(status, days, error_code),
            LATERAL (SELECT now() - days * interval '1 day' AS at) AS ended;
        INSERT INTO execution_attempts (execution_id, attempt, status, failed_step, error_code, error_message, asked_by,
            reason, from_step, ended_at)
        SELECT id, 1, 'FAILED', '', '', '', 'olga', '', '', completed_at FROM workflow_executions
        WHERE status = 'COMPLETED'
    """)
    )
    connection.commit()
    migrate.upgrade(fresh)

    query = text("SELECT status, attempt, after_attempt, asked_at IS NULL FROM endings ORDER BY id")
    assert connection.execute(query).all() == [("FAILED", 2, -1, True), ("COMPLETED", 2, 1, False)]


def test_a_database_that_cannot_be_used_is_told_in_words_and_without_its_password() -> None:
    with pytest.raises(UnavailableError, match="AUTOMATION_DATABASE_URL") as caught:
        migrate.upgrade("postgresql://me:hunter2@127.0.0.1:9/automation")
    assert "hunter2" not in str(caught.value)
