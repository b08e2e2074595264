"""Alerts are incidents: seen, firing, over; each told once."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_DUE = "status = 'PENDING'"


def upgrade() -> None:
    _alerts()
    op.create_table(
        "sightings",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("rule", sa.String(length=100), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("error_code", sa.String(length=50), nullable=False),
        sa.Column("step", sa.String(length=200), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=True),
        sa.Column("workflow_id", sa.Uuid(), nullable=True),
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sightings")),
    )
    op.create_table(
        "silences",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule", sa.String(length=100), nullable=True),
        sa.Column("fingerprint", sa.String(length=200), nullable=True),
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.Column("until", _TIME, nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_silences")),
    )
    op.create_index("ix_silences_created_at_id", "silences", ["created_at", "id"], unique=False)
    op.create_index("ix_silences_until", "silences", ["until"], unique=False)
    op.add_column("deliveries", sa.Column("alert_id", sa.Uuid(), nullable=True))
    op.drop_index("ix_deliveries_due_at", table_name="deliveries")
    _index("ix_deliveries_due_at", "deliveries", ["due_at"], f"{_DUE} AND alert_id IS NULL")
    _index("ix_deliveries_alerts_due_at", "deliveries", ["due_at"], f"{_DUE} AND alert_id IS NOT NULL")
    op.create_index(
        "ix_dead_letters_workflow_id_created_at", "dead_letters", ["workflow_id", "created_at"], unique=False
    )
    slow = "status = 'COMPLETED' AND completed_at - started_at >= interval '1 second'"
    _index("ix_workflow_executions_slow", "workflow_executions", ["completed_at"], slow)


def _alerts() -> None:
    op.add_column("alerts", sa.Column("fingerprint", sa.String(length=200), server_default="", nullable=False))
    op.add_column("alerts", sa.Column("state", sa.String(length=10), server_default="FIRING", nullable=False))
    op.add_column("alerts", sa.Column("count", sa.Integer(), server_default="1", nullable=False))
    op.add_column("alerts", sa.Column("workflow_id", sa.Uuid(), nullable=True))
    op.add_column("alerts", sa.Column("fired_at", _TIME, nullable=True))
    op.add_column("alerts", sa.Column("last_seen_at", _TIME, nullable=True))
    op.add_column("alerts", sa.Column("notified_count", sa.Integer(), server_default="0", nullable=False))
    op.add_column("alerts", sa.Column("over_notified_at", _TIME, nullable=True))
    op.add_column(
        "alerts",
        sa.Column(
            "recipients", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False
        ),
    )
    # until now each was a moment that nothing ended, so none of them is still on
    op.execute("""
        UPDATE alerts SET state = 'RESOLVED', fired_at = created_at, last_seen_at = created_at,
            resolved_at = coalesce(resolved_at, created_at), over_notified_at = coalesce(notified_at, created_at)
    """)
    op.alter_column("alerts", "last_seen_at", nullable=False)
    op.drop_index("ix_alerts_rule_notified_at", table_name="alerts")
    op.drop_index("ix_alerts_untold", table_name="alerts")
    op.create_index(
        "uq_alerts_open",
        "alerts",
        ["rule", "fingerprint"],
        unique=True,
        postgresql_where=sa.text("state IN ('PENDING', 'FIRING')"),
    )
    _index("ix_alerts_told", "alerts", ["rule", "fingerprint", "notified_at"], "notified_at IS NOT NULL")
    over = "state = 'RESOLVED' AND notified_at IS NOT NULL AND over_notified_at IS NULL"
    _index("ix_alerts_over_untold", "alerts", ["resolved_at"], over)


def _index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, unique=False, postgresql_where=sa.text(where))


def downgrade() -> None:
    op.drop_index("ix_workflow_executions_slow", table_name="workflow_executions")
    op.drop_index("ix_dead_letters_workflow_id_created_at", table_name="dead_letters")
    op.execute("DELETE FROM deliveries WHERE alert_id IS NOT NULL")
    op.drop_column("deliveries", "alert_id")  # and with it the indexes that name it
    _index("ix_deliveries_due_at", "deliveries", ["due_at"], _DUE)
    op.drop_table("silences")
    op.drop_table("sightings")
    for index in ("ix_alerts_over_untold", "ix_alerts_told", "uq_alerts_open"):
        op.drop_index(index, table_name="alerts")
    for column in (
        "recipients", "over_notified_at", "notified_count", "last_seen_at", "fired_at", "workflow_id", "count", "state",
        "fingerprint",
    ):  # fmt: skip
        op.drop_column("alerts", column)
    _index("ix_alerts_untold", "alerts", ["created_at"], "notified_at IS NULL AND severity = 'CRITICAL'")
    op.create_index("ix_alerts_rule_notified_at", "alerts", ["rule", "notified_at"], unique=False)
