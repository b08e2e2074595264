"""Publish: an existing release goes to an environment, or an environment goes back to an earlier release."""

from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State

from automation import engine
from automation.catalog import StepDefinition, WorkflowDefinition
from tasks.notifications import notify_user
from tasks.runtime import deploy_to_runtime, verify_release

PUBLISH = WorkflowDefinition(
    kind="publish",
    name="Publish Release",
    description="Promotes an existing release to an environment, or rolls an environment back.",
    trigger_type="API_CALL",
    key="project_id",
    steps=(
        StepDefinition(verify_release),
        StepDefinition(deploy_to_runtime, {"environment": "production", "rollback_enabled": True}),
        StepDefinition(notify_user, {"send_email": True, "update_status": True}, is_required=False),
    ),
)


@flow(name="publish", **engine.FLOW_OPTIONS)
async def publish(
    executions: list[UUID] | None = None,
    workflow_id: UUID | None = None,
    trigger_data: dict[str, Any] | None = None,
) -> State[Any]:
    """Verify the release, switch the environment to it, notify."""
    return await engine.run(PUBLISH.kind, executions, workflow_id, trigger_data)
