"""Triggers that wait and remember, and events that tell what became of them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workflow_deployments",
        sa.Column("workflow_id", sa.Uuid(), nullable=False),
        sa.Column("deployment_id", sa.Uuid(), nullable=False),
        sa.Column("applied", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["workflow_id"],
            ["workflows.id"],
            name=op.f("fk_workflow_deployments_workflow_id_workflows"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("workflow_id", name=op.f("pk_workflow_deployments")),
    )
    op.create_table(
        "timers",
        sa.Column("trigger_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(length=128), nullable=False),
        sa.Column("purpose", sa.String(length=10), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("latest_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("event_id", sa.String(length=200), nullable=False),
        sa.Column("event_type", sa.String(length=100), nullable=False),
        sa.Column("event_data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=True),
        sa.Column("next_id", sa.Uuid(), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trigger_id"], ["triggers.id"], name=op.f("fk_timers_trigger_id_triggers"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_timers")),
    )
    op.create_index("ix_timers_due", "timers", ["due_at"], unique=False, postgresql_where=sa.text("status = 'WAITING'"))
    op.create_index(
        "ix_timers_ended_at", "timers", ["ended_at"], unique=False, postgresql_where=sa.text("status <> 'WAITING'")
    )
    op.create_index(
        "ix_timers_trigger_id_key",
        "timers",
        ["trigger_id", "key"],
        unique=False,
        postgresql_where=sa.text("status = 'WAITING'"),
    )
    op.create_index(
        "uq_timers_waiting",
        "timers",
        ["trigger_id", "purpose", "key"],
        unique=True,
        postgresql_where=sa.text("status = 'WAITING' AND purpose <> 'delay'"),
    )
    op.create_table(
        "trigger_dedupe_keys",
        sa.Column("trigger_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("event_id", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["trigger_id"], ["triggers.id"], name=op.f("fk_trigger_dedupe_keys_trigger_id_triggers"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trigger_id", "key", name=op.f("pk_trigger_dedupe_keys")),
    )
    op.create_index("ix_trigger_dedupe_keys_created_at", "trigger_dedupe_keys", ["created_at"], unique=False)
    op.create_table(
        "trigger_states",
        sa.Column("trigger_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("fired", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("seen", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["trigger_id"], ["triggers.id"], name=op.f("fk_trigger_states_trigger_id_triggers"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trigger_id", "key", name=op.f("pk_trigger_states")),
    )
    op.create_index("ix_trigger_states_updated_at", "trigger_states", ["updated_at"], unique=False)
    op.create_table(
        "webhook_secrets",
        sa.Column("trigger_id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trigger_id"], ["triggers.id"], name=op.f("fk_webhook_secrets_trigger_id_triggers"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_secrets")),
    )
    op.create_index("ix_webhook_secrets_trigger_id", "webhook_secrets", ["trigger_id"], unique=False)
    op.add_column(
        "events", sa.Column("decisions", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False)
    )
    op.add_column("triggers", sa.Column("last_slot", sa.DateTime(timezone=True), nullable=True))
    for name in ("created_at", "updated_at"):
        op.add_column(
            "triggers", sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())
        )
        op.alter_column("triggers", name, server_default=None)
    op.drop_index(op.f("ix_triggers_project_id_trigger_type"), table_name="triggers")
    op.create_index(
        "ix_triggers_cancelling",
        "triggers",
        [sa.literal_column("coalesce(project_id, '')"), sa.literal_column("(config ->> 'cancel_on')")],
        unique=False,
        postgresql_where=sa.text("trigger_type = 'DELAYED'"),
    )
    op.create_index("ix_triggers_created_at_id", "triggers", ["created_at", "id"], unique=False)
    op.create_index(
        "ix_triggers_matching",
        "triggers",
        [sa.literal_column("coalesce(project_id, '')"), "trigger_type", "event_type"],
        unique=False,
    )
    op.create_index(
        "ix_triggers_watched",
        "triggers",
        ["trigger_type"],
        unique=False,
        postgresql_where=sa.text("trigger_type IN ('SCHEDULED', 'FILE_CHANGE')"),
    )
    op.add_column("workflow_executions", sa.Column("trigger_id", sa.Uuid(), nullable=True))
    op.add_column("workflow_executions", sa.Column("event_id", sa.String(length=200), nullable=True))
    op.add_column("workflows", sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("workflows", "archived_at")
    op.drop_column("workflow_executions", "event_id")
    op.drop_column("workflow_executions", "trigger_id")
    op.drop_index(
        "ix_triggers_watched",
        table_name="triggers",
        postgresql_where=sa.text("trigger_type IN ('SCHEDULED', 'FILE_CHANGE')"),
    )
    op.drop_index("ix_triggers_matching", table_name="triggers")
    op.drop_index("ix_triggers_created_at_id", table_name="triggers")
    op.drop_index("ix_triggers_cancelling", table_name="triggers", postgresql_where=sa.text("trigger_type = 'DELAYED'"))
    op.create_index(
        op.f("ix_triggers_project_id_trigger_type"), "triggers", ["project_id", "trigger_type"], unique=False
    )
    op.drop_column("triggers", "updated_at")
    op.drop_column("triggers", "created_at")
    op.drop_column("triggers", "last_slot")
    op.drop_column("events", "decisions")
    op.drop_index("ix_webhook_secrets_trigger_id", table_name="webhook_secrets")
    op.drop_table("webhook_secrets")
    op.drop_index("ix_trigger_states_updated_at", table_name="trigger_states")
    op.drop_table("trigger_states")
    op.drop_index("ix_trigger_dedupe_keys_created_at", table_name="trigger_dedupe_keys")
    op.drop_table("trigger_dedupe_keys")
    op.drop_index(
        "uq_timers_waiting", table_name="timers", postgresql_where=sa.text("status = 'WAITING' AND purpose <> 'delay'")
    )
    op.drop_index("ix_timers_trigger_id_key", table_name="timers", postgresql_where=sa.text("status = 'WAITING'"))
    op.drop_index("ix_timers_ended_at", table_name="timers", postgresql_where=sa.text("status <> 'WAITING'"))
    op.drop_index("ix_timers_due", table_name="timers", postgresql_where=sa.text("status = 'WAITING'"))
    op.drop_table("timers")
    op.drop_table("workflow_deployments")
