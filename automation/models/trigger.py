"""Triggers: when a workflow runs, and what each has to remember between two events."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from automation.models.base import Base, Json, WithId, WithTimes, utc_now

KEY_LENGTH = 300
"""Longest key of a trigger; a longer one is cut and ends in a hash of the whole."""


class Trigger(WithId, WithTimes, Base):
    """When a workflow runs. Found by (project, type, event type), so those that cannot match cost nothing.

    A trigger of a workflow of the platform (`project_id` empty) hears the events of every project.
    """

    __tablename__ = "triggers"
    __table_args__ = (
        Index("ix_triggers_matching", text("coalesce(project_id, '')"), "trigger_type", "event_type"),
        # what calls a delayed one off
        Index(
            "ix_triggers_cancelling",
            text("coalesce(project_id, '')"),
            text("(config ->> 'cancel_on')"),
            postgresql_where=text("trigger_type = 'DELAYED'"),
        ),
        # what no event finds: the clock and the file watcher ask for all of theirs
        Index(
            "ix_triggers_watched",
            "trigger_type",
            postgresql_where=text("trigger_type IN ('SCHEDULED', 'FILE_CHANGE')"),
        ),
        Index("ix_triggers_workflow_id", "workflow_id"),
        Index("ix_triggers_created_at_id", "created_at", "id"),
        Index("ix_triggers_project_id_created_at", "project_id", "created_at"),
    )

    workflow_id: Mapped[UUID] = mapped_column(ForeignKey("workflows.id", ondelete="CASCADE"))
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    trigger_type: Mapped[str] = mapped_column(String(50))
    event_type: Mapped[str] = mapped_column(String(100), default="")
    conditions: Mapped[Json] = mapped_column(default=dict)
    config: Mapped[Json] = mapped_column(default=dict)
    is_active: Mapped[bool] = mapped_column(default=True)
    last_triggered: Mapped[datetime | None]
    last_slot: Mapped[datetime | None]
    """Of a SCHEDULED one: every slot up to this time has its execution, or was skipped."""


class WebhookSecret(WithId, Base):
    """A secret with which the sender of a WEBHOOK trigger signs. While one is replaced, two are valid."""

    __tablename__ = "webhook_secrets"
    __table_args__ = (Index("ix_webhook_secrets_trigger_id", "trigger_id"),)

    trigger_id: Mapped[UUID] = mapped_column(ForeignKey("triggers.id", ondelete="CASCADE"))
    secret: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    expires_at: Mapped[datetime | None]


class TriggerState(Base):
    """What a trigger remembers for one key: when it fired (throttle), and the values that it saw (`changed`)."""

    __tablename__ = "trigger_states"
    __table_args__ = (Index("ix_trigger_states_updated_at", "updated_at"),)

    trigger_id: Mapped[UUID] = mapped_column(ForeignKey("triggers.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(KEY_LENGTH), primary_key=True)
    fired: Mapped[list[Any]] = mapped_column(default=list)
    """Times of the last firings, and of those that wait for their turn, in seconds since 1970."""
    seen: Mapped[Json] = mapped_column(default=dict)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now)


class DedupeKey(Base):
    """A `dedupe_key` that a trigger has fired for, and the event that it was."""

    __tablename__ = "trigger_dedupe_keys"
    __table_args__ = (Index("ix_trigger_dedupe_keys_created_at", "created_at"),)

    trigger_id: Mapped[UUID] = mapped_column(ForeignKey("triggers.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(KEY_LENGTH), primary_key=True)
    event_id: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Timer(WithId, Base):
    """A firing that waits for its time: a debounced event, a delayed one, or the end of a silence.

    It carries the event that it will fire with, of a debounced key always the newest one. `status` is WAITING, FIRED or
    CANCELLED; an ended one stays as long as its events, to say what became of them.
    """

    __tablename__ = "timers"
    __table_args__ = (
        # of a debounce and of a silence at most one waits for each key
        Index(
            "uq_timers_waiting",
            "trigger_id",
            "purpose",
            "key",
            unique=True,
            postgresql_where=text("status = 'WAITING' AND purpose <> 'delay'"),
        ),
        Index("ix_timers_due", "due_at", postgresql_where=text("status = 'WAITING'")),
        Index("ix_timers_trigger_id_key", "trigger_id", "key", postgresql_where=text("status = 'WAITING'")),
        Index("ix_timers_ended_at", "ended_at", postgresql_where=text("status <> 'WAITING'")),
    )

    trigger_id: Mapped[UUID] = mapped_column(ForeignKey("triggers.id", ondelete="CASCADE"))
    project_id: Mapped[str] = mapped_column(String(128))
    purpose: Mapped[str] = mapped_column(String(10))
    key: Mapped[str] = mapped_column(String(KEY_LENGTH))
    status: Mapped[str] = mapped_column(String(10), default="WAITING")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    due_at: Mapped[datetime]
    latest_at: Mapped[datetime | None]
    """A debounce that is put off by further events is due then at the latest."""
    ended_at: Mapped[datetime | None]
    event_id: Mapped[str] = mapped_column(String(200))
    event_type: Mapped[str] = mapped_column(String(100))
    event_data: Mapped[Json]
    occurred_at: Mapped[datetime]
    version: Mapped[int | None] = mapped_column(BigInteger)
    event_count: Mapped[int] = mapped_column(default=1)
    execution_id: Mapped[UUID | None]
    next_id: Mapped[UUID | None]
    """The timer for which it waited next, as one that is debounced and then delayed does."""
    outcome: Mapped[str] = mapped_column(String(20), default="")
    reason: Mapped[str] = mapped_column(default="")
