"""Projects, as Studio tells us of them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from automation.models.base import Base, Json, WithId, WithTimes, utc_now


class Project(WithTimes, Base):
    """A project of Studio's; its id is Studio's own."""

    __tablename__ = "projects"
    __table_args__ = (Index("ix_projects_created_at_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), default="")
    named_at: Mapped[datetime | None]
    """When the newest event that named the project or its owner happened; an older one changes nothing."""
    owner_id: Mapped[str] = mapped_column(String(128), default="")
    owner_email: Mapped[str] = mapped_column(String(320), default="")


class ProjectDeletion(WithId, Base):
    """That a project was, or is being, deleted with all that is its own; who wanted it is in the audit."""

    __tablename__ = "project_deletions"
    __table_args__ = (
        # a project is deleted once at a time; it may come again, and be deleted again
        Index("uq_project_deletions_open", "project_id", unique=True, postgresql_where=text("completed_at IS NULL")),
    )

    project_id: Mapped[str] = mapped_column(String(128))
    requested_at: Mapped[datetime] = mapped_column(default=utc_now)
    key_id: Mapped[UUID | None]
    requested_by: Mapped[str] = mapped_column(String(200))
    completed_at: Mapped[datetime | None]
    last_error: Mapped[str] = mapped_column(default="")
    """Why it has not come further; empty while it goes on."""
    deleted: Mapped[Json] = mapped_column(default=dict)
    """Rows that are gone, by table."""
