"""Cleanup: every night, what is too old goes, and the database is kept in shape."""

from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State

from automation import engine
from automation.catalog import StepDefinition, WorkflowDefinition
from tasks.maintenance import clean_old_executions, clean_temp_files, optimize_database

CLEANUP = WorkflowDefinition(
    kind="cleanup",
    name="Cleanup Old Data",
    description="Removes old executions, events, flow runs and temporary files; vacuums the database.",
    trigger_type="SCHEDULED",
    trigger_config={"cron": "0 2 * * *"},
    scope="platform",
    steps=(
        StepDefinition(clean_old_executions, {"older_than_days": 30}),
        StepDefinition(clean_temp_files, {"older_than_hours": 24}),
        StepDefinition(optimize_database, {"vacuum": True, "analyze": True}),
    ),
)


@flow(name="cleanup", **engine.FLOW_OPTIONS)
async def cleanup(
    executions: list[UUID] | None = None,
    workflow_id: UUID | None = None,
    trigger_data: dict[str, Any] | None = None,
) -> State[Any]:
    """Delete in batches what nobody needs any more, then VACUUM (ANALYZE)."""
    return await engine.run(CLEANUP.kind, executions, workflow_id, trigger_data)
