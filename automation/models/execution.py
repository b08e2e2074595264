"""Executions of workflows, their steps and their log lines."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, String, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from automation.models.base import Base, Json, WithId, utc_now


class Status(StrEnum):
    """States of an execution and of a step."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    RETRYING = "RETRYING"
    WAITING = "WAITING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    SKIPPED = "SKIPPED"
    ROLLED_BACK = "ROLLED_BACK"


FINAL = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
OPEN = (Status.PENDING, Status.RUNNING, Status.RETRYING, Status.WAITING)


class Execution(WithId, Base):
    """One run of a workflow over one piece of data.

    `key` names what must not be worked on twice at once (a page, a project): executions of one workflow and
    key never overlap, and while one of them waits a newer event replaces its data instead of queueing up
    behind it. `dispatch_no` rises whenever the execution is handed to a flow run; a process that writes
    under an older number writes nothing. `coalesces` says that a newer event may replace its data while it
    waits; what somebody asked for by name is done as it was asked. `batch` says that a batch run takes it;
    what is retried, redriven or started by hand gets a single run of its own.
    """

    __tablename__ = "workflow_executions"
    __table_args__ = (
        # at most one coalescing execution of a key waits; intake's upsert aims at this index
        Index(
            "uq_workflow_executions_waiting",
            "workflow_id",
            "key",
            unique=True,
            postgresql_where=text("status = 'PENDING' AND flow_run_id IS NULL AND key IS NOT NULL AND coalesces"),
        ),
        # at most one execution of a key runs, whatever the processes believe
        Index(
            "uq_workflow_executions_running",
            "workflow_id",
            "key",
            unique=True,
            postgresql_where=text("status = 'RUNNING' AND key IS NOT NULL"),
        ),
        # the dispatcher's question: what is due and has no flow run
        Index(
            "ix_workflow_executions_due",
            "due_at",
            postgresql_where=text("status IN ('PENDING', 'RETRYING') AND flow_run_id IS NULL"),
        ),
        # the same, project by project: what single runs take, and what batch runs take
        Index(
            "ix_workflow_executions_single_turns",
            text("coalesce(project_id, '')"),
            "due_at",
            postgresql_where=text("status IN ('PENDING', 'RETRYING') AND flow_run_id IS NULL AND NOT batch"),
        ),
        Index(
            "ix_workflow_executions_batch_turns",
            "kind",
            text("coalesce(project_id, '')"),
            "due_at",
            postgresql_where=text("status = 'PENDING' AND flow_run_id IS NULL AND batch"),
        ),
        # everything unfinished; small however long the history is
        Index(
            "ix_workflow_executions_open",
            "project_id",
            "kind",
            postgresql_where=text("status IN ('PENDING', 'RUNNING', 'RETRYING', 'WAITING')"),
        ),
        Index("ix_workflow_executions_created_at_id", "created_at", "id"),
        Index("ix_workflow_executions_project_id_created_at", "project_id", "created_at"),
        Index("ix_workflow_executions_workflow_id_key_created_at", "workflow_id", "key", "created_at"),
        Index("ix_workflow_executions_flow_run_id", "flow_run_id"),
        Index("ix_workflow_executions_parent_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        # a workflow's last runs, from which the end of one under way is estimated
        Index(
            "ix_workflow_executions_completed",
            "workflow_id",
            "completed_at",
            postgresql_where=text("status = 'COMPLETED'"),
        ),
        # what ended badly: a small part of a long history that people look for, and have tried again
        Index(
            "ix_workflow_executions_unsuccessful",
            "status",
            "created_at",
            "id",
            postgresql_where=text("status IN ('FAILED', 'CANCELLED')"),
        ),
        # of the kinds that are rare, which most are beside auto-save
        Index(
            "ix_workflow_executions_kind",
            "kind",
            "created_at",
            "id",
            postgresql_where=text("kind <> 'auto-save'"),
        ),
        # what took long: a small part, since a process does few of them
        Index(
            "ix_workflow_executions_slow",
            "completed_at",
            postgresql_where=text("status = 'COMPLETED' AND completed_at - started_at >= interval '1 second'"),
        ),
        Index("ix_workflow_executions_degraded", "created_at", "id", postgresql_where=text("degraded")),
    )

    workflow_id: Mapped[UUID] = mapped_column(ForeignKey("workflows.id", ondelete="CASCADE"))
    project_id: Mapped[str | None] = mapped_column(String(128))
    kind: Mapped[str] = mapped_column(String(50))
    key: Mapped[str | None] = mapped_column(String(300))
    coalesces: Mapped[bool] = mapped_column(default=True)
    batch: Mapped[bool] = mapped_column(default=False)
    status: Mapped[str] = mapped_column(String(20), default=Status.PENDING)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    due_at: Mapped[datetime] = mapped_column(default=utc_now)
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    trigger_type: Mapped[str] = mapped_column(String(50))
    event_type: Mapped[str] = mapped_column(String(100), default="")
    trigger_id: Mapped[UUID | None]
    """The trigger that fired; none when it was asked for by name. It may be gone since."""
    event_id: Mapped[str | None] = mapped_column(String(200))
    """The (last) event that it fired on, as long as the inbox keeps it."""
    trigger_data: Mapped[Json] = mapped_column(default=dict)
    # which of two payloads of a key is newer: the version if both have one, else the time
    version: Mapped[int | None] = mapped_column(BigInteger)
    occurred_at: Mapped[datetime] = mapped_column(default=utc_now)
    event_count: Mapped[int] = mapped_column(default=1)
    result: Mapped[Json] = mapped_column(default=dict)
    error_message: Mapped[str] = mapped_column(default="")
    error_code: Mapped[str] = mapped_column(String(50), default="")
    attempt: Mapped[int] = mapped_column(default=0)
    lost_count: Mapped[int] = mapped_column(default=0)
    dispatch_no: Mapped[int] = mapped_column(default=0)
    flow_run_id: Mapped[UUID | None] = mapped_column(ForeignKey("flow_runs.id", ondelete="SET NULL"))
    cancel_requested_at: Mapped[datetime | None]
    workflow_version: Mapped[int | None]
    """The version of its workflow that it runs on, from its first claim to its end."""
    retries: Mapped[int] = mapped_column(server_default="0", default=0)
    """Retries that the policy has granted for `failed_step`, the step that fails now."""
    failed_step: Mapped[str] = mapped_column(String(100), server_default="", default="")
    generation: Mapped[int] = mapped_column(server_default="0", default=0)
    """How often somebody had completed steps run anew; their effects are new ones then."""
    ran_seconds: Mapped[float] = mapped_column(server_default="0", default=0.0)
    """Running time of the stretches that have ended; waits and backoff do not count."""
    ending: Mapped[str] = mapped_column(String(20), server_default="", default="")
    """FAILED or CANCELLED while that is decided (the error says why), and what its steps did is still to be undone."""
    degraded: Mapped[bool] = mapped_column(server_default=false(), default=False)
    """Whether a step that is not required failed, or is owed to a neighbour."""
    parent_id: Mapped[UUID | None]
    """The execution whose step `parent_step` started this one."""
    parent_step: Mapped[str] = mapped_column(String(100), server_default="", default="")
    depth: Mapped[int] = mapped_column(server_default="0", default=0)
    only_step: Mapped[str] = mapped_column(String(100), server_default="", default="")
    """The identifier of the one step that it runs of its workflow; empty: all of them."""
    request_id: Mapped[str] = mapped_column(String(128), server_default="", default="")
    traceparent: Mapped[str] = mapped_column(String(55), server_default="", default="")
    """The request that it goes back to, and the trace that it belongs to (W3C), as of its (last) event."""


class StepExecution(Base):
    """What one step did in one execution: one row, rewritten when a retry runs the step again."""

    __tablename__ = "step_executions"
    __table_args__ = (
        UniqueConstraint("execution_id", "identifier"),
        Index("ix_step_executions_task_run_id", "task_run_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    execution_id: Mapped[UUID] = mapped_column(ForeignKey("workflow_executions.id", ondelete="CASCADE"))
    step_id: Mapped[UUID | None] = mapped_column(ForeignKey("workflow_steps.id", ondelete="SET NULL"))
    project_id: Mapped[str | None] = mapped_column(String(128))
    identifier: Mapped[str] = mapped_column(String(200))
    step_type: Mapped[str] = mapped_column(String(50))
    order: Mapped[int]
    status: Mapped[str] = mapped_column(String(20))
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    duration_ms: Mapped[float | None]
    result: Mapped[Json] = mapped_column(default=dict)
    error_message: Mapped[str] = mapped_column(default="")
    error_code: Mapped[str] = mapped_column(String(50), default="")
    attempt: Mapped[int] = mapped_column(default=1)
    progress: Mapped[float | None]
    progress_message: Mapped[str] = mapped_column(server_default="", default="")
    task_run_id: Mapped[UUID | None]


class ExecutionLog(Base):
    """A line of an execution's log: the engine's own, or one of Prefect's that the mirror copied.

    `execution_id` is empty only for the lines of a batch run that concern no single item.
    """

    __tablename__ = "workflow_execution_logs"
    __table_args__ = (
        UniqueConstraint("prefect_log_id"),
        Index("ix_workflow_execution_logs_execution_id_timestamp", "execution_id", "timestamp"),
        Index("ix_workflow_execution_logs_flow_run_id", "flow_run_id"),
        # the newest lines of a project, and the few that are grave
        Index("ix_workflow_execution_logs_project_id_id", "project_id", "id"),
        Index(
            "ix_workflow_execution_logs_grave", "id", postgresql_where=text("level IN ('WARNING', 'ERROR', 'CRITICAL')")
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    execution_id: Mapped[UUID | None] = mapped_column(ForeignKey("workflow_executions.id", ondelete="CASCADE"))
    flow_run_id: Mapped[UUID | None] = mapped_column(ForeignKey("flow_runs.id", ondelete="CASCADE"))
    project_id: Mapped[str | None] = mapped_column(String(128))
    step_id: Mapped[UUID | None] = mapped_column(ForeignKey("workflow_steps.id", ondelete="SET NULL"))
    step_identifier: Mapped[str] = mapped_column(String(100), default="")
    timestamp: Mapped[datetime] = mapped_column(default=utc_now)
    level: Mapped[str] = mapped_column(String(10))
    message: Mapped[str]
    duration_ms: Mapped[float | None]
    details: Mapped[Json] = mapped_column(default=dict)
    prefect_log_id: Mapped[UUID | None]
