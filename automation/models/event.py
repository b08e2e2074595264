"""The inbox: every event that was accepted, under the id that makes it unique."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, String, Uuid
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from automation.models.base import Base, Json, utc_now


class Event(Base):
    """An event as it came in. Its primary key is the sender's id, which is what makes a repeat harmless."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_project_id_received_at", "project_id", "received_at"),
        Index("ix_events_received_at", "received_at"),
        Index("ix_events_type_received_at", "type", "received_at"),
    )

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    type: Mapped[str] = mapped_column(String(100))
    project_id: Mapped[str] = mapped_column(String(128))
    occurred_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(default=utc_now)
    source: Mapped[str] = mapped_column(String(20))
    data: Mapped[Json]
    execution_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), server_default="{}", default=list)
    decisions: Mapped[list[Any]] = mapped_column(server_default="[]", default=list)
    """What each trigger that it concerned made of it: `{"trigger_id", "outcome", "reason"?, "execution_id"?,
    "timer_id"?, "due_at"?}`. Triggers that it cannot concern are not listed."""
    request_id: Mapped[str] = mapped_column(String(128), server_default="", default="")
    traceparent: Mapped[str] = mapped_column(String(55), server_default="", default="")
    """The request that brought it, and the trace that it belongs to (W3C); empty without one."""
