"""VACUUM and ANALYZE of our tables, through a Prefect block that holds the connection."""

import asyncio

from prefect_sqlalchemy import ConnectionComponents, SqlAlchemyConnector
from sqlalchemy import Connection, text

from automation.database import driver_url
from automation.errors import DatabaseError
from automation.models import Base

DATABASE_BLOCK = "automation-database"


async def save_database_block(url: str) -> None:
    """Store the connection of our database in Prefect as the block `automation-database`; safe to repeat.

    Args:
        url: `postgresql://…`, also with a socket folder as `?host=`. The password is stored encrypted.
    """
    parts = driver_url(url, "psycopg2")
    components = ConnectionComponents(
        driver=parts.drivername,
        username=parts.username,
        password=parts.password or None,
        host=parts.host,
        port=parts.port,
        database=parts.database,
        query={key: ",".join(values) for key, values in parts.normalized_query.items()},
    )
    await SqlAlchemyConnector(connection_info=components).asave(DATABASE_BLOCK, overwrite=True)


async def optimize(*, vacuum: bool, analyze: bool) -> dict[str, dict[str, int]]:
    """VACUUM and ANALYZE every table of ours, one after the other, each outside a transaction.

    A table that somebody else holds locked is left out until the next time, so that nobody waits for us. A
    cancellation takes effect when the table at hand is done.

    Returns:
        Bytes of each table with its indexes, `{"events": {"before": …, "after": …}, …}`.

    Raises:
        DatabaseError: the block is missing, or PostgreSQL refused.
    """
    try:
        connector = await SqlAlchemyConnector.aload(DATABASE_BLOCK)
    except ValueError as error:
        raise DatabaseError(
            f"Prefect has no block {DATABASE_BLOCK!r}; run `automation deploy`, which creates it."
        ) from error
    with connector:
        engine = connector.get_engine(isolation_level="AUTOCOMMIT")
        connection = await asyncio.to_thread(engine.connect)
        try:
            return {
                table: await asyncio.to_thread(_optimize_table, connection, table, vacuum, analyze)
                for table in sorted(Base.metadata.tables)
            }
        finally:
            await asyncio.to_thread(connection.close)


def _optimize_table(connection: Connection, table: str, vacuum: bool, analyze: bool) -> dict[str, int]:
    command = "VACUUM (ANALYZE, SKIP_LOCKED)" if vacuum and analyze else "VACUUM (SKIP_LOCKED)"
    if not vacuum:
        command = "ANALYZE (SKIP_LOCKED)"
    before = _size(connection, table)
    connection.execute(text(f'{command} "{table}"'))
    return {"before": before, "after": _size(connection, table)}


def _size(connection: Connection, table: str) -> int:
    query = text("SELECT pg_total_relation_size(to_regclass(:table))")
    return int(connection.scalars(query, {"table": table}).one())
