"""What the tests stand on: one real PostgreSQL and one real Prefect server for the whole run."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

# Prefect reads its settings when it is imported, so its address is chosen before.
_TMP = Path(tempfile.mkdtemp(prefix="automation-tests-"))
with socket.socket() as _probe:
    _probe.bind(("127.0.0.1", 0))
    _PREFECT_PORT = _probe.getsockname()[1]
os.environ |= {
    "AUTOMATION_HOME": str(_TMP / "home"),
    "PREFECT_HOME": str(_TMP / "prefect"),
    "PREFECT_API_URL": f"http://127.0.0.1:{_PREFECT_PORT}/api",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
}

import httpx  # noqa: E402
import psycopg2  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402
from sqlalchemy import text  # noqa: E402

from automation import embedded, migrate  # noqa: E402
from automation.database import Database, driver_url  # noqa: E402
from automation.models import Base  # noqa: E402
from automation.settings import get_settings  # noqa: E402

settings.register_profile("untimed", deadline=None)  # how long an example takes depends on what else runs here
settings.load_profile("untimed")


@dataclass(frozen=True)
class Postgres:
    """The addresses of the test run's databases."""

    url: str
    prefect_url: str


@pytest.fixture(scope="session", autouse=True)
def _clean_up() -> Iterator[None]:
    yield
    shutil.rmtree(_TMP, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server with our tables migrated in."""
    data_dir = _TMP / "postgres"
    url, prefect_url = embedded.start(data_dir)
    _forgo_durability(url)
    migrate.upgrade(url)
    os.environ["AUTOMATION_DATABASE_URL"] = url
    get_settings.cache_clear()  # whoever read them before read no address
    yield Postgres(url, prefect_url)
    embedded.stop(data_dir)


def _forgo_durability(url: str) -> None:
    """These databases outlive no power cut, so nothing has to wait for a disk; emptying tables is quick then."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            cursor.execute(f"ALTER SYSTEM SET {setting} = off")
        cursor.execute("SELECT pg_reload_conf()")


@pytest.fixture
async def database(postgres: Postgres) -> AsyncIterator[Database]:
    """Our tables, empty."""
    database = Database(postgres.url)
    tables = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
    async with database.transaction() as session:
        await session.execute(text(f"TRUNCATE {tables} CASCADE"))
    yield database
    await database.close()


@pytest.fixture(scope="session")
def prefect_api(postgres: Postgres) -> Iterator[str]:
    """The address of a real Prefect server on PostgreSQL."""
    env = os.environ | {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": driver_url(postgres.prefect_url, "asyncpg").render_as_string(
            hide_password=False
        ),
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "0.2",  # 5 s: tests would wait for that
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(_PREFECT_PORT), "--no-ui"]
    with (_TMP / "prefect-server.log").open("wb") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    url = os.environ["PREFECT_API_URL"]
    try:
        _wait_for(f"{url}/health", server)
        yield url
    finally:
        server.terminate()
        server.wait(20)


def _wait_for(url: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(url, timeout=2).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise RuntimeError(f"Prefect's server did not start: {(_TMP / 'prefect-server.log').read_text()[-2000:]}")
