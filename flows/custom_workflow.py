"""The flow of every workflow that somebody defines through the API: its steps and triggers are rows."""

from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State

from automation import engine
from automation.catalog import WorkflowDefinition

CUSTOM = WorkflowDefinition(
    kind="custom-workflow",
    name="Custom workflow",
    description="Runs a workflow that somebody defined through the API.",
    trigger_type="API_CALL",
    scope="none",
    run_modes=("single", "batch"),
    steps=(),
)


@flow(name="custom-workflow", **engine.FLOW_OPTIONS)
async def custom_workflow(
    executions: list[UUID] | None = None,
    workflow_id: UUID | None = None,
    trigger_data: dict[str, Any] | None = None,
    batch: str | None = None,
) -> State[Any]:
    """Run the steps of a workflow as its rows say."""
    return await engine.run(CUSTOM.kind, executions, workflow_id, trigger_data, batch)
