"""The way out of a Django process: events wait for the commit, and then for the sender of this process."""

import atexit
import os
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from automation.client.client import Client
from automation.client.events import encode
from automation.client.sender import Sender

TIMEOUT = 10.0
"""Seconds for one request; nobody waits for it but the sender."""

FLUSH_SECONDS = 5.0
"""How long a process that ends still tries to send what waits."""

_sender: Sender | None = None


def configure(url: str, key: str) -> None:
    """Say where events go to; the first one starts the sender.

    Raises:
        ValueError: the address or the key cannot be one.
    """
    global _sender
    _sender = Sender(partial(Client, url, key, tries=1, timeout=TIMEOUT))


def send(type_: str, data: dict[str, Any], *, using: str | None = None) -> None:
    """Send an event when the transaction that is open commits, or at once if none is; never waits.

        send("project.published", {"project_id": str(project.pk), "user_id": str(request.user.pk)})

    It is written down now: what happens to the objects in `data` later changes nothing.

    Args:
        using: the database whose transaction counts, by default Django's.

    Raises:
        RefusedError: the data cannot be written as JSON, or is too large.
    """
    if _sender is None:  # AUTOMATION_API_URL is empty
        return
    event = {"type": type_, "timestamp": datetime.now(UTC).isoformat(), "data": data}
    encoded = encode(event, encoder=DjangoJSONEncoder)
    transaction.on_commit(partial(_sender.put, encoded), using=using, robust=True)


def flush(seconds: float = FLUSH_SECONDS) -> bool:
    """Wait until everything that was committed is sent; False if that takes longer."""
    return _sender is None or _sender.flush(seconds)


@atexit.register
def _close() -> None:
    if _sender:
        _sender.close(FLUSH_SECONDS)


def _after_fork() -> None:
    if _sender:
        _sender.reset()


os.register_at_fork(after_in_child=_after_fork)
