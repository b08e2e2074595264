"""Prefect's flow runs as we asked for them and as the mirror sees them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from automation.models.base import Base, WithId, utc_now


class FlowRun(WithId, Base):
    """A flow run. The dispatcher writes the row before the run exists; `prefect_id` is empty until it does.

    `state` is Prefect's state type (`SCHEDULED`, `PENDING`, `RUNNING`, …), or `NEW` before Prefect has it.
    `lease_until` is set by the process that runs it; a run whose lease ran out is lost.
    """

    __tablename__ = "flow_runs"
    __table_args__ = (
        Index("uq_flow_runs_prefect_id", "prefect_id", unique=True),
        Index("uq_flow_runs_idempotency_key", "idempotency_key", unique=True),
        # what mirror, reaper and dispatcher look at: the few runs that have not ended
        Index("ix_flow_runs_open", "kind", postgresql_where=text("ended_at IS NULL")),
        # ended runs whose last log lines may still arrive
        Index("ix_flow_runs_logs_open", "ended_at", postgresql_where=text("NOT logs_done")),
        Index("ix_flow_runs_ended_at", "ended_at"),
    )

    prefect_id: Mapped[UUID | None]
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(50))
    mode: Mapped[str] = mapped_column(String(10), default="single")
    name: Mapped[str] = mapped_column(default="")
    accepts: Mapped[bool] = mapped_column(default=True)
    """Whether a batch run still takes new executions; False from just before its last look at the queue."""
    state: Mapped[str] = mapped_column(String(20), default="NEW")
    state_name: Mapped[str] = mapped_column(String(50), default="")
    state_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    claimed_at: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    process: Mapped[str] = mapped_column(String(300), server_default="", default="")
    """`host:pid` of the process that claimed it last; empty before."""
    ended_at: Mapped[datetime | None]
    lost_code: Mapped[str] = mapped_column(String(50), server_default="", default="")
    """Why its worker killed it, as an error code; empty when it was lost otherwise."""
    logs_read_at: Mapped[datetime | None]
    logs_done: Mapped[bool] = mapped_column(default=False)


class MirrorCursor(WithId, Base):
    """How far a reading by windows has come, so that a restart goes on where the last process stopped."""

    __tablename__ = "mirror_cursors"
    __table_args__ = (Index("uq_mirror_cursors_name", "name", unique=True),)

    name: Mapped[str] = mapped_column(String(50))
    position: Mapped[datetime]
