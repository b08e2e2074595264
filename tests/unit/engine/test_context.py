"""What templates in a step's config see."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from automation.engine.context import context_of, rendered
from automation.engine.definitions import define
from automation.engine.plan import Item, PlannedStep, make_plan
from automation.errors import ValidationError
from automation.steps import ProjectInfo

EXECUTION, WORKFLOW = UUID(int=1), UUID(int=2)


def item(trigger_type: str = "ON_PAGE_UPDATE", data: dict[str, Any] | None = None, **done: dict[str, Any]) -> Item:
    return Item(
        execution_id=EXECUTION,
        dispatch_no=1,
        workflow_id=WORKFLOW,
        workflow_name="Tell the team",
        kind="custom-workflow",
        project=ProjectInfo("shop", "Boutique", "u1", "u1@example.org"),
        trigger_type=trigger_type,
        event_type="page.updated",
        trigger_data=data or {"project_id": "shop", "page": {"id": "home"}},
        occurred_at=datetime.now(UTC),
        attempt=2,
        lost_count=0,
        plan=make_plan([]),
        done={name.replace("__", "-"): result for name, result in done.items()},
    )


def step(**config: Any) -> PlannedStep:
    return PlannedStep(UUID(int=3), "t", "TRANSFORM", 1, {"output": config}, True, frozenset(), templated=True)


def made(config: dict[str, Any], of: Item) -> Any:
    return rendered(of, step(**config))["output"]


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ trigger.type }}", "ON_PAGE_UPDATE"),
        ("{{ trigger.event_type }}", "page.updated"),
        ("{{ trigger.data.page }}", {"id": "home"}),
        ("{{ project.name }} of {{ project.owner_email }}", "Boutique of u1@example.org"),
        ("{{ execution.id }}", str(EXECUTION)),
        ("{{ execution.attempt }}", 2),
        ("{{ workflow.name }}", "Tell the team"),
    ],
)
def test_a_template_names_trigger_project_execution_and_workflow(template: str, value: object) -> None:
    assert made({"x": template}, item()) == {"x": value}


def test_an_api_call_has_its_input_among_its_data() -> None:
    of = item("API_CALL", {"project_id": "shop", "input": {"colour": "red", "project_id": "forged"}})

    wanted = {"a": "{{ trigger.input.colour }}", "b": "{{ trigger.data.colour }}", "c": "{{ trigger.data.project_id }}"}
    assert made(wanted, of) == {"a": "red", "b": "red", "c": "shop"}


def test_a_step_with_dashes_is_found_by_its_name_and_with_underscores() -> None:
    of = item(save__to__runtime={"version": 7})

    wanted = {"a": "{{ steps.save_to_runtime.result.version }}", "b": "{{ steps['save-to-runtime'].result.version }}"}
    assert made(wanted, of) == {"a": 7, "b": 7}


def test_of_two_steps_that_differ_in_a_dash_each_has_its_own_name() -> None:
    steps = context_of(item(a__b={"n": 1}, a_b={"n": 2}))["steps"]

    assert (steps["a-b"]["result"]["n"], steps["a_b"]["result"]["n"]) == (1, 2)


@pytest.mark.parametrize(
    ("name", "absent"),
    [("trigger.data.page.title", "title"), ("steps.later.result", "later"), ("secrets.key", "secrets")],
)
def test_a_name_that_is_not_there_is_told(name: str, absent: str) -> None:
    with pytest.raises(ValidationError, match=rf"^TRANSFORM: config is wrong: .*{absent}"):
        made({"x": "{{ " + name + " }}"}, item())


def test_only_a_step_with_templates_is_rendered() -> None:
    def stored(identifier: str, config: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": str(UUID(int=3)), "identifier": identifier, "step_type": "TRANSFORM", "order": 1, "depends_on": [],
            "config": config, "conditions": {}, "is_required": True,
        }  # fmt: skip

    steps = [stored("a", {"output": {"x": ["{{ trigger.type }}"]}}), stored("b", {"output": {}})]
    plan = define(1, {"name": "w", "config": {}, "steps": steps}).plan

    assert {one.identifier: one.templated for one in plan.steps} == {"a": True, "b": False}
