"""Telling operators of an execution that failed for good: the event `automation.execution.failed`."""

from prefect.events import emit_event

from automation.engine.plan import Item
from automation.engine.record import Outcome
from automation.models import Status
from automation.prefect_events import execution_failed


def tell_if_failed(item: Item, outcome: Outcome) -> None:
    """Emit the event from inside a flow run, which Prefect then names as involved; nothing waits for it."""
    if outcome.status != Status.FAILED:
        return
    emit_event(
        **execution_failed(
            execution_id=item.execution_id,
            workflow_id=item.workflow_id,
            workflow_name=item.workflow_name,
            project_id=item.project.id,
            error_code=outcome.error_code,
            error_message=outcome.error_message,
        )
    )
