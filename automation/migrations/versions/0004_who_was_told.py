"""When administrators were told of an alert; whom the outbox owes something."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("alerts", sa.Column("notified_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_alerts_rule_notified_at", "alerts", ["rule", "notified_at"], unique=False)
    op.create_index(
        "ix_alerts_untold",
        "alerts",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("notified_at IS NULL AND severity = 'CRITICAL'"),
    )
    op.alter_column("outbox", "neighbour", existing_type=sa.String(length=20), type_=sa.String(length=40))
    op.drop_index("ix_outbox_due_at", table_name="outbox", postgresql_where=sa.text("status = 'OWED'"))
    op.create_index(
        "ix_outbox_owed",
        "outbox",
        ["neighbour", "created_at"],
        unique=False,
        postgresql_where=sa.text("status = 'OWED'"),
    )


def downgrade() -> None:
    op.drop_index("ix_outbox_owed", table_name="outbox", postgresql_where=sa.text("status = 'OWED'"))
    op.create_index("ix_outbox_due_at", "outbox", ["due_at"], unique=False, postgresql_where=sa.text("status = 'OWED'"))
    op.alter_column("outbox", "neighbour", existing_type=sa.String(length=40), type_=sa.String(length=20))
    op.drop_index(
        "ix_alerts_untold",
        table_name="alerts",
        postgresql_where=sa.text("notified_at IS NULL AND severity = 'CRITICAL'"),
    )
    op.drop_index("ix_alerts_rule_notified_at", table_name="alerts")
    op.drop_column("alerts", "notified_at")
