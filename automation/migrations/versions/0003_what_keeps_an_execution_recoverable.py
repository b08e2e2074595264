"""What keeps an execution recoverable."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deliveries",
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("type", sa.String(length=50), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=True),
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_created_at_id", "deliveries", ["created_at", "id"], unique=False)
    op.create_index(
        "ix_deliveries_due_at", "deliveries", ["due_at"], unique=False, postgresql_where=sa.text("status = 'PENDING'")
    )
    op.create_index("ix_deliveries_execution_id", "deliveries", ["execution_id"], unique=False)
    op.create_index("uq_deliveries_key", "deliveries", ["key"], unique=True)
    op.create_table(
        "outbox",
        sa.Column("idempotency_key", sa.String(length=250), nullable=False),
        sa.Column("neighbour", sa.String(length=20), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=True),
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.Column("step", sa.String(length=100), nullable=False),
        sa.Column("request", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index("ix_outbox_due_at", "outbox", ["due_at"], unique=False, postgresql_where=sa.text("status = 'OWED'"))
    op.create_index("ix_outbox_execution_id", "outbox", ["execution_id"], unique=False)
    op.create_index("uq_outbox_idempotency_key", "outbox", ["idempotency_key"], unique=True)
    op.create_table(
        "workflow_versions",
        sa.Column("workflow_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("definition", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["workflow_id"],
            ["workflows.id"],
            name=op.f("fk_workflow_versions_workflow_id_workflows"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workflow_id", "version", name=op.f("pk_workflow_versions")),
    )
    op.create_table(
        "dead_letters",
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("workflow_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.Column("kind", sa.String(length=50), nullable=False),
        sa.Column("failed_step", sa.String(length=100), nullable=False),
        sa.Column("error_code", sa.String(length=50), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("redriven_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("redriven_by", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["workflow_executions.id"],
            name=op.f("fk_dead_letters_execution_id_workflow_executions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("execution_id", name=op.f("pk_dead_letters")),
    )
    op.create_index("ix_dead_letters_created_at", "dead_letters", ["created_at", "execution_id"], unique=False)
    op.create_index(
        "ix_dead_letters_open",
        "dead_letters",
        ["project_id", "created_at"],
        unique=False,
        postgresql_where=sa.text("redriven_at IS NULL"),
    )
    op.create_table(
        "execution_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("failed_step", sa.String(length=100), nullable=False),
        sa.Column("error_code", sa.String(length=50), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("from_step", sa.String(length=100), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["workflow_executions.id"],
            name=op.f("fk_execution_attempts_execution_id_workflow_executions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_execution_attempts")),
    )
    op.create_index("ix_execution_attempts_execution_id", "execution_attempts", ["execution_id"], unique=False)
    op.create_table(
        "execution_waits",
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.Column("identifier", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("on_timeout", sa.String(length=10), nullable=False),
        sa.Column("event_type", sa.String(length=100), nullable=False),
        sa.Column("conditions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("child_id", sa.Uuid(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_by", sa.String(length=200), nullable=False),
        sa.Column("is_verified", sa.Boolean(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["workflow_executions.id"],
            name=op.f("fk_execution_waits_execution_id_workflow_executions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_execution_waits")),
        sa.UniqueConstraint("execution_id", "identifier", name=op.f("uq_execution_waits_execution_id_identifier")),
    )
    op.create_index(
        "ix_execution_waits_child_id",
        "execution_waits",
        ["child_id"],
        unique=False,
        postgresql_where=sa.text("status = 'WAITING'"),
    )
    op.create_index(
        "ix_execution_waits_due_at",
        "execution_waits",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'WAITING'"),
    )
    op.create_index(
        "ix_execution_waits_event",
        "execution_waits",
        ["project_id", "event_type"],
        unique=False,
        postgresql_where=sa.text("status = 'WAITING' AND kind = 'event'"),
    )
    op.create_table(
        "step_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("identifier", sa.String(length=200), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("duration_ms", sa.Float(), nullable=True),
        sa.Column("error_code", sa.String(length=50), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("task_run_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["workflow_executions.id"],
            name=op.f("fk_step_attempts_execution_id_workflow_executions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_step_attempts")),
    )
    op.create_index("ix_step_attempts_execution_id", "step_attempts", ["execution_id"], unique=False)
    op.add_column("step_executions", sa.Column("progress", sa.Float(), nullable=True))
    op.add_column("step_executions", sa.Column("progress_message", sa.Text(), server_default="", nullable=False))
    op.alter_column(
        "step_executions",
        "identifier",
        existing_type=sa.VARCHAR(length=100),
        type_=sa.String(length=200),
        existing_nullable=False,
    )
    op.add_column("workflow_executions", sa.Column("workflow_version", sa.Integer(), nullable=True))
    op.add_column("workflow_executions", sa.Column("retries", sa.Integer(), server_default="0", nullable=False))
    op.add_column(
        "workflow_executions", sa.Column("failed_step", sa.String(length=100), server_default="", nullable=False)
    )
    op.add_column("flow_runs", sa.Column("lost_code", sa.String(length=50), server_default="", nullable=False))
    op.add_column("workflow_executions", sa.Column("generation", sa.Integer(), server_default="0", nullable=False))
    op.add_column("workflow_executions", sa.Column("ran_seconds", sa.Float(), server_default="0", nullable=False))
    op.add_column("workflow_executions", sa.Column("ending", sa.String(length=20), server_default="", nullable=False))
    op.add_column(
        "workflow_executions", sa.Column("degraded", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("workflow_executions", sa.Column("parent_id", sa.Uuid(), nullable=True))
    op.add_column(
        "workflow_executions", sa.Column("parent_step", sa.String(length=100), server_default="", nullable=False)
    )
    op.add_column("workflow_executions", sa.Column("depth", sa.Integer(), server_default="0", nullable=False))
    op.create_index(
        "ix_workflow_executions_parent_id",
        "workflow_executions",
        ["parent_id"],
        unique=False,
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(
        "ix_workflow_executions_parent_id",
        table_name="workflow_executions",
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.drop_column("workflow_executions", "depth")
    op.drop_column("workflow_executions", "parent_step")
    op.drop_column("workflow_executions", "parent_id")
    op.drop_column("workflow_executions", "degraded")
    op.drop_column("workflow_executions", "ending")
    op.drop_column("workflow_executions", "ran_seconds")
    op.drop_column("workflow_executions", "generation")
    op.drop_column("flow_runs", "lost_code")
    op.drop_column("workflow_executions", "failed_step")
    op.drop_column("workflow_executions", "retries")
    op.drop_column("workflow_executions", "workflow_version")
    op.alter_column(
        "step_executions",
        "identifier",
        existing_type=sa.String(length=200),
        type_=sa.VARCHAR(length=100),
        existing_nullable=False,
    )
    op.drop_column("step_executions", "progress_message")
    op.drop_column("step_executions", "progress")
    op.drop_index("ix_step_attempts_execution_id", table_name="step_attempts")
    op.drop_table("step_attempts")
    op.drop_index(
        "ix_execution_waits_event",
        table_name="execution_waits",
        postgresql_where=sa.text("status = 'WAITING' AND kind = 'event'"),
    )
    op.drop_index(
        "ix_execution_waits_due_at", table_name="execution_waits", postgresql_where=sa.text("status = 'WAITING'")
    )
    op.drop_index(
        "ix_execution_waits_child_id", table_name="execution_waits", postgresql_where=sa.text("status = 'WAITING'")
    )
    op.drop_table("execution_waits")
    op.drop_index("ix_execution_attempts_execution_id", table_name="execution_attempts")
    op.drop_table("execution_attempts")
    op.drop_index("ix_dead_letters_open", table_name="dead_letters", postgresql_where=sa.text("redriven_at IS NULL"))
    op.drop_index("ix_dead_letters_created_at", table_name="dead_letters")
    op.drop_table("dead_letters")
    op.drop_table("workflow_versions")
    op.drop_index("uq_outbox_idempotency_key", table_name="outbox")
    op.drop_index("ix_outbox_execution_id", table_name="outbox")
    op.drop_index("ix_outbox_due_at", table_name="outbox", postgresql_where=sa.text("status = 'OWED'"))
    op.drop_table("outbox")
    op.drop_index("uq_deliveries_key", table_name="deliveries")
    op.drop_index("ix_deliveries_execution_id", table_name="deliveries")
    op.drop_index("ix_deliveries_due_at", table_name="deliveries", postgresql_where=sa.text("status = 'PENDING'"))
    op.drop_index("ix_deliveries_created_at_id", table_name="deliveries")
    op.drop_table("deliveries")
