"""Keys: finding the one that a request carries, and giving and taking them; and reading the audit."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from automation.errors import ConflictError, NotFoundError
from automation.models.access import ApiKey, AuditEntry
from automation.models.base import utc_now
from automation.models.paging import Order, Page, Position, read_page

NEWEST_KEY_FIRST = Order(ApiKey.created_at, ApiKey.id, descending=True)
NEWEST_ENTRY_FIRST = Order(AuditEntry.at, AuditEntry.id, descending=True)

_USE_IS_NEWS_AFTER = timedelta(minutes=1)


async def used_key(session: AsyncSession, key_hash: bytes) -> ApiKey | None:
    """The key with this hash, be it in force or not, with its use noted at most once a minute; uq_api_keys_key_hash."""
    key = await session.scalar(select(ApiKey).where(ApiKey.key_hash == key_hash))
    if key and (key.last_used_at is None or utc_now() - key.last_used_at > _USE_IS_NEWS_AFTER):
        # who else notes it, or revokes the key, is not waited for
        free = select(ApiKey.id).where(ApiKey.id == key.id).with_for_update(skip_locked=True).scalar_subquery()
        await session.execute(
            update(ApiKey)
            .where(ApiKey.id == free)
            .values(last_used_at=utc_now())
            .execution_options(synchronize_session=False)
        )
    return key


async def add_key(session: AsyncSession, key: ApiKey) -> None:
    """Store a new key.

    Raises:
        ConflictError: another key that is not revoked has its name.
    """
    session.add(key)
    try:
        await session.flush()
    except IntegrityError:  # uq_api_keys_name; two hashes are never equal
        raise ConflictError(f"name: {key.name!r} is that of another key; revoke it first, or take another.") from None


async def list_keys(
    session: AsyncSession,
    *,
    project_id: str | None = None,
    revoked: bool = False,
    position: Position | None = None,
    size: int = 50,
) -> Page[tuple[ApiKey]]:
    """Keys that are in force or expired, or those that are revoked, newest first; ix_api_keys_created_at_id."""
    query = select(ApiKey).where(ApiKey.revoked_at.is_not(None) if revoked else ApiKey.revoked_at.is_(None))
    if project_id is not None:
        query = query.where(ApiKey.project_id == project_id)
    return await read_page(session, query, NEWEST_KEY_FIRST, position, size)


async def lock_key(session: AsyncSession, key_id: UUID) -> ApiKey:
    """One key, which nobody else changes until the transaction ends.

    Raises:
        NotFoundError: there is no such key.
    """
    key = await session.scalar(select(ApiKey).where(ApiKey.id == key_id).with_for_update())
    if key is None:
        raise NotFoundError(f"API key {key_id} does not exist.")
    return key


async def list_audit(
    session: AsyncSession,
    *,
    object_type: str | None = None,
    object_id: str | None = None,
    project_id: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    since: datetime | None = None,
    position: Position | None = None,
    size: int = 50,
) -> Page[tuple[AuditEntry]]:
    """The audit, newest first; ix_audit_at_id, ix_audit_object, ix_audit_project_id_at_id, ix_audit_actor_at_id."""
    given = {"object_type": object_type, "object_id": object_id, "project_id": project_id}
    given |= {"actor": actor, "action": action}
    query = select(AuditEntry).where(
        *(getattr(AuditEntry, name) == value for name, value in given.items() if value is not None)
    )
    if since is not None:
        query = query.where(AuditEntry.at >= since)
    return await read_page(session, query, NEWEST_ENTRY_FIRST, position, size)
