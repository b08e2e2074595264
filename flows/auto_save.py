"""Auto-save: what somebody drags in Studio is on disk a moment later, and nobody has to press a button."""

from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State

from automation import engine
from automation.catalog import StepDefinition, WorkflowDefinition
from tasks.insights import log_activity
from tasks.pages import save_to_runtime, validate_page

AUTO_SAVE = WorkflowDefinition(
    kind="auto-save",
    name="Auto-save {project}",
    description="Saves a page as soon as it is changed in Studio.",
    trigger_type="ON_PAGE_CHANGE",
    also_on=("page.deleted",),
    key="page.id",
    run_modes=("batch", "single"),
    interval_setting="auto_save_interval",
    steps=(
        StepDefinition(validate_page, {"validate_json": True, "check_components": True}),
        StepDefinition(save_to_runtime, {"update_files": True, "backup_previous": True}),
        # a page is saved whether or not Insights can be told of it
        StepDefinition(log_activity, {"track_changes": True, "save_metrics": True}, is_required=False),
    ),
)


@flow(name="auto-save", **engine.FLOW_OPTIONS)
async def auto_save(
    executions: list[UUID] | None = None,
    workflow_id: UUID | None = None,
    trigger_data: dict[str, Any] | None = None,
    batch: str | None = None,
) -> State[Any]:
    """Validate the page, save it where Runtime reads it, and tell Insights what changed."""
    return await engine.run(AUTO_SAVE.kind, executions, workflow_id, trigger_data, batch)
