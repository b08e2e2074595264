"""Mail servers that people name: the address that was checked is the one connected to, and passwords need TLS."""

import asyncio
import smtplib
import socket
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from typing import TypeVar

from automation import egress
from automation.addresses import Address
from automation.errors import NetworkError, ValidationError
from automation.integrations.proofs import LoginCredentials
from automation.integrations.types import SmtpConfig
from automation.settings import Settings
from automation.steps import one_line

T = TypeVar("T")

_SHOWN = 300  # characters of a server's reply that an error shows


async def send(
    settings: Settings, config: SmtpConfig, credentials: LoginCredentials | None, message: EmailMessage
) -> None:
    """Hand a message to the server.

    Raises:
        ValidationError: the address is refused, or the server refuses the login or the message for good.
        NetworkError: it cannot be reached, or refuses for now.
    """
    await _with(settings, config, credentials, 30, lambda server: server.send_message(message))


async def greet(settings: Settings, config: SmtpConfig, credentials: LoginCredentials | None, seconds: float) -> str:
    """Connect, log in, NOOP; what the server replied.

    Raises: as `send`.
    """
    code, reply = await _with(settings, config, credentials, seconds, lambda server: server.noop())
    return one_line(f"{code} {reply.decode(errors='replace')}")[:_SHOWN]


async def _with(
    settings: Settings,
    config: SmtpConfig,
    credentials: LoginCredentials | None,
    seconds: float,
    work: Callable[[smtplib.SMTP], T],
) -> T:
    [address, *_] = await egress.permitted_addresses(settings, config.host, config.port)
    try:
        return await asyncio.to_thread(_session, config, credentials, address, seconds, work)
    except smtplib.SMTPRecipientsRefused as error:
        code, reply = next(iter(error.recipients.values()))
        raise _refused(config, code, reply) from None
    except smtplib.SMTPResponseException as error:
        raise _refused(config, error.smtp_code, error.smtp_error) from None
    except ssl.SSLCertVerificationError as error:
        raise ValidationError(f"{config.host}: its certificate is not accepted: {error.verify_message}.") from None
    except OSError as error:  # smtplib's own errors are OSErrors, too
        raise NetworkError(f"{config.host} did not answer as a mail server: {one_line(str(error))[:_SHOWN]}") from None


def _refused(config: SmtpConfig, code: int, reply: bytes | str) -> ValidationError | NetworkError:
    """What a 5xx refuses stays refused; anything else may be better later."""
    said = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    text = f"{config.host} answered {code}: {one_line(said)[:_SHOWN]}"
    return ValidationError(text) if 500 <= code < 600 else NetworkError(text)


def _session(
    config: SmtpConfig,
    credentials: LoginCredentials | None,
    address: Address,
    seconds: float,
    work: Callable[[smtplib.SMTP], T],
) -> T:
    tls = ssl.create_default_context()
    with _Pinned(config, address, tls, seconds) as server:
        server.ehlo()
        if config.security == "starttls":
            server.starttls(context=tls)  # raises unless it is offered
            server.ehlo()
        if credentials:
            server.login(credentials.username, credentials.password.get_secret_value())
        return work(server)


class _Pinned(smtplib.SMTP):
    """A session with the host of the config, at one address."""

    def __init__(self, config: SmtpConfig, address: Address, tls: ssl.SSLContext, seconds: float) -> None:
        self._address = address
        self._tls = tls if config.security == "tls" else None
        super().__init__(config.host, config.port, timeout=seconds)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connected = socket.create_connection((str(self._address), port), timeout)
        return self._tls.wrap_socket(connected, server_hostname=host) if self._tls else connected
