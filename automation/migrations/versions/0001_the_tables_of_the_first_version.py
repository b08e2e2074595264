"""The tables of the first version."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


# A workflow's version rises whoever changes it, so that no process ever runs a plan that is out of date.
VERSIONS = """
CREATE FUNCTION automation_bump_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER bump_version BEFORE UPDATE ON workflows FOR EACH ROW
    WHEN (OLD.version = NEW.version) EXECUTE FUNCTION automation_bump_version();

CREATE FUNCTION automation_touch_workflows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE workflows SET version = version + 1 WHERE id IN (SELECT workflow_id FROM changed);
    RETURN NULL;
END $$;
CREATE TRIGGER steps_inserted AFTER INSERT ON workflow_steps REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION automation_touch_workflows();
CREATE TRIGGER steps_updated AFTER UPDATE ON workflow_steps REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION automation_touch_workflows();
CREATE TRIGGER steps_deleted AFTER DELETE ON workflow_steps REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION automation_touch_workflows();
"""


def upgrade() -> None:
    op.create_table(
        "activities",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=False),
        sa.Column("project_id", sa.String(length=128), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.String(length=128), nullable=False),
        sa.Column("type", sa.String(length=100), nullable=False),
        sa.Column("page_id", sa.String(length=128), nullable=False),
        sa.Column("changes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("metrics", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activities")),
    )
    op.create_index("ix_activities_project_id_created_at", "activities", ["project_id", "created_at"], unique=False)
    op.create_index("uq_activities_idempotency_key", "activities", ["idempotency_key"], unique=True)
    op.create_table(
        "alerts",
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.Column("execution_id", sa.Uuid(), nullable=True),
        sa.Column("rule", sa.String(length=100), nullable=False),
        sa.Column("severity", sa.String(length=10), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index("ix_alerts_project_id_created_at", "alerts", ["project_id", "created_at"], unique=False)
    op.create_table(
        "events",
        sa.Column("id", sa.String(length=200), nullable=False),
        sa.Column("type", sa.String(length=100), nullable=False),
        sa.Column("project_id", sa.String(length=128), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("execution_ids", postgresql.ARRAY(sa.Uuid()), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index("ix_events_project_id_received_at", "events", ["project_id", "received_at"], unique=False)
    op.create_index("ix_events_received_at", "events", ["received_at"], unique=False)
    op.create_table(
        "flow_runs",
        sa.Column("prefect_id", sa.Uuid(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=200), nullable=True),
        sa.Column("kind", sa.String(length=50), nullable=False),
        sa.Column("mode", sa.String(length=10), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("accepts", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("state_name", sa.String(length=50), nullable=False),
        sa.Column("state_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("logs_read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("logs_done", sa.Boolean(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flow_runs")),
    )
    op.create_index("ix_flow_runs_ended_at", "flow_runs", ["ended_at"], unique=False)
    op.create_index(
        "ix_flow_runs_logs_open",
        "flow_runs",
        ["ended_at"],
        unique=False,
        postgresql_where=sa.text("NOT logs_done"),
    )
    op.create_index(
        "ix_flow_runs_open", "flow_runs", ["kind"], unique=False, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_index("uq_flow_runs_idempotency_key", "flow_runs", ["idempotency_key"], unique=True)
    op.create_index("uq_flow_runs_prefect_id", "flow_runs", ["prefect_id"], unique=True)
    op.create_table(
        "mirror_cursors",
        sa.Column("name", sa.String(length=50), nullable=False),
        sa.Column("position", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mirror_cursors")),
    )
    op.create_index("uq_mirror_cursors_name", "mirror_cursors", ["name"], unique=True)
    op.create_table(
        "projects",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("named_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner_id", sa.String(length=128), nullable=False),
        sa.Column("owner_email", sa.String(length=320), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
    )
    op.create_table(
        "integrations",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("type", sa.String(length=50), nullable=False),
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("last_tested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_test", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_integrations_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_integrations")),
    )
    op.create_index("ix_integrations_project_id", "integrations", ["project_id"], unique=False)
    op.create_table(
        "workflows",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.Column("kind", sa.String(length=50), nullable=False),
        sa.Column("trigger_type", sa.String(length=50), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_workflows_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflows")),
    )
    op.create_index("ix_workflows_project_id_kind", "workflows", ["project_id", "kind"], unique=False)
    op.create_table(
        "triggers",
        sa.Column("workflow_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.Column("trigger_type", sa.String(length=50), nullable=False),
        sa.Column("event_type", sa.String(length=100), nullable=False),
        sa.Column("conditions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("last_triggered", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_triggers_project_id_projects"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["workflow_id"],
            ["workflows.id"],
            name=op.f("fk_triggers_workflow_id_workflows"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_triggers")),
    )
    op.create_index("ix_triggers_project_id_trigger_type", "triggers", ["project_id", "trigger_type"], unique=False)
    op.create_index("ix_triggers_workflow_id", "triggers", ["workflow_id"], unique=False)
    op.create_table(
        "workflow_executions",
        sa.Column("workflow_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.Column("kind", sa.String(length=50), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=True),
        sa.Column("coalesces", sa.Boolean(), nullable=False),
        sa.Column("batch", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trigger_type", sa.String(length=50), nullable=False),
        sa.Column("event_type", sa.String(length=100), nullable=False),
        sa.Column("trigger_data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("error_code", sa.String(length=50), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lost_count", sa.Integer(), nullable=False),
        sa.Column("dispatch_no", sa.Integer(), nullable=False),
        sa.Column("flow_run_id", sa.Uuid(), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["flow_run_id"],
            ["flow_runs.id"],
            name=op.f("fk_workflow_executions_flow_run_id_flow_runs"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["workflow_id"],
            ["workflows.id"],
            name=op.f("fk_workflow_executions_workflow_id_workflows"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflow_executions")),
    )
    op.create_index(
        "ix_workflow_executions_batch_turns",
        "workflow_executions",
        ["kind", sa.literal_column("coalesce(project_id, '')"), "due_at"],
        unique=False,
        postgresql_where=sa.text("status = 'PENDING' AND flow_run_id IS NULL AND batch"),
    )
    op.create_index("ix_workflow_executions_created_at_id", "workflow_executions", ["created_at", "id"], unique=False)
    op.create_index(
        "ix_workflow_executions_due",
        "workflow_executions",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('PENDING', 'RETRYING') AND flow_run_id IS NULL"),
    )
    op.create_index("ix_workflow_executions_flow_run_id", "workflow_executions", ["flow_run_id"], unique=False)
    op.create_index(
        "ix_workflow_executions_open",
        "workflow_executions",
        ["project_id", "kind"],
        unique=False,
        postgresql_where=sa.text("status IN ('PENDING', 'RUNNING', 'RETRYING', 'WAITING')"),
    )
    op.create_index(
        "ix_workflow_executions_project_id_created_at",
        "workflow_executions",
        ["project_id", "created_at"],
        unique=False,
    )
    op.create_index(
        "ix_workflow_executions_single_turns",
        "workflow_executions",
        [sa.literal_column("coalesce(project_id, '')"), "due_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('PENDING', 'RETRYING') AND flow_run_id IS NULL AND NOT batch"),
    )
    op.create_index(
        "ix_workflow_executions_workflow_id_key_created_at",
        "workflow_executions",
        ["workflow_id", "key", "created_at"],
        unique=False,
    )
    op.create_index(
        "uq_workflow_executions_running",
        "workflow_executions",
        ["workflow_id", "key"],
        unique=True,
        postgresql_where=sa.text("status = 'RUNNING' AND key IS NOT NULL"),
    )
    op.create_index(
        "uq_workflow_executions_waiting",
        "workflow_executions",
        ["workflow_id", "key"],
        unique=True,
        postgresql_where=sa.text("status = 'PENDING' AND flow_run_id IS NULL AND key IS NOT NULL AND coalesces"),
    )
    op.create_table(
        "workflow_steps",
        sa.Column("workflow_id", sa.Uuid(), nullable=False),
        sa.Column("identifier", sa.String(length=100), nullable=False),
        sa.Column("step_type", sa.String(length=50), nullable=False),
        sa.Column("order", sa.Integer(), nullable=False),
        sa.Column("depends_on", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("config", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("conditions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("is_required", sa.Boolean(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workflow_id"],
            ["workflows.id"],
            name=op.f("fk_workflow_steps_workflow_id_workflows"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflow_steps")),
        sa.UniqueConstraint("workflow_id", "identifier", name=op.f("uq_workflow_steps_workflow_id_identifier")),
    )
    op.create_table(
        "step_executions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("step_id", sa.Uuid(), nullable=True),
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.Column("identifier", sa.String(length=100), nullable=False),
        sa.Column("step_type", sa.String(length=50), nullable=False),
        sa.Column("order", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("duration_ms", sa.Float(), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("error_message", sa.Text(), nullable=False),
        sa.Column("error_code", sa.String(length=50), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("task_run_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["workflow_executions.id"],
            name=op.f("fk_step_executions_execution_id_workflow_executions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["step_id"],
            ["workflow_steps.id"],
            name=op.f("fk_step_executions_step_id_workflow_steps"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_step_executions")),
        sa.UniqueConstraint("execution_id", "identifier", name=op.f("uq_step_executions_execution_id_identifier")),
    )
    op.create_index("ix_step_executions_task_run_id", "step_executions", ["task_run_id"], unique=False)
    op.create_table(
        "workflow_execution_logs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=True),
        sa.Column("flow_run_id", sa.Uuid(), nullable=True),
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.Column("step_id", sa.Uuid(), nullable=True),
        sa.Column("step_identifier", sa.String(length=100), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("duration_ms", sa.Float(), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("prefect_log_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["workflow_executions.id"],
            name=op.f("fk_workflow_execution_logs_execution_id_workflow_executions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["flow_run_id"],
            ["flow_runs.id"],
            name=op.f("fk_workflow_execution_logs_flow_run_id_flow_runs"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["step_id"],
            ["workflow_steps.id"],
            name=op.f("fk_workflow_execution_logs_step_id_workflow_steps"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workflow_execution_logs")),
        sa.UniqueConstraint("prefect_log_id", name=op.f("uq_workflow_execution_logs_prefect_log_id")),
    )
    op.create_index(
        "ix_workflow_execution_logs_execution_id_timestamp",
        "workflow_execution_logs",
        ["execution_id", "timestamp"],
        unique=False,
    )
    op.create_index("ix_workflow_execution_logs_flow_run_id", "workflow_execution_logs", ["flow_run_id"], unique=False)
    op.execute(VERSIONS)


def downgrade() -> None:
    op.drop_index("ix_workflow_execution_logs_flow_run_id", table_name="workflow_execution_logs")
    op.drop_index("ix_workflow_execution_logs_execution_id_timestamp", table_name="workflow_execution_logs")
    op.drop_table("workflow_execution_logs")
    op.drop_index("ix_step_executions_task_run_id", table_name="step_executions")
    op.drop_table("step_executions")
    op.drop_table("workflow_steps")
    op.drop_index(
        "uq_workflow_executions_waiting",
        table_name="workflow_executions",
        postgresql_where=sa.text("status = 'PENDING' AND flow_run_id IS NULL AND key IS NOT NULL AND coalesces"),
    )
    op.drop_index(
        "uq_workflow_executions_running",
        table_name="workflow_executions",
        postgresql_where=sa.text("status = 'RUNNING' AND key IS NOT NULL"),
    )
    op.drop_index("ix_workflow_executions_workflow_id_key_created_at", table_name="workflow_executions")
    op.drop_index(
        "ix_workflow_executions_single_turns",
        table_name="workflow_executions",
        postgresql_where=sa.text("status IN ('PENDING', 'RETRYING') AND flow_run_id IS NULL AND NOT batch"),
    )
    op.drop_index("ix_workflow_executions_project_id_created_at", table_name="workflow_executions")
    op.drop_index(
        "ix_workflow_executions_open",
        table_name="workflow_executions",
        postgresql_where=sa.text("status IN ('PENDING', 'RUNNING', 'RETRYING', 'WAITING')"),
    )
    op.drop_index("ix_workflow_executions_flow_run_id", table_name="workflow_executions")
    op.drop_index(
        "ix_workflow_executions_due",
        table_name="workflow_executions",
        postgresql_where=sa.text("status IN ('PENDING', 'RETRYING') AND flow_run_id IS NULL"),
    )
    op.drop_index("ix_workflow_executions_created_at_id", table_name="workflow_executions")
    op.drop_index(
        "ix_workflow_executions_batch_turns",
        table_name="workflow_executions",
        postgresql_where=sa.text("status = 'PENDING' AND flow_run_id IS NULL AND batch"),
    )
    op.drop_table("workflow_executions")
    op.drop_index("ix_triggers_workflow_id", table_name="triggers")
    op.drop_index("ix_triggers_project_id_trigger_type", table_name="triggers")
    op.drop_table("triggers")
    op.drop_index("ix_workflows_project_id_kind", table_name="workflows")
    op.drop_table("workflows")
    op.drop_index("ix_integrations_project_id", table_name="integrations")
    op.drop_table("integrations")
    op.drop_table("projects")
    op.drop_index("uq_mirror_cursors_name", table_name="mirror_cursors")
    op.drop_table("mirror_cursors")
    op.drop_index("uq_flow_runs_prefect_id", table_name="flow_runs")
    op.drop_index("uq_flow_runs_idempotency_key", table_name="flow_runs")
    op.drop_index("ix_flow_runs_open", table_name="flow_runs", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_index("ix_flow_runs_logs_open", table_name="flow_runs", postgresql_where=sa.text("NOT logs_done"))
    op.drop_index("ix_flow_runs_ended_at", table_name="flow_runs")
    op.drop_table("flow_runs")
    op.drop_index("ix_events_received_at", table_name="events")
    op.drop_index("ix_events_project_id_received_at", table_name="events")
    op.drop_table("events")
    op.drop_index("ix_alerts_project_id_created_at", table_name="alerts")
    op.drop_table("alerts")
    op.drop_index("uq_activities_idempotency_key", table_name="activities")
    op.drop_index("ix_activities_project_id_created_at", table_name="activities")
    op.drop_table("activities")
    op.execute("DROP FUNCTION automation_touch_workflows, automation_bump_version")
