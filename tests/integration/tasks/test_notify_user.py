"""NOTIFY_USER, against a real mail server, a real web server and a real database."""

import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID

import orjson
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP as SmtpServer
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import select

from automation.database import Database
from automation.errors import NetworkError, ValidationError
from automation.foundation import mail
from automation.models import Activity, utc_now
from automation.settings import Settings
from automation.steps import ProjectInfo, StepContext
from tasks.notifications import NotifyUserConfig, notify_user

VERSION = "20260115T103000000Z-1f0c9a2b"
DEPLOYED = {"deployed": True, "version": VERSION, "environment": "production"}
# apprise imports a module that Python 3.13 no longer has
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


class Inbox:
    """What a mail server took."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []

    async def handle_DATA(self, server: SmtpServer, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        return "250 OK"

    @property
    def messages(self) -> list[EmailMessage]:
        contents = [one.content for one in self.envelopes]
        return [message_from_bytes(one, policy=SMTP) for one in contents if isinstance(one, bytes)]  # type: ignore[misc]


class Mailbox(Controller):
    """A mail server on a free port."""

    def __init__(self, **options: Any) -> None:
        self.inbox = Inbox()
        super().__init__(self.inbox, hostname="127.0.0.1", port=0, ready_timeout=10, **options)

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        super()._trigger_server()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    controller = Mailbox()
    controller.start()
    yield controller
    controller.stop()


class Hook(HTTPServer):
    """A web server that keeps what is posted to it, and answers `status`."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _HookHandler)

    @property
    def apprise_url(self) -> str:
        return f"json://127.0.0.1:{self.server_port}/hook"


class _HookHandler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.status == 200:
            self.server.posts.append(body)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


Make = Callable[..., StepContext]


@pytest.fixture
def make(database: Database) -> Make:
    def context(
        *,
        owner: str = "owner@example.com",
        name: str = "Boutique",
        deployed: dict[str, Any] | None = DEPLOYED,
        verified: dict[str, Any] | None = None,
        **settings: Any,
    ) -> StepContext:
        results = {"deploy-to-runtime": deployed, "verify-release": verified}
        return StepContext(
            execution_id=UUID("11111111-1111-1111-1111-111111111111"),
            workflow_id=UUID(int=1),
            workflow_name="Generate Application",
            identifier="notify-user",
            project=ProjectInfo(id="project-456", name=name, owner_email=owner),
            trigger_type="ON_PUBLISH",
            event_type="project.published",
            trigger_data={},
            occurred_at=utc_now(),
            results={name: result for name, result in results.items() if result is not None},
            attempt=1,
            settings=Settings(**settings),
            database=database,
        )

    return context


def smtp(mailbox: Mailbox) -> str:
    return f"smtp://127.0.0.1:{mailbox.port}"


@pytest.mark.parametrize(("language", "subject"), [("fr", "« Boutique » est en ligne"), ("en", "“Boutique” is live")])
async def test_the_owner_gets_a_mail_in_the_language_of_the_installation(
    make: Make, mailbox: Mailbox, language: str, subject: str
) -> None:
    step = make(smtp_url=smtp(mailbox), language=language, mail_from="automation@example.org")
    result = await notify_user.function(step, NotifyUserConfig())
    [envelope], [message] = mailbox.inbox.envelopes, mailbox.inbox.messages
    assert envelope.rcpt_tos == ["owner@example.com"]
    assert envelope.mail_from == "automation@example.org"
    assert message["Subject"] == subject
    assert VERSION in message.get_content()
    assert "/project-456/" in message.get_content()
    assert result["delivered"] == ["e-mail to owner@example.com"]


@pytest.mark.parametrize(
    ("action", "subject"),
    [
        ("promote", "“Boutique”: a version was promoted"),
        ("rollback", "“Boutique”: back to an earlier version"),
    ],
)
async def test_a_promotion_and_a_rollback_are_called_what_they_are(
    make: Make, mailbox: Mailbox, action: str, subject: str
) -> None:
    place = {"version": VERSION, "environment": "staging"}
    step = make(smtp_url=smtp(mailbox), language="en", deployed=DEPLOYED | place, verified={"action": action} | place)
    await notify_user.function(step, NotifyUserConfig())
    [message] = mailbox.inbox.messages
    assert message["Subject"] == subject
    assert "/project-456/@staging/" in message.get_content()


async def test_nobody_is_told_of_a_release_that_a_newer_one_has_overtaken(make: Make, mailbox: Mailbox) -> None:
    step = make(smtp_url=smtp(mailbox), deployed=DEPLOYED | {"deployed": False, "superseded": True})
    result = await notify_user.function(step, NotifyUserConfig())
    assert result == {"delivered": [], "reason": "a newer release is live"}
    assert mailbox.inbox.envelopes == []
    assert step.rows == []


async def test_a_hostile_project_name_adds_no_header_and_no_recipient(make: Make, mailbox: Mailbox) -> None:
    step = make(smtp_url=smtp(mailbox), name="Shop\r\nBcc: victim@example.com\r\n\r\nEvil body")
    await notify_user.function(step, NotifyUserConfig())
    [envelope], [message] = mailbox.inbox.envelopes, mailbox.inbox.messages
    assert envelope.rcpt_tos == ["owner@example.com"]
    assert message["Bcc"] is None
    assert not message.get_content().startswith("Evil")


