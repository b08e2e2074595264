"""Integrations with real neighbours: a web server, a mail server, PostgreSQL over TCP; and the step that calls them."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import orjson
import psycopg2
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP as SmtpServer
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prefect.client.orchestration import PrefectClient

from automation.database import Database
from automation.integrations import write
from automation.integrations.write import parse_integration
from automation.models import Integration
from automation.settings import Settings
from automation.steps import ProjectInfo, Result, StepBatch, StepContext, StepItem
from tasks.integrations import call_integration
from tests.conftest import Postgres
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


class Inbox:
    """What a mail server took. `verdict` is what it answers to a message."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.verdict = "250 OK"

    async def handle_DATA(self, server: SmtpServer, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return self.verdict

    def authenticate(
        self, server: SmtpServer, session: Session, envelope: Any, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"hunter2hunter2", handled=False)


class Mailbox(Controller):
    """A mail server on a free port, with STARTTLS if there is a certificate for it."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.inbox = Inbox()
        options: dict[str, Any] = {"authenticator": self.inbox.authenticate, "auth_required": False}
        if tls:
            options["tls_context"] = tls
        super().__init__(self.inbox, hostname="127.0.0.1", port=0, ready_timeout=10, **options)

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        super()._trigger_server()


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A certificate for 127.0.0.1 that this process believes."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


@pytest.fixture
def mailbox(certified: ssl.SSLContext) -> Iterator[Mailbox]:
    controller = Mailbox(certified)
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture
def plain_mailbox() -> Iterator[Mailbox]:
    controller = Mailbox()
    controller.start()
    yield controller
    controller.stop()


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
