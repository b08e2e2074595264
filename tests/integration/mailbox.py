"""A mail server that keeps what it takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP as SmtpServer
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session


class Inbox:
    """What a mail server took. `verdict` is what it answers to a message; one password is good."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.verdict = "250 OK"

    @property
    def messages(self) -> list[EmailMessage]:
        contents = [one.content for one in self.envelopes]
        return [message_from_bytes(one, policy=SMTP) for one in contents if isinstance(one, bytes)]

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
    """A mail server, on a free port unless one is given; `options` are aiosmtpd's."""

    def __init__(self, port: int = 0, **options: Any) -> None:
        self.inbox = Inbox()
        options = {"authenticator": self.inbox.authenticate, "auth_required": False} | options
        super().__init__(self.inbox, hostname="127.0.0.1", port=port, ready_timeout=10, **options)

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        super()._trigger_server()


@contextmanager
def receiving(port: int = 0, **options: Any) -> Iterator[Mailbox]:
    """A mail server, for as long as the block lasts."""
    mailbox = Mailbox(port, **options)
    mailbox.start()
    try:
        yield mailbox
    finally:
        mailbox.stop()
