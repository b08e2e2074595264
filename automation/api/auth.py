"""The bearer key that every endpoint but health and the signed webhook needs."""

import hmac
from typing import Annotated

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from automation.api.services import ServicesOf

_bearer = HTTPBearer(auto_error=False, description="The key in AUTOMATION_API_KEY.")


async def require_key(
    services: ServicesOf, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Let the request through if it carries our key; without a key in our settings nothing gets through.

    Raises:
        HTTPException: 401.
    """
    key = services.settings.api_key
    expected = key.get_secret_value() if key else ""
    if not expected or given is None or not _same(given.credentials, expected):
        raise HTTPException(
            401,
            "This needs the header `Authorization: Bearer <key>`, with the key in AUTOMATION_API_KEY.",
            headers={"WWW-Authenticate": 'Bearer realm="automation"'},
        )


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
