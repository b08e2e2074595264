"""How each neighbour is given what it is owed."""

from automation.foundation.notify import send_owed
from automation.insights import activities
from automation.models import Owed
from automation.settings import Settings


async def deliver(settings: Settings, owed: Owed) -> None:
    """Have one effect now, under the idempotency key under which it was tried first.

    Raises:
        NetworkError: the neighbour is away.
        ValidationError: the neighbour refused, and will again.
    """
    if owed.neighbour == activities.NEIGHBOUR:
        await activities.send(settings, owed.request, owed.idempotency_key)
    else:
        await send_owed(settings, owed.neighbour, owed.request)
