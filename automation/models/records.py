"""What steps leave behind for people (activities), and what they talk to (integrations)."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from automation.models.base import Base, Json, WithId, WithTimes, utc_now


class Activity(Base):
    """Something that a person did in Studio, as Insights shows it. Unique by the step that wrote it."""

    __tablename__ = "activities"
    __table_args__ = (
        Index("uq_activities_idempotency_key", "idempotency_key", unique=True),
        Index("ix_activities_project_id_created_at", "project_id", "created_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(String(200))
    project_id: Mapped[str] = mapped_column(String(128))
    execution_id: Mapped[UUID | None]
    user_id: Mapped[str] = mapped_column(String(128), default="")
    type: Mapped[str] = mapped_column(String(100))
    page_id: Mapped[str] = mapped_column(String(128), default="")
    changes: Mapped[Json] = mapped_column(default=dict)
    metrics: Mapped[Json] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class Integration(WithId, WithTimes, Base):
    """A system outside that steps may call. Its credentials live in a Prefect block, never here."""

    __tablename__ = "integrations"
    __table_args__ = (
        Index("ix_integrations_project_id", "project_id"),
        Index("ix_integrations_created_at_id", "created_at", "id"),
        # one of each name in a project, and among those of the platform
        Index("uq_integrations_name", text("coalesce(project_id, '')"), "name", unique=True),
    )

    name: Mapped[str] = mapped_column(String(200))
    type: Mapped[str] = mapped_column(String(50))
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    config: Mapped[Json] = mapped_column(default=dict)
    is_active: Mapped[bool] = mapped_column(default=True)
    last_tested_at: Mapped[datetime | None]
    last_test: Mapped[Json] = mapped_column(default=dict)
