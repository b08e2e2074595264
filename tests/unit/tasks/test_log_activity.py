"""LOG_ACTIVITY: what Insights is told of a save."""

from typing import Any
from uuid import UUID

import pytest

from automation.database import Database
from automation.errors import ValidationError
from automation.models import Activity, utc_now
from automation.settings import Settings
from automation.steps import ProjectInfo, StepContext
from tasks.insights import LogActivityConfig, log_activity, page_metrics

EXECUTION = UUID("11111111-1111-1111-1111-111111111111")
CHANGES = {"added": ["card-2"], "removed": [], "moved": ["header-1"], "edited": [], "page": []}
DOCUMENT = {
    "components": [
        {"id": "header-1", "type": "Header"},
        {"id": "box", "type": "Container", "children": [{"id": "card-2", "type": "Card"}]},
    ]
}


def context(saved: dict[str, Any] | None) -> StepContext:
    return StepContext(
        execution_id=EXECUTION,
        workflow_id=UUID(int=1),
        workflow_name="Auto-save Boutique",
        identifier="log-activity",
        project=ProjectInfo(id="project-456", name="Boutique"),
        trigger_type="ON_PAGE_CHANGE",
        event_type="page.updated",
        trigger_data={"user_id": "user-789", "page": {"id": "home", "config": DOCUMENT}},
        occurred_at=utc_now(),
        results={} if saved is None else {"save-to-runtime": saved},
        attempt=1,
        settings=Settings(),
        database=Database("postgresql://localhost/unused"),
    )


def only_row(step: StepContext) -> Activity:
    [row] = step.rows
    assert isinstance(row, Activity)
    return row


async def test_a_save_is_logged_with_who_did_it_and_what_changed() -> None:
    step = context({"saved": True, "changes": CHANGES})
    result = await log_activity.function(step, LogActivityConfig())
    row = only_row(step)
    assert (row.project_id, row.execution_id) == ("project-456", EXECUTION)
    assert (row.user_id, row.page_id, row.type) == ("user-789", "home", "page.updated")
    assert row.changes == CHANGES
    assert row.metrics["components"] == 3
    assert result == {"logged": True, "changes": CHANGES, "metrics": row.metrics}


async def test_two_tries_of_a_step_name_the_same_row() -> None:
    first, second = context({"saved": True}), context({"saved": True})
    await log_activity.function(first, LogActivityConfig())
    await log_activity.function(second, LogActivityConfig())
    assert only_row(first).idempotency_key == only_row(second).idempotency_key == f"{EXECUTION}:log-activity"


async def test_without_track_changes_the_row_does_not_say_what_changed() -> None:
    step = context({"saved": True, "changes": CHANGES})
    await log_activity.function(step, LogActivityConfig(track_changes=False))
    assert only_row(step).changes == {}
    assert only_row(step).metrics


async def test_without_save_metrics_the_row_has_no_sizes() -> None:
    step = context({"saved": True, "changes": CHANGES})
    await log_activity.function(step, LogActivityConfig(save_metrics=False))
    assert only_row(step).metrics == {}
    assert only_row(step).changes == CHANGES


async def test_a_superseded_save_leaves_no_activity_and_says_so() -> None:
    reason = "page 'home' version 7 is older than the saved version 9; nothing written"
    step = context({"saved": False, "superseded": True, "reason": reason})
    result = await log_activity.function(step, LogActivityConfig())
    assert result == {"logged": False, "reason": reason}
    assert step.rows == []
    assert reason in step.lines[0].message


async def test_a_save_that_only_said_what_it_would_write_leaves_no_activity() -> None:
    step = context({"saved": False, "dry_run": True, "changes": CHANGES})
    result = await log_activity.function(step, LogActivityConfig())
    assert result == {"logged": False, "reason": "nothing was written"}
    assert step.rows == []


async def test_a_workflow_without_a_save_is_logged_too() -> None:
    step = context(None)
    await log_activity.function(step, LogActivityConfig())
    assert only_row(step).changes == {}


@pytest.mark.parametrize("document", [{}, {"components": None}, {"components": [1, {"children": "no list"}]}])
def test_the_sizes_of_a_malformed_document_can_be_taken(document: dict[str, Any]) -> None:
    assert page_metrics(document)["components"] <= 1


def test_sizes_are_those_of_the_compact_document() -> None:
    size = len('{"components":[{"id":"é"}]}'.encode())
    assert page_metrics({"components": [{"id": "é"}]}) == {"bytes": size, "components": 1}


def test_an_unknown_key_of_the_config_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="track_change"):
        log_activity.parse({"track_change": True})
