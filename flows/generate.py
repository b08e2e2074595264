"""Generate: a publish in Studio turns a project's pages into a live web application."""

from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State

from automation import engine
from automation.catalog import StepDefinition, WorkflowDefinition
from tasks.assets import optimize_assets
from tasks.notifications import notify_user
from tasks.pages import compile_pages
from tasks.runtime import deploy_to_runtime, generate_structure

GENERATE = WorkflowDefinition(
    kind="generate",
    name="Generate Application",
    description="Compiles the project's pages, deploys them as a new release and tells the owner.",
    trigger_type="ON_PUBLISH",
    key="project_id",
    rare=True,
    flushes=("auto-save",),
    steps=(
        StepDefinition(compile_pages, {"minify": True, "optimize_images": True}),
        StepDefinition(generate_structure, {"create_routes": True, "generate_models": False}),
        StepDefinition(optimize_assets, {}),
        StepDefinition(deploy_to_runtime, {"environment": "production", "rollback_enabled": True}),
        StepDefinition(notify_user, {"send_email": True, "update_status": True}, is_required=False),
    ),
)


@flow(name="generate", **engine.FLOW_OPTIONS)
async def generate(
    executions: list[UUID] | None = None,
    workflow_id: UUID | None = None,
    trigger_data: dict[str, Any] | None = None,
) -> State[Any]:
    """Compile, build the structure, optimise, deploy behind a health check, notify."""
    return await engine.run(GENERATE.kind, executions, workflow_id, trigger_data)
