"""Steps that tell Insights what people do."""

from typing import Any

import orjson

from automation.insights.activities import record
from automation.models import Json
from automation.steps import Result, StepConfig, StepContext, step


class LogActivityConfig(StepConfig):
    """`track_changes`: store what changed. `save_metrics`: store the page's size."""

    track_changes: bool = True
    save_metrics: bool = True


@step("LOG_ACTIVITY")
async def log_activity(step: StepContext, config: LogActivityConfig) -> Result:
    """Tell Insights who saved which page, and what changed between the two versions.

    Once, by the step's idempotency key. Without INSIGHTS_URL it is a row of `activities`, which commits with the
    step's outcome. A save that wrote nothing, because a newer version was there, leaves no activity.

    Returns:
        {"logged": true, "changes": {"added": ids, …}, "metrics": {"bytes": n, "components": n}}, with
        "owed": true if Insights is to be told later; or {"logged": false, "reason"}

    Raises:
        NetworkError: Insights is away and the step is required.
        ValidationError: Insights refused.
    """
    saved = step.results.get("save-to-runtime")
    if saved is not None and not saved.get("saved", True):
        reason = str(saved.get("reason") or "nothing was written")
        step.log(f"No activity: {reason}.")
        return {"logged": False, "reason": reason}
    page = _object(step.trigger_data.get("page"))
    document = page.get("config")
    changes = _object((saved or {}).get("changes")) if config.track_changes else {}
    metrics = page_metrics(document) if config.save_metrics and isinstance(document, dict) else {}
    told = await record(
        step,
        step.event_type or step.trigger_type,
        user_id=str(step.trigger_data.get("user_id") or "")[:128],
        page_id=str(page.get("id") or "")[:128],
        changes=changes,
        metrics=metrics,
    )
    result: Result = {"logged": True, "changes": changes, "metrics": metrics}
    return result if told else result | {"owed": True}


def page_metrics(document: Json) -> dict[str, int]:
    """Size of a page document: `bytes` as compact JSON, `components` with those inside others."""
    return {"bytes": len(orjson.dumps(document)), "components": _count(document.get("components"))}


def _count(components: Any) -> int:
    if not isinstance(components, list):
        return 0
    return sum(1 + _count(one.get("children")) for one in components if isinstance(one, dict))


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
