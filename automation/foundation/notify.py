"""The channels by which people are reached: e-mail to one person, and the Apprise URLs of the settings."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from automation.errors import NetworkError
from automation.foundation import mail
from automation.settings import Settings


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be told. `idempotency_key` is the same whenever the same thing is told again."""

    subject: str
    body: str
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to reach somebody.

    Attributes:
        key: names the channel in records, at most 40 characters, without its secrets.
        name: what people read: `e-mail to owner@example.com`, `slack`.
    """

    key: str
    name: str
    deliver: Callable[[Notice], Awaitable[None]]


def channels(settings: Settings, to: str = "") -> list[Channel]:
    """What is configured: e-mail when there is a server and an address in `to`, then every Apprise URL."""
    found = []
    if settings.smtp_url and to:
        found.append(_mail(settings, settings.smtp_url.get_secret_value(), to))
    return found + [_apprise(url) for url in settings.notify_urls]


async def notify(channels: Sequence[Channel], notice: Notice, delivered: Callable[[Channel], Awaitable[None]]) -> None:
    """Send `notice` through every channel; one that fails does not keep it from the others.

    Args:
        delivered: called after each delivery, before the next, so that a repeat can leave that channel out.

    Raises:
        NetworkError: a channel failed; the text names each with its reason.
    """
    failures = []
    for channel in channels:
        try:
            await channel.deliver(notice)
        except NetworkError as error:
            failures.append(f"{channel.name}: {error}")
        else:
            await delivered(channel)
    if failures:
        raise NetworkError("; ".join(failures))


def _mail(settings: Settings, url: str, to: str) -> Channel:
    async def deliver(notice: Notice) -> None:
        message = mail.compose(
            sender=settings.mail_from,
            to=to,
            subject=notice.subject,
            body=notice.body,
            idempotency_key=notice.idempotency_key,
        )
        await mail.send(url, message)

    return Channel("e-mail", f"e-mail to {to}", deliver)


def _apprise(url: str) -> Channel:
    async def deliver(notice: Notice) -> None:
        await asyncio.to_thread(_send_by_apprise, url, notice)

    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    return Channel(f"apprise-{digest}", url.partition(":")[0], deliver)


def _send_by_apprise(url: str, notice: Notice) -> None:
    import apprise  # a second of imports that only an installation with such a channel pays for

    service = apprise.Apprise.instantiate(url)
    if service is None:
        raise NetworkError("Apprise does not know this kind of URL; correct AUTOMATION_NOTIFY_URLS.")
    sender = apprise.Apprise()
    sender.add(service)
    # TEXT: Apprise escapes for services that speak HTML or Markdown
    if not sender.notify(notice.body, title=notice.subject, body_format=apprise.NotifyFormat.TEXT):
        raise NetworkError("the service did not take the message.")
