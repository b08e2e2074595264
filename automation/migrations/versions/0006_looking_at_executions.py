"""Looking at executions: when one will be done, and what ended badly."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TABLE = "workflow_executions"


def upgrade() -> None:
    op.create_index(
        "ix_workflow_executions_completed",
        _TABLE,
        ["workflow_id", "completed_at"],
        postgresql_where=sa.text("status = 'COMPLETED'"),
    )
    op.create_index(
        "ix_workflow_executions_unsuccessful",
        _TABLE,
        ["status", "created_at", "id"],
        postgresql_where=sa.text("status IN ('FAILED', 'CANCELLED')"),
    )
    op.create_index(
        "ix_workflow_executions_degraded", _TABLE, ["created_at", "id"], postgresql_where=sa.text("degraded")
    )


def downgrade() -> None:
    for name in ("degraded", "unsuccessful", "completed"):
        op.drop_index(f"ix_workflow_executions_{name}", table_name=_TABLE)
