"""Who may do what, and who did what: API keys and the audit."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from automation.models.base import Base, Json, WithId, utc_now

IDEMPOTENCY = timedelta(hours=24)
"""For how long a request under an `Idempotency-Key` is answered as before."""


class ApiKey(WithId, Base):
    """A key of the API. The key itself is nowhere: `key_hash` is its SHA-256, `prefix` how people recognise it."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index("uq_api_keys_key_hash", "key_hash", unique=True),
        Index("uq_api_keys_name", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
        Index("ix_api_keys_created_at_id", "created_at", "id"),
    )

    name: Mapped[str] = mapped_column(String(48))
    """Who uses it, as records of what was asked have it: of all keys that are not revoked, one has it."""
    key_hash: Mapped[bytes]
    prefix: Mapped[str] = mapped_column(String(12))
    scopes: Mapped[list[str]] = mapped_column(JSONB)
    project_id: Mapped[str | None] = mapped_column(String(128))
    """The project that it is restricted to, be it there yet or not."""
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    created_by: Mapped[str] = mapped_column(String(48))
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    """Up to a minute late."""


class AuditEntry(Base):
    """A change, or a wish such as a retry: who, what, and the object before and after, without its secrets."""

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_at_id", "at", "id"),
        Index("ix_audit_object", "object_type", "object_id", "at", "id"),
        Index("ix_audit_project_id_at_id", "project_id", "at", "id"),
        Index("ix_audit_actor_at_id", "actor", "at", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(default=utc_now)
    key_id: Mapped[UUID | None]
    """Empty for the key in AUTOMATION_API_KEY."""
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(50))
    object_type: Mapped[str] = mapped_column(String(50))
    object_id: Mapped[str] = mapped_column(String(200))
    project_id: Mapped[str | None] = mapped_column(String(128))
    before: Mapped[Json | None] = mapped_column(JSONB(none_as_null=True))
    after: Mapped[Json | None] = mapped_column(JSONB(none_as_null=True))
    request_id: Mapped[str] = mapped_column(String(128), default="")


class IdempotencyKey(Base):
    """What a request under an `Idempotency-Key` was answered; `id` is a hash of who asked for what, under which key."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    id: Mapped[bytes] = mapped_column(primary_key=True)
    request_hash: Mapped[bytes]
    answer: Mapped[str]
    """JSON, byte for byte."""
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class OpsSession(Base):
    """Somebody is signed in on the operations pages; `id` is the SHA-256 of what their cookie holds."""

    __tablename__ = "ops_sessions"
    __table_args__ = (Index("ix_ops_sessions_expires_at", "expires_at"),)

    id: Mapped[bytes] = mapped_column(primary_key=True)
    key_id: Mapped[UUID | None]
    """The key that they signed in with; empty for the one in AUTOMATION_API_KEY."""
    proof: Mapped[bytes]
    """The key's hash under the cookie's token: another key in the same place is not theirs."""
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime]
