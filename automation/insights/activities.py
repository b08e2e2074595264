"""Activities, told to Insights at `INSIGHTS_URL`; without it, they stay in our table `activities`."""

from typing import Any

from automation import neighbours
from automation.errors import NetworkError
from automation.models import Activity, Json
from automation.settings import Settings
from automation.steps import StepContext

NEIGHBOUR = "insights"


async def record(step: StepContext, type: str, **values: Any) -> bool:
    """Record what happened in the step's project, once, under the step's idempotency key.

    Args:
        type: what happened: `page.updated`, `project.status`.
        values: further columns of `Activity`.

    Returns:
        False if it is owed, as Insights is away and the step is not required.

    Raises:
        NetworkError: Insights is away and the step is required.
        ValidationError: Insights refused.
    """
    activity = Activity(
        idempotency_key=step.idempotency_key,
        project_id=step.project.id,
        execution_id=step.execution_id,
        type=type,
        **values,
    )
    if step.settings.insights_url is None:
        step.add(activity)
        return True
    request = _request(activity) | {"created_at": step.occurred_at.isoformat()}
    return await neighbours.have(step, NEIGHBOUR, lambda: send(step.settings, request, step.idempotency_key), request)


async def send(settings: Settings, request: Json, key: str) -> None:
    """Tell Insights of an activity.

    Raises:
        NetworkError: Insights is away, or nobody says where it is.
        ValidationError: Insights refused.
    """
    if settings.insights_url is None:
        raise NetworkError("INSIGHTS_URL is not set any more; set it, and what is owed to Insights is delivered.")
    await neighbours.call(settings, "POST", settings.insights_url + "/activities/", json=request, key=key)


def _request(activity: Activity) -> Json:
    return {
        "project_id": activity.project_id,
        "execution_id": str(activity.execution_id),
        "user_id": activity.user_id or "",
        "type": activity.type,
        "page_id": activity.page_id or "",
        "changes": activity.changes or {},
        "metrics": activity.metrics or {},
    }
