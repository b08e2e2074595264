"""E-mail by SMTP: one message to one person, with nothing in its headers that we did not mean."""

import asyncio
import hashlib
import re
import smtplib
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from urllib.parse import SplitResult, unquote, urlsplit

from automation.errors import NetworkError
from automation.models import utc_now
from automation.steps import one_line

TIMEOUT = 10.0  # seconds for each answer of the server

# What browsers accept in <input type="email">: exactly one ASCII address, no name, no list, no comment.
_ADDRESS = re.compile(
    r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*"
)
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def is_address(text: str) -> bool:
    """Whether `text` is one plain e-mail address."""
    return len(text) <= 320 and _ADDRESS.fullmatch(text) is not None


def compose(*, sender: str, to: str, subject: str, body: str, idempotency_key: str) -> EmailMessage:
    """A plain-text message. Its Message-ID follows from the key, so that a repeat can be recognised.

    Args:
        sender: `address` or `Name <address>`, from the settings.
        to: one address, as `is_address` accepts.
        subject, body: control characters in the subject are spelled out.
    """
    domain = parseaddr(sender)[1].rpartition("@")[2] or "localhost"
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = one_line(subject)
    message["Date"] = format_datetime(utc_now())
    message["Message-ID"] = f"<{hashlib.sha256(idempotency_key.encode()).hexdigest()[:32]}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # keeps out-of-office answers away (RFC 3834)
    message.set_content(body, cte="quoted-printable")
    return message


async def send(url: str, message: EmailMessage) -> None:
    """Hand `message` to the server of `url`.

    Args:
        url: `smtp://[user:password@]host[:port]` (STARTTLS when the server offers it) or `smtps://…`.

    Raises:
        NetworkError: the server could not be reached, or refused; the text holds no credentials.
    """
    try:
        await asyncio.to_thread(_send, urlsplit(url), message)
    except OSError as error:  # smtplib's own errors are OSErrors, too
        raise NetworkError(f"The mail server did not take the message: {one_line(str(error))}") from error


def _send(parts: SplitResult, message: EmailMessage) -> None:
    host = parts.hostname or ""
    with _connect(parts.scheme, host, parts.port or 0) as server:
        server.ehlo()
        if parts.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls(context=_tls(host))
            server.ehlo()
        elif parts.scheme == "smtp" and parts.username and host not in _LOOPBACK:
            raise NetworkError(
                f"The mail server {host} offers no STARTTLS, and the password of AUTOMATION_SMTP_URL is not "
                "sent in the clear; use smtps:// or a URL without user and password."
            )
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(message)


def _connect(scheme: str, host: str, port: int) -> smtplib.SMTP:
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT, context=_tls(host))
    return smtplib.SMTP(host, port, timeout=TIMEOUT)


def _tls(host: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if host in _LOOPBACK:  # the relay of this machine has a certificate that nobody signed, and needs none
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
