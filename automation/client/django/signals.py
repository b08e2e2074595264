"""From a saved or deleted instance to an event."""

import logging
from collections.abc import Callable
from typing import Any

from automation.client.django import outbox

log = logging.getLogger("automation.client")

DataOf = Callable[[Any], dict[str, Any]]


def saved(noun: str, data_of: DataOf) -> Callable[..., None]:
    """A receiver of post_save that tells of `<noun>.created` and `<noun>.updated`, but not of fixtures."""

    def receive(sender: Any, instance: Any, created: bool, raw: bool, using: str, **_: Any) -> None:
        if not raw:
            _tell(f"{noun}.created" if created else f"{noun}.updated", instance, data_of, using)

    return receive


def deleted(noun: str, data_of: DataOf) -> Callable[..., None]:
    """A receiver of post_delete that tells of `<noun>.deleted`."""

    def receive(sender: Any, instance: Any, using: str, **_: Any) -> None:
        _tell(f"{noun}.deleted", instance, data_of, using)

    return receive


def _tell(type_: str, instance: Any, data_of: DataOf, using: str) -> None:
    """Send the event after the commit. A fault here is ours, and must not undo what the person saved."""
    try:
        outbox.send(type_, data_of(instance), using=using)
    except Exception:
        log.exception("%s of %s %r is not sent", type_, instance._meta.label, instance.pk)
