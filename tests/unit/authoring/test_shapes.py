"""What people may post, how it is filled in, and where a refusal says that it is wrong. No database."""

from typing import Any

import pytest

from automation.authoring.drafts import (
    WorkflowDraft,
    parse_new_trigger,
    parse_trigger,
    parse_trigger_patch,
    parse_workflow,
    parse_workflow_patch,
)
from automation.errors import RefusedError
from automation.settings import Settings
from tests.unit.authoring.documents import AUTO_SAVE, CLEANUP, GENERATE

SETTINGS = Settings()
TRANSFORM = {"step_type": "TRANSFORM", "config": {"output": {}}}
ID = "6f1c39b0-54a9-4c3b-9f6e-6b7c1f0c8f11"


def parsed(**body: Any) -> WorkflowDraft:
    return parse_workflow({"name": "W", **body}, SETTINGS)


def patched(**body: Any) -> WorkflowDraft:
    return parse_workflow_patch(body, SETTINGS)


def triggers(draft: WorkflowDraft) -> list[tuple[str, dict[str, Any]]]:
    return [(one.trigger_type, one.config) for one in draft.triggers or ()]


def refusal(**body: Any) -> tuple[str, str]:
    with pytest.raises(RefusedError) as refused:
        parsed(**body)
    return refused.value.field, str(refused.value)


# --- filling in -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        (AUTO_SAVE, ("ON_PAGE_CHANGE", {})),
        (GENERATE, ("ON_PUBLISH", {})),
        (CLEANUP, ("SCHEDULED", {"cron": "0 2 * * *"})),
    ],
    ids=["auto-save", "generate", "cleanup"],
)
def test_the_documents_of_the_description_are_taken_as_they_stand(document: dict[str, Any], wanted: Any) -> None:
    draft = parse_workflow(document, SETTINGS)

    assert triggers(draft) == [wanted]
    assert draft.columns["trigger_type"] == document["trigger_type"]
    assert [one.order for one in draft.steps or ()] == list(range(1, len(document["steps"]) + 1))


def test_an_identifier_that_is_left_out_is_the_types_name_and_a_number_when_it_is_taken() -> None:
    draft = parsed(
        steps=[TRANSFORM, TRANSFORM, TRANSFORM | {"identifier": "transform-2"}, {"step_type": "NOTIFY_USER"}]
    )

    identifiers = [one.identifier for one in draft.steps or ()]
    assert identifiers == ["transform", "transform-3", "transform-2", "notify-user"]


def test_an_order_that_is_left_out_is_the_position_and_one_that_is_given_stays() -> None:
    draft = parsed(steps=[TRANSFORM, TRANSFORM | {"order": 0}, TRANSFORM])

    assert [one.order for one in draft.steps or ()] == [1, 0, 3]


@pytest.mark.parametrize(
    ("body", "wanted", "trigger_type"),
    [
        ({}, [("API_CALL", {})], "API_CALL"),
        ({"trigger_type": "ON_PUBLISH"}, [("ON_PUBLISH", {})], "ON_PUBLISH"),
        ({"triggers": []}, [], "API_CALL"),
        ({"triggers": [], "trigger_type": "ON_PUBLISH"}, [], "ON_PUBLISH"),
        ({"triggers": [{"trigger_type": "WEBHOOK"}, {"trigger_type": "ON_PUBLISH"}]},
         [("WEBHOOK", {}), ("ON_PUBLISH", {})], "WEBHOOK"),
        ({"schedule": "5 4 * * *"}, [("SCHEDULED", {"cron": "5 4 * * *"})], "SCHEDULED"),
        ({"schedule": "5 4 * * *", "timezone": "Europe/Paris"},
         [("SCHEDULED", {"cron": "5 4 * * *", "timezone": "Europe/Paris"})], "SCHEDULED"),
        ({"schedule": "5 4 * * *", "trigger_type": "ON_PUBLISH"},
         [("SCHEDULED", {"cron": "5 4 * * *"}), ("ON_PUBLISH", {})], "ON_PUBLISH"),
        ({"schedule": "5 4 * * *", "triggers": [{"trigger_type": "API_CALL"}]},
         [("API_CALL", {}), ("SCHEDULED", {"cron": "5 4 * * *"})], "API_CALL"),
    ],
)  # fmt: skip
def test_triggers_that_are_left_out_follow_from_schedule_and_type(
    body: dict[str, Any], wanted: Any, trigger_type: str
) -> None:
    draft = parsed(**body)

    assert (triggers(draft), draft.columns["trigger_type"]) == (wanted, trigger_type)


def test_a_type_that_needs_more_than_its_name_asks_for_triggers() -> None:
    for type_ in ("DELAYED", "TIMEOUT", "EVENT", "FILE_CHANGE", "SCHEDULED"):
        field, said = refusal(trigger_type=type_)
        assert field == "triggers"
        assert "give it in `triggers`" in said


