"""Workflows as YAML: the text is read as what it was written from, and what could mislead is refused. No database."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.authoring.documents import file_name, id_of, parse_text, to_text
from automation.errors import RefusedError
from automation.models import Trigger, Workflow, WorkflowStep

ID = UUID("6f1c39b0-54a9-4c3b-9f6e-6b7c1f0c8f11")

# whatever YAML could take for something else, beside any text at all
_odd = st.from_regex(r"[-+0-9.eE_:xobynYNtrufals~<=\n \t#&*!|>%@`'\"\x85\u2028]{0,8}")
_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | _odd
_words = st.sampled_from(["on", "yes", "NO", "null", "~", "1", "1.0", "1e3", "0o7", "12:30", "2026-01-15", "<<", "="])
_leaves = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.recursive(
    _leaves | _texts | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts | _words, inner, max_size=3),
    max_leaves=10,
)


def workflow(**values: Any) -> Workflow:
    defaults: dict[str, Any] = {
        "id": ID, "name": "Tell the team", "kind": "custom-workflow", "project_id": "shop", "description": "",
        "trigger_type": "API_CALL", "is_active": True, "config": {}, "steps": [], "triggers": [],
    }  # fmt: skip
    return Workflow(**defaults | values)


def step(identifier: str, order: int, **values: Any) -> WorkflowStep:
    defaults: dict[str, Any] = {
        "step_type": "TRANSFORM", "depends_on": [], "config": {}, "conditions": {}, "is_required": True,
    }  # fmt: skip
    return WorkflowStep(identifier=identifier, order=order, **defaults | values)


def trigger(trigger_type: str, **values: Any) -> Trigger:
    defaults: dict[str, Any] = {"event_type": "", "conditions": {}, "config": {}, "is_active": True}
    return Trigger(trigger_type=trigger_type, **defaults | values)


def test_a_document_says_what_is_not_so_by_itself_and_in_one_order() -> None:
    shown = to_text(
        workflow(
            triggers=[trigger("WEBHOOK"), trigger("ON_PUBLISH", is_active=False)],
            steps=[
                step("second", 2, config={"output": {"b": 1, "a": "x\ny\n"}}),
                step("first", 1, is_required=False),
            ],
        )
    )

    assert shown == (
        "id: 6f1c39b0-54a9-4c3b-9f6e-6b7c1f0c8f11\n"
        "name: Tell the team\n"
        "kind: custom-workflow\n"
        "project_id: shop\n"
        "trigger_type: API_CALL\n"
        "triggers:\n"
        "- trigger_type: ON_PUBLISH\n"
        "  is_active: false\n"
        "- trigger_type: WEBHOOK\n"
        "steps:\n"
        "- identifier: first\n"
        "  step_type: TRANSFORM\n"
        "  order: 1\n"
        "  is_required: false\n"
        "- identifier: second\n"
        "  step_type: TRANSFORM\n"
        "  order: 2\n"
        "  config:\n"
        "    output:\n"
        "      a: |\n"
        "        x\n"
        "        y\n"
        "      b: 1\n"
    )


@given(values, _texts)
def test_what_is_written_is_read_as_it_was(value: Any, name: str) -> None:
    made = workflow(name=name, config={"value": value})

    read = parse_text(to_text(made))

    assert read["name"] == name
    # 1, 1.0 and true are equal in Python, and are not the same
    assert repr(ordered(read["config"]["value"])) == repr(ordered(value))


def ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return [(key, ordered(value[key])) for key in sorted(value)]
    return [ordered(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "line 1"),
        ("name: a\nname: b", "line 2: the key 'name' is there twice"),
        ("config:\n  1: x", "line 2: the key 1 is no text"),
        ("config: &a [*a]", "line 1: aliases"),
        ("config: !!python/object/apply:os.system [ls]", "line 1: tags"),
        ("config: !!timestamp 2026-01-15", "line 1: tags"),
        ("config: " + "[" * 20_000, "nested too deeply"),
        ("config: \x01", "no YAML"),
        ("name: a\n---\nname: b", "another document"),
        ("- name: a", "expected an object, got list"),
        ("", "expected an object"),
        ("triggers: [{trigger_type: WEBHOOK, secret: whsec_x}]", "a file has no secrets"),
    ],
)
def test_a_text_that_is_no_document_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(RefusedError, match=said) as refused:
        parse_text(text)
    assert "whsec_x" not in str(refused.value)


def test_times_and_words_that_yaml_has_a_meaning_for_are_texts() -> None:
    assert parse_text("until: 2026-01-15T10:30:00Z\non: yes\nat: 12:30") == {
        "until": "2026-01-15T10:30:00Z", "on": "yes", "at": "12:30",
    }  # fmt: skip


@pytest.mark.parametrize("wrong", ["7", "[]", "not-an-id"])
def test_an_id_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(RefusedError) as refused:
        id_of(parse_text(f"id: {wrong}"))
    assert refused.value.field == "id"


def test_a_file_is_named_for_people_and_differs_from_others_of_the_same_name() -> None:
    assert file_name(workflow(name="Prévenir l'équipe !")) == "prevenir-l-equipe-6f1c39b0.yaml"
    assert file_name(workflow(name="日本")) == "workflow-6f1c39b0.yaml"
    assert "/" not in file_name(workflow(name="../../etc/passwd"))
    of_system = [file_name(workflow(kind="auto-save", project_id=one, name="Auto-save")) for one in ("a", "b", "a")]
    assert of_system[0] == of_system[2] != of_system[1]
