"""What is looked at: an installation as its settings say, and its parts, asked with patience but not for long."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg
import httpx
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from automation.database import Database
from automation.doctor.findings import NotAskedError
from automation.installation import Addresses
from automation.models import utc_now
from automation.settings import Settings

PATIENCE = 3.0
"""Seconds that a part may take for one answer; one that is well takes some milliseconds."""

AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a connection to PostgreSQL may fail with."""

_UNKNOWN = {"42P01", "42703"}
"""PostgreSQL's codes for a table, and for a column, that is not there."""


@dataclass(frozen=True, slots=True)
class Patient:
    """An installation, and the connections to its parts.

    Attributes:
        environ: the environment that the settings came from.
        api: of our service and sites, and whatever else is asked by HTTP.
        server: of Prefect's server, with what it wants to see of a client.
        now: the time of this machine.
    """

    settings: Settings
    at: Addresses
    environ: Mapping[str, str]
    database: Database
    api: httpx.AsyncClient
    server: httpx.AsyncClient
    now: Callable[[], datetime] = field(default=utc_now)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A transaction of our database.

        Raises:
            NotAskedError: the database does not answer, or its tables are of another version.
        """
        try:
            async with self.database.transaction() as session:
                yield session
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) in _UNKNOWN:
                raise NotAskedError("the tables are of another version", "migrations") from None
            raise NotAskedError("the database does not answer", "database") from None
        except (*AWAY, SQLAlchemyError):
            raise NotAskedError("the database does not answer", "database") from None

    async def prefect(self, method: str, path: str, json: object = None) -> Any:
        """An answer of Prefect's server, or None where it says 404.

        Raises:
            NotAskedError: it does not answer, or refuses.
        """
        try:
            answer = await self.server.request(method, path, json=json)
            if answer.status_code == 404:
                return None
            answer.raise_for_status()
            return answer.json()
        except httpx.TimeoutException:
            raise NotAskedError(f"Prefect's server takes more than {PATIENCE:g} s", "prefect-server") from None
        except (httpx.HTTPError, ValueError):
            raise NotAskedError("Prefect's server does not answer", "prefect-server") from None

    async def prefect_pages(self, path: str, json: Mapping[str, object], most: int = 2000) -> list[Any]:
        """The same for a list, page by page.

        Raises:
            NotAskedError: as `prefect`.
        """
        found: list[Any] = []
        while len(found) < most:
            page = await self.prefect("POST", path, {**json, "limit": _PAGE, "offset": len(found)})
            found += page or []
            if len(page or []) < _PAGE:
                break
        return found


_PAGE = 100


def _parsed(url: str) -> httpx.URL:
    """An address; of one that cannot be read, of which the check of the settings tells, one that leads nowhere."""
    try:
        return httpx.URL(url)
    except httpx.InvalidURL:
        return httpx.URL("http://prefect.invalid/api")


@asynccontextmanager
async def patient(
    settings: Settings, at: Addresses, environ: Mapping[str, str], now: Callable[[], datetime] = utc_now
) -> AsyncIterator[Patient]:
    """An installation to look at; nothing is connected to before it is asked."""
    database = Database(at.database_url, pool_size=4)
    key, user = environ.get("PREFECT_API_KEY"), environ.get("PREFECT_API_AUTH_STRING")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    auth = httpx.BasicAuth(*user.split(":", 1)) if user and ":" in user else None
    context = httpx.create_ssl_context()
    async with (
        httpx.AsyncClient(timeout=PATIENCE, trust_env=False, verify=context) as api,
        httpx.AsyncClient(
            base_url=_parsed(at.prefect_api_url), headers=headers, auth=auth, timeout=PATIENCE, verify=context
        ) as server,
    ):
        try:
            yield Patient(settings, at, environ, database, api, server, now)
        finally:
            await database.close()
