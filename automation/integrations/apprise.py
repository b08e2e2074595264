"""Telling people through an Apprise URL that somebody gave: read, and used, under the guard."""

import asyncio
import logging
from functools import partial
from typing import Any

from automation import egress
from automation.addresses import parse_address, parse_allowed, reason_against
from automation.errors import NetworkError, ValidationError
from automation.integrations.guard import Permit, guarded
from automation.integrations.proofs import AppriseCredentials
from automation.settings import Settings


async def check(credentials: AppriseCredentials) -> str:
    """Whether Apprise can read the URL; the name of its service. Nothing is sent.

    Raises:
        ValidationError: it cannot.
    """
    service = await asyncio.to_thread(_service, credentials)
    return str(service.service_name)


async def send(settings: Settings, credentials: AppriseCredentials, title: str, body: str) -> str:
    """Send a message; the name of the service that took it.

    Raises:
        ValidationError: the URL is wrong, or leads into our own network.
        NetworkError: the service did not take the message.
    """
    service = await asyncio.to_thread(_service, credentials)
    permit = await _permit(settings, service)
    await asyncio.to_thread(_send, service, permit, title, body)
    return str(service.service_name)


def _service(credentials: AppriseCredentials) -> Any:
    import apprise  # a second of imports that only an installation with such an integration pays for

    # its own lines of a lower level show URLs, with the tokens in them; so do those of what it sends by
    for name in ("apprise", "urllib3"):
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))
    apprise.Apprise.instantiate("json://localhost")  # has it read its own code, for which it needs more than is allowed
    make = partial(apprise.Apprise.instantiate, credentials.url.get_secret_value())
    service = guarded(lambda address, port: False, make)
    if service is None:
        raise ValidationError("Apprise cannot read this URL; see its documentation of the service.")
    return service


async def _permit(settings: Settings, service: Any) -> Permit:
    """What may be connected to: the internet, and what is allowed by address; by name, the host of the URL."""
    allowed = [parse_allowed(one) for one in settings.egress_allow]
    named = set()
    if any("{host}" in template for template in service.templates):  # of others, `host` is a token
        port = service.port or (443 if service.secure else 80)
        named = {(address, port) for address in await egress.permitted_addresses(settings, service.host, port)}

    def permit(text: str, port: int) -> bool:
        address = parse_address(text)
        return (address, port) in named or not reason_against(allowed, "", address, port)

    return permit


def _send(service: Any, permit: Permit, title: str, body: str) -> None:
    import apprise

    sender = apprise.Apprise()
    sender.add(service)
    # TEXT: Apprise escapes for services that speak HTML or Markdown
    work = partial(sender.notify, body, title=title, body_format=apprise.NotifyFormat.TEXT)
    if not guarded(permit, work):
        raise NetworkError(f"{service.service_name} did not take the message.")
