"""The channels by which people are reached: Foundation, or else e-mail to one person and Apprise URLs."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from automation.errors import NetworkError
from automation.foundation import mail, remote
from automation.models import Json
from automation.settings import Settings


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be told. `idempotency_key` is the same whenever the same thing is told again.

    Attributes:
        to: the address of the person who is to be told, or nothing.
        person_id: the same person, for Foundation, which knows more ways than e-mail.
    """

    subject: str
    body: str
    idempotency_key: str
    to: str = ""
    person_id: str = ""
    project_id: str = ""


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
    """What is configured: Foundation; else e-mail when there is a server and an address, then every Apprise URL."""
    if settings.foundation_url:
        return [_foundation(settings)]
    found = [_mail(settings, settings.smtp_url.get_secret_value(), to)] if settings.smtp_url and to else []
    return found + apprise_channels(settings.notify_urls, "AUTOMATION_NOTIFY_URLS")


def apprise_channels(urls: Sequence[str], setting: str) -> list[Channel]:
    """A channel for each Apprise URL; an error names the setting that they stand in."""
    return [_apprise(url, setting) for url in urls]


async def notify(channels: Sequence[Channel], tell: Callable[[Channel], Awaitable[None]]) -> None:
    """Tell by every channel; one that fails does not keep it from the others.

    Raises:
        NetworkError: a channel failed; the text names each with its reason.
    """
    failures = []
    for channel in channels:
        try:
            await tell(channel)
        except NetworkError as error:
            failures.append(f"{channel.name}: {error}")
    if failures:
        raise NetworkError("; ".join(failures))


async def send_owed(settings: Settings, channel_key: str, request: Json) -> None:
    """Tell what a step left to the outbox.

    Args:
        request: a `Notice` as a dict.

    Raises:
        NetworkError: the channel is away, or not configured any more.
        ValidationError: Foundation refused.
    """
    notice = Notice(**request)
    for channel in channels(settings, notice.to):
        if channel.key == channel_key:
            return await channel.deliver(notice)
    raise NetworkError(f"The channel {channel_key} is not configured any more; set it again to have this delivered.")


def _foundation(settings: Settings) -> Channel:
    async def deliver(notice: Notice) -> None:
        person = {"id": notice.person_id, "email": notice.to}
        request = {
            "project_id": notice.project_id,
            "recipient": person if any(person.values()) else None,
            "subject": notice.subject,
            "body": notice.body,
        }
        await remote.send(settings, request, notice.idempotency_key)

    return Channel("foundation", "Foundation", deliver)


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


def _apprise(url: str, setting: str) -> Channel:
    async def deliver(notice: Notice) -> None:
        await asyncio.to_thread(_send_by_apprise, url, setting, notice)

    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    return Channel(f"apprise-{digest}", url.partition(":")[0], deliver)


def _send_by_apprise(url: str, setting: str, notice: Notice) -> None:
    import apprise  # a second of imports that only an installation with such a channel pays for

    service = apprise.Apprise.instantiate(url)
    if service is None:
        raise NetworkError(f"Apprise does not know this kind of URL; correct {setting}.")
    sender = apprise.Apprise()
    sender.add(service)
    # TEXT: Apprise escapes for services that speak HTML or Markdown
    if not sender.notify(notice.body, title=notice.subject, body_format=apprise.NotifyFormat.TEXT):
        raise NetworkError("the service did not take the message.")