def test_an_answer_can_be_sent_back_with_the_keys_that_only_answers_have() -> None:
    shown = {"id": ID, "created_at": "2026-01-15T10:30:00Z", "updated_at": "2026-01-15T10:30:00Z", "archived_at": None}
    trigger = {"id": ID, "trigger_type": "WEBHOOK", "workflow_id": ID, "project_id": None, "url": "/x/", "last_slot": 1}

    draft = parsed(**shown, kind="custom-workflow", steps=[{**TRANSFORM, "id": ID}], triggers=[trigger])

    assert [str(one.id) for one in draft.triggers or ()] == [ID]


# --- what is refused, and where -------------------------------------------------------------------------------


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"x": value}
    return value


def step(**values: Any) -> dict[str, Any]:
    return {"steps": [TRANSFORM, TRANSFORM | values]}


def for_each(inner: str, **config: Any) -> dict[str, Any]:
    each = {"items": "{{ trigger.data.pages }}", "step": {"step_type": inner, "config": config}}
    return {"steps": [{"step_type": "FOR_EACH", "config": each}]}


def trigger(type_: str, **values: Any) -> dict[str, Any]:
    return {"triggers": [{"trigger_type": "API_CALL"}, {"trigger_type": type_, **values}]}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": 7}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"description": "x" * 10_001}, "description"),
        ({"project_id": "../etc"}, "project_id"),
        ({"is_active": "yes"}, "is_active"),
        ({"trigger_type": "ON_MONDAY"}, "trigger_type"),
        ({"trigger_type": "ON_MONDAY", "triggers": []}, "trigger_type"),
        ({"nmae": "W"}, "nmae"),
        ({"config": []}, "config"),
        ({"config": {"x": "y" * 70_000}}, "config"),
        ({"config": {"x": 2**70}}, "config.x"),
        ({"config": nested(70)}, "config"),
        ({"timezone": "Europe/Paris"}, "timezone"),
        ({"schedule": "every day"}, "schedule"),
        ({"schedule": "0 2 * * *", "timezone": "Mars/Olympus"}, "timezone"),
        ({"steps": {}}, "steps"),
        ({"steps": [TRANSFORM] * 101}, "steps"),
        ({"steps": ["TRANSFORM"]}, "steps.0"),
        ({"steps": [{"config": {}}]}, "steps.0.step_type"),
        (step(stpe_type="x"), "steps.1.stpe_type"),
        (step(step_type="BREW_COFFEE"), "steps.1.step_type"),
        (step(identifier="-x"), "steps.1.identifier"),
        (step(order=-1), "steps.1.order"),
        (step(order=1.5), "steps.1.order"),
        (step(is_required=None), "steps.1.is_required"),
        (step(depends_on=["transform", "nobody"]), "steps.1.depends_on.1"),
        (step(depends_on=["transform-2"]), "steps.1.depends_on.0"),
        (step(config={"outptu": {}}), "steps.1.config.outptu"),
        (step(config={"output": []}), "steps.1.config.output"),
        (step(config={"output": {"x": "{{ trigger. }}"}}), "steps.1.config.output.x"),
        (step(config={"output": {"x": "a\0b"}}), "steps.1.config.output.x"),
        (step(step_type="OPTIMIZE_ASSETS", config={"quality": 1000}), "steps.1.config.quality"),
        (step(config={"timeout_seconds": 0}), "steps.1.config.timeout_seconds"),
        (step(config={"timeout_seconds": "{{ trigger.data.s }}"}), "steps.1.config.timeout_seconds"),
        (step(config={"timeout_seconds": SETTINGS.step_soft_time_limit + 1}), "steps.1.config.timeout_seconds"),
        (step(config={"retry": {"NETWORK_ERROR": {"factor": 0}}}), "steps.1.config.retry.NETWORK_ERROR.factor"),
        (step(config={"retry": {"HICCUP": {"max_retries": 1}}}), "steps.1.config.retry"),
        ({"config": {"retry": {"max_retries": "many"}}}, "config.retry.max_retries"),
        (for_each("TRANSFORM", outptu=1), "steps.0.config.step.config.outptu"),
        (for_each("TRANSFORM", retry={}), "steps.0.config.step.config.retry"),
        (for_each("BREW_COFFEE"), "steps.0.config.step.step_type"),
        (for_each("WAIT", seconds=1), "steps.0.config.step.step_type"),
        (for_each("FOR_EACH"), "steps.0.config.step.step_type"),
        ({"steps": [{"step_type": "FOR_EACH", "config": {"items": [], "step": "{{ item }}"}}]}, "steps.0.config.step"),
        (step(conditions={"field": "x", "operator": "~~"}), "steps.1.conditions.operator"),
        (step(conditions={"field": "x", "operator": "changed"}), "steps.1.conditions.operator"),
        ({"steps": [TRANSFORM | {"identifier": "a", "depends_on": ["b"]},
                    TRANSFORM | {"identifier": "b", "depends_on": ["a"]}]}, "steps"),
        ({"steps": [TRANSFORM | {"identifier": "a"}, TRANSFORM | {"identifier": "a"}]}, "steps.1.identifier"),
        ({"triggers": [{"trigger_type": "API_CALL"}] * 51}, "triggers"),
        ({"triggers": [{"id": ID, "trigger_type": "API_CALL"}] * 2}, "triggers"),
        (trigger("ON_MONDAY"), "triggers.1.trigger_type"),
        (trigger("SCHEDULED"), "triggers.1.config.cron"),
        (trigger("SCHEDULED", config={"cron": "0 25 * * *"}), "triggers.1.config.cron"),
        (trigger("SCHEDULED", config={"cron": "0 2 * * *", "croon": 1}), "triggers.1.config.croon"),
        (trigger("EVENT"), "triggers.1.event_type"),
        (trigger("ON_PUBLISH", event_type="page.updated"), "triggers.1.event_type"),
        (trigger("ON_PUBLISH", conditions={"field": "x"}), "triggers.1.conditions"),
        (trigger("ON_PUBLISH", secret="whsec_x"), "triggers.1.secret"),
        (trigger("WEBHOOK", secret="short"), "triggers.1.secret"),
        (trigger("WEBHOOK", id="not-a-uuid"), "triggers.1.id"),
        (trigger("FILE_CHANGE", config={"root": "/etc"}), "triggers.1.config.root"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_at_its_place(body: dict[str, Any], field: str) -> None:
    found, said = refusal(**body)
    assert found == field or found.startswith(f"{field}.")
    assert said


def test_unknown_keys_are_all_named_with_those_that_are_known() -> None:
    field, said = refusal(steps=[{"type": "TRANSFORM", "needs": [], "step_type": "TRANSFORM"}])

    assert field == "steps.0.type"
    assert "steps.0.needs" in said
    assert "step_type" in said


def test_a_wrong_secret_is_not_repeated_in_the_refusal() -> None:
    _, said = refusal(**trigger("WEBHOOK", secret="hunter2"))

    assert "hunter2" not in said


def test_a_template_stands_for_a_value_that_is_not_known_yet() -> None:
    draft = parsed(steps=[{"step_type": "OPTIMIZE_ASSETS", "config": {"quality": "{{ trigger.data.quality }}"}}])

    assert draft.steps is not None
    assert draft.steps[0].config == {"quality": "{{ trigger.data.quality }}"}


def test_beside_a_template_the_rest_of_a_config_is_still_checked() -> None:
    config = {"minify": "{{ trigger.data.minify }}", "optimize_images": "perhaps"}

    assert refusal(steps=[{"step_type": "COMPILE_PAGES", "config": config}])[0] == "steps.0.config.optimize_images"
    config = {"minify": True, "minfiy": "{{ trigger.data.minify }}"}
    assert refusal(steps=[{"step_type": "COMPILE_PAGES", "config": config}])[0] == "steps.0.config.minfiy"


def test_a_step_may_say_how_it_is_retried_and_how_long_it_may_take_whatever_its_type() -> None:
    options = {"retry": {"NETWORK_ERROR": {"max_retries": 8, "backoff": 10}}, "timeout_seconds": 20}

    draft = parsed(steps=[TRANSFORM | {"config": {"output": {}, **options}}], config={"retry": {"max_retries": 1}})

    assert draft.steps is not None
    assert draft.steps[0].config == {"output": {}, **options}


def test_the_step_of_a_for_each_may_use_its_item() -> None:
    assert parsed(**for_each("TRANSFORM", output={"page": "{{ item.id }}", "place": "{{ index }}"})).steps


def test_steps_may_wait_for_each_other_in_any_shape_without_a_circle() -> None:
    steps = [
        TRANSFORM | {"identifier": "last", "depends_on": ["left", "right"]},
        TRANSFORM | {"identifier": "left", "depends_on": ["first"]},
        TRANSFORM | {"identifier": "right", "depends_on": ["first"]},
        TRANSFORM | {"identifier": "first", "order": 0},
    ]

    assert len(parsed(steps=steps).steps or ()) == 4


@pytest.mark.parametrize("raw", [[], "x", None, 7])
def test_a_body_that_is_no_object_is_refused(raw: object) -> None:
    for parse in (parse_workflow, parse_workflow_patch, parse_trigger, parse_new_trigger):
        with pytest.raises(RefusedError):
            parse(raw, SETTINGS)
    with pytest.raises(RefusedError):
        parse_trigger_patch(raw)


# --- changes --------------------------------------------------------------------------------------------------


def test_a_patch_says_nothing_of_what_it_leaves_out() -> None:
    draft = patched(is_active=False)

    assert (draft.columns, draft.steps, draft.triggers, draft.identity) == ({"is_active": False}, None, None, {})


def test_a_patch_has_no_schedule_of_its_own() -> None:
    with pytest.raises(RefusedError) as refused:
        patched(schedule="0 2 * * *")
    assert refused.value.field == "schedule"


def test_a_patch_of_a_trigger_is_what_is_given() -> None:
    assert parse_trigger_patch({"is_active": False, "config": {}, "id": ID}) == {"is_active": False, "config": {}}


def test_a_new_trigger_names_its_workflow() -> None:
    with pytest.raises(RefusedError) as refused:
        parse_new_trigger({"trigger_type": "API_CALL"}, SETTINGS)
    assert refused.value.field == "workflow_id"
