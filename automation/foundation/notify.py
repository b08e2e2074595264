"""The channels by which people are reached: Foundation, or else e-mail to one person and Apprise URLs."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from automation.errors import NetworkError, ValidationError
from automation.foundation import mail, remote
from automation.models import Json, utc_now
from automation.settings import Settings

_CALL = re.compile(r"@(?=(?:everyone|here|channel|all)\b)|<(?=[!@])", re.IGNORECASE)
"""Where a call begins: `@everyone`, Slack's `<!channel>`, `<@U024BE7LH>`, Discord's `<@&role>`."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What is to be told. `idempotency_key` is the same whenever the same thing is told again.

    Attributes:
        to: the address of the person who is to be told, or nothing.
        person_id: the same person, for Foundation, which knows more ways than e-mail.
        expires_at: in ISO 8601; who could not be told until then is not told any more. Empty: never too late.
    """

    subject: str
    body: str
    idempotency_key: str
    to: str = ""
    person_id: str = ""
    project_id: str = ""
    expires_at: str = ""


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
    person = person_channels(settings, to)
    return person if settings.foundation_url else person + team_channels(settings)


def person_channels(settings: Settings, to: str) -> list[Channel]:
    """How one person is reached: by Foundation; else by e-mail when there is a server and an address."""
    if settings.foundation_url:
        return [_foundation(settings)]
    return [_mail(settings, settings.smtp_url.get_secret_value(), to)] if settings.smtp_url and to else []


def team_channels(settings: Settings) -> list[Channel]:
    """Each Apprise URL of those who read every notification."""
    return [_apprise(url, "AUTOMATION_NOTIFY_URLS") for url in settings.notify_urls]


def admin_channels(settings: Settings) -> list[Channel]:
    """Each Apprise URL of those who are told what is wrong."""
    return [_apprise(url, "AUTOMATION_ADMIN_NOTIFY_URLS") for url in settings.admin_notify_urls]


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
    """Tell what was left to the outbox.

    Args:
        request: a `Notice` as a dict.

    Raises:
        NetworkError: the channel is away, or not configured any more.
        ValidationError: Foundation refused, or it is too late.
    """
    notice = Notice(**request)
    if notice.expires_at and utc_now() > datetime.fromisoformat(notice.expires_at):
        raise ValidationError(f"Nobody could be told until {notice.expires_at}, and now it is too late.")
    for channel in (*channels(settings, notice.to), *team_channels(settings), *admin_channels(settings)):
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
    # TEXT: Apprise escapes for services that speak HTML
    body, title = _calling_nobody(notice.body), _calling_nobody(notice.subject)
    if not sender.notify(body, title=title, body_format=apprise.NotifyFormat.TEXT):
        raise NetworkError("the service did not take the message.")


def _calling_nobody(text: str) -> str:
    """Text in which what chats take for a call, as they may in an error that quotes a page, is broken by a space of no
    width."""
    return _CALL.sub("\\g<0>\u200b", text)
