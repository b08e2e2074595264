"""Who may do what: API keys, and the record of what was done with them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=48), nullable=False),
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("prefix", sa.String(length=12), nullable=False),
        sa.Column("scopes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("created_by", sa.String(length=48), nullable=False),
        sa.Column("expires_at", _TIME, nullable=True),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.Column("last_used_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_index("uq_api_keys_key_hash", "api_keys", ["key_hash"], unique=True)
    op.create_index(
        "uq_api_keys_name", "api_keys", ["name"], unique=True, postgresql_where=sa.text("revoked_at IS NULL")
    )
    op.create_index("ix_api_keys_created_at_id", "api_keys", ["created_at", "id"], unique=False)
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=50), nullable=False),
        sa.Column("object_type", sa.String(length=50), nullable=False),
        sa.Column("object_id", sa.String(length=200), nullable=False),
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.Column("before", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_at_id", "audit", ["at", "id"], unique=False)
    op.create_index("ix_audit_object", "audit", ["object_type", "object_id", "at", "id"], unique=False)
    op.create_index("ix_audit_project_id_at_id", "audit", ["project_id", "at", "id"], unique=False)
    op.create_index("ix_audit_actor_at_id", "audit", ["actor", "at", "id"], unique=False)
    # which process runs what, for people who look
    op.add_column("flow_runs", sa.Column("process", sa.String(length=300), server_default="", nullable=False))
    _keys_of_requests()
    _what_the_api_shows()
    _integrations_by_name()
    _what_is_filtered()


def _keys_of_requests() -> None:
    op.create_table(
        "idempotency_keys",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)


def _what_the_api_shows() -> None:
    op.create_table(
        "project_deletions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(length=128), nullable=False),
        sa.Column("requested_at", _TIME, nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("requested_by", sa.String(length=200), nullable=False),
        sa.Column("completed_at", _TIME, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("deleted", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_deletions")),
    )
    op.create_index(
        "uq_project_deletions_open",
        "project_deletions",
        ["project_id"],
        unique=True,
        postgresql_where=sa.text("completed_at IS NULL"),
    )
    op.add_column("alerts", sa.Column("acknowledged_at", _TIME, nullable=True))
    op.add_column("alerts", sa.Column("acknowledged_by", sa.String(length=200), server_default="", nullable=False))
    op.add_column("alerts", sa.Column("comment", sa.Text(), server_default="", nullable=False))
    op.add_column(
        "workflow_executions", sa.Column("only_step", sa.String(length=100), server_default="", nullable=False)
    )
    for table in ("alerts", "projects", "workflows"):
        op.create_index(f"ix_{table}_created_at_id", table, ["created_at", "id"], unique=False)


def _integrations_by_name() -> None:
    op.create_index("ix_integrations_created_at_id", "integrations", ["created_at", "id"], unique=False)
    op.create_index(
        "uq_integrations_name", "integrations", [sa.literal_column("coalesce(project_id, '')"), "name"], unique=True
    )


def _what_is_filtered() -> None:
    op.create_index("ix_deliveries_project_id_created_at", "deliveries", ["project_id", "created_at"], unique=False)
    op.create_index("ix_triggers_project_id_created_at", "triggers", ["project_id", "created_at"], unique=False)
    op.create_index("ix_events_type_received_at", "events", ["type", "received_at"], unique=False)
    op.create_index(
        "ix_alerts_open",
        "alerts",
        ["created_at", "id"],
        unique=False,
        postgresql_where=sa.text("resolved_at IS NULL AND acknowledged_at IS NULL"),
    )
    op.create_index(
        "ix_workflow_executions_kind",
        "workflow_executions",
        ["kind", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("kind <> 'auto-save'"),
    )


def downgrade() -> None:
    op.drop_index("ix_workflow_executions_kind", table_name="workflow_executions")
    op.drop_index("ix_alerts_open", table_name="alerts")
    op.drop_index("ix_events_type_received_at", table_name="events")
    op.drop_index("ix_triggers_project_id_created_at", table_name="triggers")
    op.drop_index("ix_deliveries_project_id_created_at", table_name="deliveries")
    op.drop_index("uq_integrations_name", table_name="integrations")
    op.drop_index("ix_integrations_created_at_id", table_name="integrations")
    for table in ("alerts", "projects", "workflows"):
        op.drop_index(f"ix_{table}_created_at_id", table_name=table)
    op.drop_column("workflow_executions", "only_step")
    for column in ("comment", "acknowledged_by", "acknowledged_at"):
        op.drop_column("alerts", column)
    op.drop_table("project_deletions")
    op.drop_table("idempotency_keys")
    op.drop_column("flow_runs", "process")
    op.drop_table("audit")
    op.drop_table("api_keys")
