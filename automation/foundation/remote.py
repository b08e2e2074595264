"""Foundation at `FOUNDATION_URL` tells people, by ways of its own."""

from automation import neighbours
from automation.errors import NetworkError
from automation.models import Json
from automation.settings import Settings


async def send(settings: Settings, request: Json, key: str) -> None:
    """Have somebody told.

    Args:
        request: {"project_id", "recipient": {"id", "email"} or null, "subject", "body"}; without a recipient those
            are told who follow the project.

    Raises:
        NetworkError: Foundation is away, or nobody says where it is.
        ValidationError: Foundation refused.
    """
    if settings.foundation_url is None:
        raise NetworkError("FOUNDATION_URL is not set any more; set it, and what is owed to Foundation is delivered.")
    await neighbours.call(settings, "POST", settings.foundation_url + "/notifications/", json=request, key=key)
