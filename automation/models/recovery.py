"""What keeps an execution recoverable: its attempts, what it waits for, what it owes, and what failed for good."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from automation.models.base import Base, Json, WithId, utc_now


class WorkflowVersion(Base):
    """The steps of a workflow as an execution found them; it finishes on them, whatever is changed meanwhile."""

    __tablename__ = "workflow_versions"

    workflow_id: Mapped[UUID] = mapped_column(ForeignKey("workflows.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    definition: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class ExecutionAttempt(Base):
    """A try of an execution that was not its last, or somebody's wish to have it tried again."""

    __tablename__ = "execution_attempts"
    __table_args__ = (Index("ix_execution_attempts_execution_id", "execution_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    execution_id: Mapped[UUID] = mapped_column(ForeignKey("workflow_executions.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    status: Mapped[str] = mapped_column(String(20))
    failed_step: Mapped[str] = mapped_column(String(100), default="")
    error_code: Mapped[str] = mapped_column(String(50), default="")
    error_message: Mapped[str] = mapped_column(default="")
    asked_by: Mapped[str] = mapped_column(String(200), default="")
    """Who wanted it tried again; empty when the retry policy did."""
    reason: Mapped[str] = mapped_column(default="")
    from_step: Mapped[str] = mapped_column(String(100), default="")
    ended_at: Mapped[datetime] = mapped_column(default=utc_now)


class StepAttempt(Base):
    """A try of a step before the one that `step_executions` shows."""

    __tablename__ = "step_attempts"
    __table_args__ = (Index("ix_step_attempts_execution_id", "execution_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    execution_id: Mapped[UUID] = mapped_column(ForeignKey("workflow_executions.id", ondelete="CASCADE"))
    identifier: Mapped[str] = mapped_column(String(200))
    attempt: Mapped[int]
    status: Mapped[str] = mapped_column(String(20))
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    duration_ms: Mapped[float | None]
    error_code: Mapped[str] = mapped_column(String(50), default="")
    error_message: Mapped[str] = mapped_column(default="")
    task_run_id: Mapped[UUID | None]


class Wait(WithId, Base):
    """What a step waits for: a time, an event, somebody's approval, or the end of another execution.

    `status` is WAITING, RESOLVED, TIMED_OUT, REJECTED or CANCELLED. Whoever resolves it writes `result`, the step's.
    """

    __tablename__ = "execution_waits"
    __table_args__ = (
        UniqueConstraint("execution_id", "identifier"),
        Index("ix_execution_waits_due_at", "due_at", postgresql_where=text("status = 'WAITING'")),
        Index(
            "ix_execution_waits_event",
            "project_id",
            "event_type",
            postgresql_where=text("status = 'WAITING' AND kind = 'event'"),
        ),
        Index("ix_execution_waits_child_id", "child_id", postgresql_where=text("status = 'WAITING'")),
    )

    execution_id: Mapped[UUID] = mapped_column(ForeignKey("workflow_executions.id", ondelete="CASCADE"))
    project_id: Mapped[str | None] = mapped_column(String(128))
    identifier: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(10))
    status: Mapped[str] = mapped_column(String(10), default="WAITING")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    due_at: Mapped[datetime | None]
    """When a time has come, or when waiting for anything else is over."""
    on_timeout: Mapped[str] = mapped_column(String(10), default="fail")
    event_type: Mapped[str] = mapped_column(String(100), default="")
    conditions: Mapped[Json] = mapped_column(default=dict)
    child_id: Mapped[UUID | None]
    message: Mapped[str] = mapped_column(default="")
    resolved_at: Mapped[datetime | None]
    resolved_by: Mapped[str] = mapped_column(String(200), default="")
    is_verified: Mapped[bool] = mapped_column(default=False)
    """Whether `resolved_by` is known to be who it says; a name typed in Prefect's UI is not."""
    comment: Mapped[str] = mapped_column(default="")
    result: Mapped[Json] = mapped_column(default=dict)
    error_message: Mapped[str] = mapped_column(default="")


class DeadLetter(Base):
    """An execution that failed for good, until somebody has it tried again."""

    __tablename__ = "dead_letters"
    __table_args__ = (
        Index("ix_dead_letters_created_at", "created_at", "execution_id"),
        Index(
            "ix_dead_letters_open",
            "project_id",
            "created_at",
            postgresql_where=text("redriven_at IS NULL"),
        ),
        # how many of a workflow's executions have failed since one succeeded
        Index("ix_dead_letters_workflow_id_created_at", "workflow_id", "created_at"),
    )

    execution_id: Mapped[UUID] = mapped_column(
        ForeignKey("workflow_executions.id", ondelete="CASCADE"), primary_key=True
    )
    workflow_id: Mapped[UUID]
    project_id: Mapped[str | None] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(50))
    failed_step: Mapped[str] = mapped_column(String(100), default="")
    error_code: Mapped[str] = mapped_column(String(50))
    error_message: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    redriven_at: Mapped[datetime | None]
    redriven_by: Mapped[str] = mapped_column(String(200), default="")


class Owed(WithId, Base):
    """The outbox: an effect at a neighbour that could not be reached, delivered when it is back.

    `status` is OWED, DELIVERED, or REFUSED when the neighbour says that it will never take it. `neighbour` is
    `insights`, or one of the channels by which Foundation tells people.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index("uq_outbox_idempotency_key", "idempotency_key", unique=True),
        Index("ix_outbox_owed", "neighbour", "created_at", postgresql_where=text("status = 'OWED'")),
        Index("ix_outbox_execution_id", "execution_id"),
    )

    idempotency_key: Mapped[str] = mapped_column(String(250))
    neighbour: Mapped[str] = mapped_column(String(40))
    execution_id: Mapped[UUID | None]
    project_id: Mapped[str | None] = mapped_column(String(128))
    step: Mapped[str] = mapped_column(String(100))
    request: Mapped[Json]
    status: Mapped[str] = mapped_column(String(10), default="OWED")
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(default=utc_now)
    last_error: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    delivered_at: Mapped[datetime | None]


class Delivery(WithId, Base):
    """A signed webhook to Studio, or, with an `alert_id`, to whoever is told of alerts. Its id is the webhook's, so
    that one sent again is known as such."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("ix_deliveries_due_at", "due_at", postgresql_where=text("status = 'PENDING' AND alert_id IS NULL")),
        Index(
            "ix_deliveries_alerts_due_at",
            "due_at",
            postgresql_where=text("status = 'PENDING' AND alert_id IS NOT NULL"),
        ),
        Index("ix_deliveries_created_at_id", "created_at", "id"),
        Index("ix_deliveries_execution_id", "execution_id"),
        Index("ix_deliveries_project_id_created_at", "project_id", "created_at"),
        Index("uq_deliveries_key", "key", unique=True),
    )

    key: Mapped[str] = mapped_column(String(200))
    """What is told, once: `execution:<id>:<dispatch number>:<status>`, `project:<id>:ready`, `alert:<id>:<…>`."""
    type: Mapped[str] = mapped_column(String(50))
    alert_id: Mapped[UUID | None]
    execution_id: Mapped[UUID | None]
    project_id: Mapped[str | None] = mapped_column(String(128))
    status: Mapped[str] = mapped_column(String(10), default="PENDING")
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime] = mapped_column(default=utc_now)
    last_status: Mapped[int | None]
    last_error: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    delivered_at: Mapped[datetime | None]