@pytest.mark.parametrize("owner", ["a@x.com\r\nBcc: b@y.com", "a@x.com, b@y.com", "no address", "Ann <a@x.com>"])
async def test_an_owner_without_one_plain_address_gets_no_mail(make: Make, mailbox: Mailbox, owner: str) -> None:
    step = make(smtp_url=smtp(mailbox), owner=owner)
    result = await notify_user.function(step, NotifyUserConfig())
    assert mailbox.inbox.envelopes == []
    assert result["delivered"] == []
    assert step.lines[0].level == "WARNING"
    assert "\n" not in step.lines[0].message


async def test_without_send_email_the_owner_gets_none_and_the_other_channels_are_told(
    make: Make, mailbox: Mailbox, hook: Hook
) -> None:
    step = make(smtp_url=smtp(mailbox), notify_urls=(hook.apprise_url,))
    result = await notify_user.function(step, NotifyUserConfig(send_email=False))
    assert mailbox.inbox.envelopes == []
    assert result["delivered"] == ["json"]
    assert len(hook.posts) == 1


async def test_update_status_records_the_publication(make: Make) -> None:
    step = make()
    result = await notify_user.function(step, NotifyUserConfig())
    [row] = step.rows
    assert isinstance(row, Activity)
    assert row.type == "project.status"
    assert row.changes == {"status": "published", "version": VERSION, "environment": "production"}
    assert result["status"] == "published"


async def test_without_update_status_nothing_is_recorded(make: Make) -> None:
    step = make()
    result = await notify_user.function(step, NotifyUserConfig(update_status=False))
    assert step.rows == []
    assert "status" not in result


async def test_with_no_channel_the_log_says_so_and_the_step_is_done(make: Make) -> None:
    step = make()
    result = await notify_user.function(step, NotifyUserConfig(update_status=False))
    assert result == {"delivered": [], "reason": "no channel is configured"}
    assert "no channel is configured" in step.lines[0].message


async def test_an_apprise_channel_gets_title_and_body(make: Make, hook: Hook) -> None:
    step = make(notify_urls=(hook.apprise_url,), language="en")
    await notify_user.function(step, NotifyUserConfig())
    [post] = hook.posts
    assert post["title"] == "“Boutique” is live"
    assert VERSION in post["message"]


async def test_a_channel_that_fails_is_tried_again_and_the_others_are_not_told_twice(
    make: Make, mailbox: Mailbox, hook: Hook, database: Database
) -> None:
    options = {"smtp_url": smtp(mailbox), "notify_urls": (hook.apprise_url,)}
    hook.status = 503
    for _ in range(2):
        with pytest.raises(NetworkError, match="json"):
            await notify_user.function(make(**options), NotifyUserConfig())
    hook.status = 200
    result = await notify_user.function(make(**options), NotifyUserConfig())
    assert len(mailbox.inbox.envelopes) == 1
    assert len(hook.posts) == 1
    assert result["delivered"] == ["e-mail to owner@example.com", "json"]
    async with database.transaction() as session:
        rows = (await session.scalars(select(Activity))).all()
    assert {row.type for row in rows} == {"notification.sent"}
    assert len(rows) == 2


async def test_a_mail_server_that_is_away_is_a_network_error_without_the_password(make: Make) -> None:
    step = make(smtp_url="smtp://user:s3cret@127.0.0.1:9")
    with pytest.raises(NetworkError) as caught:
        await notify_user.function(step, NotifyUserConfig())
    assert "s3cret" not in str(caught.value)


async def test_a_wrong_apprise_url_names_the_setting(make: Make) -> None:
    with pytest.raises(NetworkError, match="AUTOMATION_NOTIFY_URLS"):
        await notify_user.function(make(notify_urls=("nosuch://token@host",)), NotifyUserConfig())


async def test_without_a_release_the_step_says_what_is_missing(make: Make) -> None:
    with pytest.raises(ValidationError, match="DEPLOY_TO_RUNTIME"):
        await notify_user.function(make(deployed=None), NotifyUserConfig())


async def test_a_password_goes_through_starttls_where_the_server_offers_it(tmp_path: Path) -> None:
    seen: list[LoginPassword] = []

    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: LoginPassword) -> AuthResult:
        seen.append(data)
        return AuthResult(success=True)

    tls = _server_tls(tmp_path)
    mailbox = Mailbox(tls_context=tls, require_starttls=True, auth_required=True, authenticator=check)
    mailbox.start()
    try:
        message = mail.compose(sender="a@example.org", to="b@example.org", subject="S", body="B", idempotency_key="k")
        await mail.send(f"smtp://us%40er:p%3Ass@127.0.0.1:{mailbox.port}", message)
    finally:
        mailbox.stop()
    assert seen == [LoginPassword(b"us@er", b"p:ss")]
    assert len(mailbox.inbox.envelopes) == 1


def _server_tls(folder: Path) -> ssl.SSLContext:
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
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context
