"""Projects, as Studio tells us of them."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from automation.models.base import Base, WithTimes


class Project(WithTimes, Base):
    """A project of Studio's; its id is Studio's own."""

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), default="")
    named_at: Mapped[datetime | None]
    """When the newest event that named the project or its owner happened; an older one changes nothing."""
    owner_id: Mapped[str] = mapped_column(String(128), default="")
    owner_email: Mapped[str] = mapped_column(String(320), default="")
