"""What is measured: endings on their way into the figures, the figures themselves, and what processes use.

The trigger `executions_ended` writes `endings` in the transaction that ends an execution (migration 0008), so that each
ending is there once, from its commit on, however late that comes and whatever becomes of the execution afterwards.
`automation.monitoring.fold` takes them away again.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from automation.models.base import Base


class Ending(Base):
    """An execution ended (`status` is final), or a try of it failed and is repeated (RETRYING); not counted yet."""

    __tablename__ = "endings"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    execution_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(String(50))
    status: Mapped[str] = mapped_column(String(20))
    attempt: Mapped[int]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime]
    cancel_requested_at: Mapped[datetime | None]
    error_code: Mapped[str] = mapped_column(String(50))
    error_message: Mapped[str]
    step: Mapped[str] = mapped_column(String(100))
    """Of a try only; the dead letter of a failed execution has its own."""
    after_attempt: Mapped[int]
    """The last attempt that an earlier ending closed, -1 if there is none: what was done since belongs to this one."""
    asked_at: Mapped[datetime | None]
    """When somebody had it tried again."""


class Timing(Base):
    """How often something happened in a stretch of time, and how long it took: one bucket of a histogram.

    `resolution` is `minute`, `hour`, `day` or `ever`; `at` is when the stretch began (1970 for `ever`). `bucket` is the
    index of the bound that the durations do not exceed (`automation.monitoring.histogram`), or -1 of what has none.

        measure   of                            kind      name          status
        run       an execution, begin to end    its kind                final status
        done      event to done                 its kind
        stop      cancel to stopped             its kind
        step      a step                        its kind  step type     COMPLETED or FAILED
        retry     a try that is repeated        its kind  error code
        failure   an execution that failed      its kind  error code
    """

    __tablename__ = "timings"

    resolution: Mapped[str] = mapped_column(String(10), primary_key=True)
    measure: Mapped[str] = mapped_column(String(10), primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(50), primary_key=True)
    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    status: Mapped[str] = mapped_column(String(20), primary_key=True)
    bucket: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    total_ms: Mapped[float]


class ErrorGroup(Base):
    """Failures with one cause: class, step, and message but for its variable parts."""

    __tablename__ = "error_groups"
    __table_args__ = (Index("ix_error_groups_last_seen", "last_seen"),)

    fingerprint: Mapped[str] = mapped_column(String(16), primary_key=True)
    error_code: Mapped[str] = mapped_column(String(50))
    step: Mapped[str] = mapped_column(String(100))
    message: Mapped[str]
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]
    execution_id: Mapped[UUID]
    """The latest of them."""


class ErrorCount(Base):
    """How many failures of a group there were in a minute, an hour or a day, as in `Timing`."""

    __tablename__ = "error_counts"

    resolution: Mapped[str] = mapped_column(String(10), primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(16), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)


class ResourceSample(Base):
    """What a process, its machine (`role` is `host`) or the database used lately; what does not apply is None.

    `cpu` is a share of one core, of a host a share of all of them; shares are 0 to 1.
    """

    __tablename__ = "resource_samples"
    __table_args__ = (Index("ix_resource_samples_at", "at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime]
    role: Mapped[str] = mapped_column(String(10))
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int | None]
    parent_pid: Mapped[int | None]
    cpu: Mapped[float | None]
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    memory_share: Mapped[float | None]
    disk_share: Mapped[float | None]
    connections: Mapped[int | None]
    connections_share: Mapped[float | None]
