"""What is measured."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)

# The condition is looked at before any function is called, so that only an end costs something. The table has but its
# primary key. A mark on the execution instead would be a second update of a wide row with a dozen indexes. What went
# before an end is noted with it: afterwards only clocks would tell, which stand apart and are set back.
ENDINGS = """
CREATE FUNCTION automation_execution_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO endings (execution_id, kind, status, attempt, created_at, started_at, ended_at, cancel_requested_at,
        error_code, error_message, step, after_attempt, asked_at)
    SELECT NEW.id, NEW.kind, NEW.status, NEW.attempt, NEW.created_at, NEW.started_at,
        coalesce(NEW.completed_at, now()), NEW.cancel_requested_at, NEW.error_code, left(NEW.error_message, 2000), '',
        coalesce(max(attempt), -1), max(ended_at) FILTER (WHERE asked_by <> '')
    FROM execution_attempts WHERE execution_id = NEW.id AND status <> 'LEFT_BATCH';
    RETURN NULL;
END $$;
CREATE TRIGGER executions_ended AFTER UPDATE OF status ON workflow_executions FOR EACH ROW
    WHEN (NEW.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
        AND OLD.status NOT IN ('COMPLETED', 'FAILED', 'CANCELLED'))
    EXECUTE FUNCTION automation_execution_ended();

CREATE FUNCTION automation_try_ended() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO endings (execution_id, kind, status, attempt, created_at, started_at, ended_at, cancel_requested_at,
        error_code, error_message, step, after_attempt)
    SELECT id, kind, 'RETRYING', NEW.attempt, created_at, started_at, NEW.ended_at, NULL,
        NEW.error_code, left(NEW.error_message, 2000), NEW.failed_step, coalesce((
            SELECT max(a.attempt) FROM execution_attempts AS a
            WHERE a.execution_id = NEW.execution_id AND a.id < NEW.id AND a.status <> 'LEFT_BATCH'), -1)
    FROM workflow_executions WHERE id = NEW.execution_id;
    RETURN NULL;
END $$;
CREATE TRIGGER tries_ended AFTER INSERT ON execution_attempts FOR EACH ROW
    WHEN (NEW.status = 'FAILED' AND NEW.asked_by = '')
    EXECUTE FUNCTION automation_try_ended();
"""

# what ended before this version is counted too, as far back as figures are kept
PAST = """
INSERT INTO endings (execution_id, kind, status, attempt, created_at, started_at, ended_at, cancel_requested_at,
    error_code, error_message, step, after_attempt, asked_at)
SELECT id, kind, status, attempt, created_at, started_at, completed_at, cancel_requested_at, error_code,
    left(error_message, 2000), '', before.after_attempt, before.asked_at
FROM workflow_executions AS e, LATERAL (
    SELECT coalesce(max(a.attempt), -1) AS after_attempt, max(a.ended_at) FILTER (WHERE a.asked_by <> '') AS asked_at
    FROM execution_attempts AS a WHERE a.execution_id = e.id AND a.status <> 'LEFT_BATCH'
) AS before
WHERE status IN ('COMPLETED', 'FAILED', 'CANCELLED') AND completed_at > now() - interval '90 days'
    AND error_code <> 'SKIPPED'
ORDER BY completed_at
"""


def upgrade() -> None:
    op.create_table(
        "endings",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(length=50), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("started_at", _TIME, nullable=True),
        sa.Column("ended_at", _TIME, nullable=False),
        sa.Column("cancel_requested_at", _TIME, nullable=True),
        sa.Column("error_code", sa.String(length=50), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("step", sa.String(length=100), nullable=False),
        sa.Column("after_attempt", sa.Integer(), nullable=False),
        sa.Column("asked_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endings")),
    )
    op.create_table(
        "timings",
        sa.Column("resolution", sa.String(length=10), nullable=False),
        sa.Column("measure", sa.String(length=10), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("kind", sa.String(length=50), nullable=False),
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("total_ms", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint(
            "resolution", "measure", "at", "kind", "name", "status", "bucket", name=op.f("pk_timings")
        ),
    )
    _errors()
    _resources()
    _origins()
    _log_lines()
    _sessions()
    op.execute("ALTER TABLE timings SET (fillfactor = 70)")  # the newest rows are updated each few seconds
    op.execute(ENDINGS)
    op.execute(PAST)


def _errors() -> None:
    op.create_table(
        "error_groups",
        sa.Column("fingerprint", sa.String(length=16), nullable=False),
        sa.Column("error_code", sa.String(length=50), nullable=False),
        sa.Column("step", sa.String(length=100), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("first_seen", _TIME, nullable=False),
        sa.Column("last_seen", _TIME, nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_error_groups")),
    )
    op.create_index("ix_error_groups_last_seen", "error_groups", ["last_seen"], unique=False)
    op.create_table(
        "error_counts",
        sa.Column("resolution", sa.String(length=10), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("fingerprint", sa.String(length=16), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("resolution", "at", "fingerprint", name=op.f("pk_error_counts")),
    )


def _resources() -> None:
    op.create_table(
        "resource_samples",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("at", _TIME, nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("parent_pid", sa.Integer(), nullable=True),
        sa.Column("cpu", sa.Float(), nullable=True),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("memory_share", sa.Float(), nullable=True),
        sa.Column("disk_share", sa.Float(), nullable=True),
        sa.Column("connections", sa.Integer(), nullable=True),
        sa.Column("connections_share", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resource_samples")),
    )
    op.create_index("ix_resource_samples_at", "resource_samples", ["at"], unique=False)


def _sessions() -> None:
    """Who looks at the operations pages."""
    op.create_table(
        "ops_sessions",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        sa.Column("proof", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ops_sessions")),
    )
    op.create_index("ix_ops_sessions_expires_at", "ops_sessions", ["expires_at"], unique=False)


def _origins() -> None:
    for table in ("events", "workflow_executions"):
        op.add_column(table, sa.Column("request_id", sa.String(length=128), server_default="", nullable=False))
        op.add_column(table, sa.Column("traceparent", sa.String(length=55), server_default="", nullable=False))


def _log_lines() -> None:
    table = "workflow_execution_logs"
    op.create_index("ix_workflow_execution_logs_project_id_id", table, ["project_id", "id"], unique=False)
    grave = sa.text("level IN ('WARNING', 'ERROR', 'CRITICAL')")
    op.create_index("ix_workflow_execution_logs_grave", table, ["id"], unique=False, postgresql_where=grave)


def downgrade() -> None:
    op.drop_index("ix_workflow_execution_logs_grave", table_name="workflow_execution_logs")
    op.drop_index("ix_workflow_execution_logs_project_id_id", table_name="workflow_execution_logs")
    for table in ("workflow_executions", "events"):
        op.drop_column(table, "traceparent")
        op.drop_column(table, "request_id")
    op.execute("DROP TRIGGER executions_ended ON workflow_executions")
    op.execute("DROP TRIGGER tries_ended ON execution_attempts")
    op.execute("DROP FUNCTION automation_execution_ended, automation_try_ended")
    for table in ("ops_sessions", "resource_samples", "error_counts", "error_groups", "timings", "endings"):
        op.drop_table(table)
