"""Integrations with real neighbours: a web server, a mail server, PostgreSQL over TCP; and the step that calls them."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import orjson
import psycopg2
import pytest
from cryptography import x509
from prefect.client.orchestration import PrefectClient

from automation.database import Database
from automation.integrations import write
from automation.integrations.write import parse_integration
from automation.models import Integration
from automation.settings import Settings
from automation.steps import ProjectInfo, Result, StepBatch, StepContext, StepItem
from tasks.integrations import call_integration
from tests.conftest import Postgres
from tests.integration.certificates import certificate, server_context
from tests.integration.mailbox import Mailbox, receiving
from tests.integration.web import Web, serving

OPEN = Settings(egress_allow=("127.0.0.1",))

Make = Callable[..., Awaitable[Integration]]
Call = Callable[..., Awaitable[Result]]


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with serving() as server:
        yield server


@pytest.fixture
def make(database: Database, prefect: PrefectClient) -> Make:
    """Create an integration of project p1, as the API does."""

    async def make_integration(type: str, config: dict[str, Any], credentials: Any = None, **more: Any) -> Integration:
        body = {"name": type, "project_id": "p1", "type": type, "config": config, "credentials": credentials} | more
        async with database.transaction() as session:
            return await write.create(session, prefect, parse_integration(body), OPEN)

    return make_integration


@pytest.fixture
def call(database: Database) -> Call:
    """Call an integration from a step of project p1; its result, or what it raised, as the engine gets them."""

    async def call_it(
        integration: str, *, project: str = "p1", settings: Settings = OPEN, identifier: str = "call", **config: Any
    ) -> Result:
        context = StepContext(
            execution_id=UUID(int=7),
            workflow_id=UUID(int=1),
            workflow_name="Any",
            identifier=identifier,
            project=ProjectInfo(project),
            trigger_type="API_CALL",
            event_type="page.updated",
            trigger_data={"page": {"id": "home"}},
            occurred_at=datetime(2026, 1, 15, 10, 30, tzinfo=UTC),
            results={},
            attempt=1,
            settings=settings,
            database=database,
        )
        item = StepItem(context, {"integration": integration} | config, soft_limit=20)
        await call_integration.task.fn(StepBatch([item]))
        assert item.result is not None
        orjson.dumps(item.result)
        return item.result

    return call_it


# --- a mail server ------------------------------------------------------------------------------------------


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's context for localhost, whose certificate this process believes."""
    pem = certificate(tmp_path, x509.DNSName("localhost"))
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    return server_context(pem)


@pytest.fixture
def mailbox(certified: ssl.SSLContext) -> Iterator[Mailbox]:
    with receiving(tls_context=certified) as mailbox:
        yield mailbox


@pytest.fixture
def plain_mailbox() -> Iterator[Mailbox]:
    with receiving() as mailbox:
        yield mailbox


# --- a database ---------------------------------------------------------------------------------------------


@pytest.fixture
async def crm(postgres: Postgres) -> AsyncIterator[int]:
    """A database `crm` with a table of contacts, owned by the role `crm`; the port of 127.0.0.1 where it listens.

    PostgreSQL itself listens on a socket file only, so that what comes over TCP is passed on byte for byte.
    """
    _admin(postgres.url, "CREATE ROLE crm LOGIN PASSWORD 'hunter2hunter2'", "CREATE DATABASE crm OWNER crm")
    url = postgres.url.replace("/automation?", "/crm?")
    _admin(
        url,
        "CREATE TABLE contacts (id int PRIMARY KEY, name text, since timestamptz, owed numeric, more jsonb)",
        "INSERT INTO contacts VALUES (1, 'Ada', '2026-01-15T10:30:00Z', 12.50, '{\"a\": [1]}')",
        "INSERT INTO contacts VALUES (2, 'Été', null, 0, null)",
        "ALTER TABLE contacts OWNER TO crm",
    )
    path = f"{parse_qs(urlsplit(postgres.url).query)['host'][0]}/.s.PGSQL.5432"
    relaying: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_relay(path, reader, writer))
        relaying.add(task)
        task.add_done_callback(relaying.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, family=socket.AF_INET)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*relaying, return_exceptions=True)
        _admin(postgres.url, "DROP DATABASE crm WITH (FORCE)", "DROP ROLE crm")


async def _relay(path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    inner_reader, inner_writer = await asyncio.open_unix_connection(path)

    async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()

    await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))


def _admin(url: str, *statements: str) -> None:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for statement in statements:
            cursor.execute(statement)
