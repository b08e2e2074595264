"""Incidents that operators should know of, what was seen of them, and what nobody wants to hear of for a while."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from automation.models.base import Base, Json, WithId, utc_now


class AlertState(StrEnum):
    """PENDING: seen, and not yet for as long as its rule wants; FIRING; RESOLVED: over."""

    PENDING = "PENDING"
    FIRING = "FIRING"
    RESOLVED = "RESOLVED"


class Alert(WithId, Base):
    """An incident: what a rule has seen of one thing (`fingerprint`), from the first time until it is over.

    There is one open incident of each rule and fingerprint, however often it is seen. That somebody has acknowledged it
    says who looks after it; it does not end it. `automation.alerting` alone writes it, by the clock of the database.
    """

    __tablename__ = "alerts"
    __table_args__ = (
        Index("ix_alerts_created_at_id", "created_at", "id"),
        Index("ix_alerts_project_id_created_at", "project_id", "created_at"),
        Index(
            "ix_alerts_open",
            "created_at",
            "id",
            postgresql_where=text("resolved_at IS NULL AND acknowledged_at IS NULL"),
        ),
        Index(
            "uq_alerts_open",
            "rule",
            "fingerprint",
            unique=True,
            postgresql_where=text("state IN ('PENDING', 'FIRING')"),
        ),
        # when somebody was told of the same thing last
        Index("ix_alerts_told", "rule", "fingerprint", "notified_at", postgresql_where=text("notified_at IS NOT NULL")),
        # over, and those who were told of it do not know that yet
        Index(
            "ix_alerts_over_untold",
            "resolved_at",
            postgresql_where=text("state = 'RESOLVED' AND notified_at IS NOT NULL AND over_notified_at IS NULL"),
        ),
    )

    rule: Mapped[str] = mapped_column(String(100))
    fingerprint: Mapped[str] = mapped_column(String(200), server_default="", default="")
    """What of all that the rule watches it is: a cause, a type of workflow, a machine; empty when there is but one."""
    state: Mapped[str] = mapped_column(String(10), server_default=AlertState.FIRING, default=AlertState.FIRING)
    severity: Mapped[str] = mapped_column(String(10))
    message: Mapped[str]
    """What was seen, as it was last, in one line."""
    details: Mapped[Json] = mapped_column(default=dict)
    """`threshold` in words; `value`, `limit` and `unit` where it is a figure; more by rule."""
    count: Mapped[int] = mapped_column(server_default="1", default=1)
    """How many of them there are: failures, dead letters, slots, …"""
    project_id: Mapped[str | None] = mapped_column(String(128))
    workflow_id: Mapped[UUID | None]
    execution_id: Mapped[UUID | None]
    """The latest example. It may be gone since."""
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    """When it was seen first, without a break since."""
    fired_at: Mapped[datetime | None]
    last_seen_at: Mapped[datetime] = mapped_column(default=utc_now)
    resolved_at: Mapped[datetime | None]
    notified_at: Mapped[datetime | None]
    """When somebody was told of it last; there may be nobody to be told."""
    notified_count: Mapped[int] = mapped_column(server_default="0", default=0)
    """`count` as they were told, or would have been; 0 before."""
    over_notified_at: Mapped[datetime | None]
    recipients: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"), default=list)
    """Who was told, and is to be told when it is over: `{"channel"}`, of an owner `{"channel", "to",
    "project_id"}`."""
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str] = mapped_column(String(200), server_default="", default="")
    comment: Mapped[str] = mapped_column(server_default="", default="")


class Sighting(Base):
    """Something that somebody should be told of at once, on its way into an incident (`automation.alerting.sightings`).

    Whoever notices it only inserts the row, with the rest of the transaction, and waits for nobody.
    """

    __tablename__ = "sightings"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(default=utc_now)
    rule: Mapped[str] = mapped_column(String(100))
    title: Mapped[str]
    body: Mapped[str] = mapped_column(default="")
    error_code: Mapped[str] = mapped_column(String(50), default="")
    step: Mapped[str] = mapped_column(String(200), default="")
    execution_id: Mapped[UUID | None]
    workflow_id: Mapped[UUID | None]
    project_id: Mapped[str | None] = mapped_column(String(128))


class Silence(WithId, Base):
    """Nobody is told of what it names until it is over; what is None does not narrow. The incidents stand."""

    __tablename__ = "silences"
    __table_args__ = (
        Index("ix_silences_created_at_id", "created_at", "id"),
        Index("ix_silences_until", "until"),
    )

    rule: Mapped[str | None] = mapped_column(String(100))
    fingerprint: Mapped[str | None] = mapped_column(String(200))
    project_id: Mapped[str | None] = mapped_column(String(128))
    until: Mapped[datetime]
    comment: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    created_by: Mapped[str] = mapped_column(String(200))
