"""Our events in Prefect: one shape for all of them, and the way they are sent.

Operators hang Prefect's automations on them, so names and labels are an interface: docs/operate.md lists them.
Prefect matches events by labels of resources alone, never by payload, and counts by them too (`for_each`).
"""

import logging
from collections.abc import Mapping, Sequence
from uuid import UUID, uuid4

from prefect.client.orchestration import PrefectClient

from automation.models import Json, utc_now
from automation.steps import one_line

EVENT = "automation.event."
EXECUTION = "automation.execution."
PROJECT = "studio.project."
TRIGGER = "automation.trigger."
WORKFLOW = "automation.workflow."

_LONGEST = 1000
"""Characters of an error message that an event carries; the execution has all of it."""

log = logging.getLogger(__name__)


def prefect_event(
    name: str,
    resource: str,
    title: str,
    *,
    labels: Mapping[str, str] | None = None,
    related: Sequence[Mapping[str, str]] = (),
    payload: Json | None = None,
) -> Json:
    """An event of now, as Prefect's API takes it.

    Args:
        resource: id of what it happened to, such as `automation.execution.<id>`.
        title: what people call that; control characters are spelled out.
        labels: further labels of the resource.
        related: what else was involved, made by `related`.
    """
    return {
        "id": str(uuid4()),
        "occurred": utc_now().isoformat(),
        "event": name,
        "resource": {"prefect.resource.id": resource, "prefect.resource.name": one_line(title), **(labels or {})},
        "related": list(related),
        "payload": payload or {},
    }


def related(role: str, resource: str, title: str = "") -> dict[str, str]:
    """A resource that an event involves in the role `project`, `workflow`, `event`, `execution`, …"""
    name = {"prefect.resource.name": one_line(title)} if title else {}
    return {"prefect.resource.id": resource, "prefect.resource.role": role, **name}


def execution_failed(
    *,
    execution_id: UUID,
    workflow_id: UUID,
    workflow_name: str,
    project_id: str | None,
    error_code: str,
    error_message: str,
) -> Json:
    """`automation.execution.failed`: an execution has failed for good."""
    project = [related("project", PROJECT + project_id)] if project_id else []
    return prefect_event(
        "automation.execution.failed",
        f"{EXECUTION}{execution_id}",
        workflow_name,
        labels={"automation.error_code": error_code},
        related=[related("workflow", f"{WORKFLOW}{workflow_id}", workflow_name), *project],
        payload={
            "execution_id": str(execution_id),
            "project_id": project_id or "",
            "workflow_id": str(workflow_id),
            "error_code": error_code,
            "error_message": one_line(error_message)[:_LONGEST],
        },
    )


async def send(client: PrefectClient, events: Sequence[Json]) -> bool:
    """Send events to Prefect in one call; a failure is logged, since nothing of ours may depend on them."""
    if not events:
        return True
    try:
        await client.request("POST", "/events", json=list(events))
    except Exception as error:
        log.warning("Prefect took none of %d events, the first of them %s: %s", len(events), events[0]["event"], error)
        return False
    return True
