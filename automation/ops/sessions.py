"""Who is signed in: a random token in their cookie, and its hash in a row that any process of the service finds.

The key itself is kept nowhere. A key that is revoked, is over or is replaced takes its sessions with it at once.
"""

import hashlib
import hmac
import secrets
from datetime import timedelta

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from automation.api.auth import STARTER, Caller, caller_of, hashed
from automation.errors import UnauthorizedError
from automation.models import ApiKey, OpsSession, utc_now
from automation.settings import Settings

LIFETIME = timedelta(hours=12)
"""From the sign-in on, whether it is used or not: a long shift, and not the next one."""


async def begin(session: AsyncSession, caller: Caller, key: str) -> str:
    """Sign somebody in with their key, which was checked; the token for their cookie.

    Sessions that are over are deleted on the way; ix_ops_sessions_expires_at.
    """
    now, token = utc_now(), secrets.token_urlsafe(32)
    await session.execute(delete(OpsSession).where(OpsSession.expires_at <= now))
    proof = _proof(token, hashed(key))
    session.add(OpsSession(id=hashed(token), key_id=caller.key_id, proof=proof, expires_at=now + LIFETIME))
    return token


async def caller_with(session: AsyncSession, token: str, settings: Settings) -> Caller:
    """Who is signed in with this token.

    Raises:
        UnauthorizedError: nobody, nobody any more, or their key is not in force.
    """
    found = await session.get(OpsSession, hashed(token))
    if found is None or found.expires_at <= utc_now():
        raise UnauthorizedError("Nobody is signed in with this cookie.")
    if found.key_id is None:
        key = settings.api_key
        caller, key_hash = STARTER, hashed(key.get_secret_value()) if key else b""
    else:
        stored = await session.get(ApiKey, found.key_id)
        if stored is None:
            raise UnauthorizedError("The key of this session is gone.")
        caller, key_hash = caller_of(stored), stored.key_hash
    if not hmac.compare_digest(found.proof, _proof(token, key_hash)):
        raise UnauthorizedError("The key of this session is another one by now.")
    return caller


async def end(session: AsyncSession, token: str) -> None:
    """Sign out; nothing happens if nobody is signed in with it."""
    await session.execute(delete(OpsSession).where(OpsSession.id == hashed(token)))


def form_token(token: str) -> str:
    """What each form of a session has to bring, and what no other page can know."""
    return hmac.new(token.encode(), b"form", hashlib.sha256).hexdigest()


def _proof(token: str, key_hash: bytes) -> bytes:
    return hmac.new(token.encode(), key_hash, hashlib.sha256).digest()
