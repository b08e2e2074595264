"""Bringing our tables to this version's schema, and back."""

import logging
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, pool
from sqlalchemy.exc import OperationalError

from automation.database import driver_url
from automation.errors import UnavailableError

log = logging.getLogger(__name__)

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x4155_544F  # "AUTO": two `automation db upgrade` at once wait for each other


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at `url` (`postgresql://…`) up to `revision`; doing it again changes nothing.

    Raises:
        UnavailableError: the database does not let us in.
    """
    _run(url, command.upgrade, revision)


def downgrade(url: str, revision: str = "base") -> None:
    """Take the database at `url` back to `revision`; `base` removes all our tables.

    Raises: as `upgrade`.
    """
    _run(url, command.downgrade, revision)


def _run(url: str, action: Callable[[Config, str], None], revision: str) -> None:
    engine = create_engine(driver_url(url, "psycopg2"), poolclass=pool.NullPool)
    try:
        engine.connect().close()
    except OperationalError as error:  # its text names server and user, not the password
        raise UnavailableError(f"The database of AUTOMATION_DATABASE_URL cannot be used: {error.orig}") from None
    with engine.begin() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        config.attributes["connection"] = connection
        action(config, revision)
        log.info("The tables are at revision %s.", MigrationContext.configure(connection).get_current_revision())
