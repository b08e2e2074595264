"""The condition language: what each operator answers, what is refused, and that nothing hangs or breaks it."""

import threading
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.conditions import MISSING, SCHEMA, changed_fields, check, explain, holds, look_up
from automation.errors import RefusedError

EVENT: dict[str, Any] = {
    "type": "page.updated",
    "data": {
        "page": {"id": 7, "title": "Über uns", "config": {"layout": "grid", "columns": 3, "ratio": 1.5}},
        "items": [{"id": "a"}, {"id": "b", "tags": ["new", 1]}],
        "draft": True,
        "note": None,
        "0": "zero",
    },
}


def leaf(field: str, operator: str, *value: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, **({"value": value[0]} if value else {})}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("type", "page.updated"),
        ("data.page.config.columns", 3),
        ("data.items.1.id", "b"),
        ("data.items.1.tags.0", "new"),
        ("data.0", "zero"),
        ("data.note", None),
        ("data.items.2.id", MISSING),
        ("data.items.-1.id", MISSING),
        ("data.items.²", MISSING),
        ("data.items.99999999999999999999", MISSING),
        ("data.items.length", MISSING),
        ("data.page.title.0", MISSING),
        ("data.note.x", MISSING),
        ("data.items.append", MISSING),
        ("data.page.__class__", MISSING),
        ("", MISSING),
        ("data..page", MISSING),
    ],
)
def test_a_path_finds_members_of_objects_and_lists_and_nothing_else(path: str, value: Any) -> None:
    assert look_up(EVENT, path) is value or look_up(EVENT, path) == value is not MISSING


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (leaf("type", "==", "page.updated"), True),
        (leaf("type", "==", "page"), False),
        (leaf("data.page.config.columns", "==", 3.0), True),
        (leaf("data.page.config.columns", "==", "3"), False),
        (leaf("data.draft", "==", True), True),
        (leaf("data.draft", "==", 1), False),
        (leaf("data.items.1.tags", "==", ["new", 1.0]), True),
        (leaf("data.items.1.tags", "==", ["new", True]), False),
        (leaf("data.items.0", "==", {"id": "a"}), True),
        (leaf("data.items.0", "==", {"id": "a", "more": 1}), False),
        (leaf("data.note", "==", None), True),
        (leaf("data.none", "==", None), False),
        (leaf("data.page.id", "!=", 8), True),
        (leaf("data.page.id", "!=", "7"), True),
        (leaf("data.page.id", "!=", 7), False),
        (leaf("data.none", "!=", 7), True),
        (leaf("data.page.config.columns", ">", 2.5), True),
        (leaf("data.page.config.columns", ">", 3), False),
        (leaf("data.page.config.columns", ">=", 3), True),
        (leaf("data.page.config.ratio", "<", 2), True),
        (leaf("data.page.config.ratio", "<=", 1.4), False),
        (leaf("type", ">", "page"), True),
        (leaf("type", ">", 1), False),
        (leaf("type", "<", 1), False),
        (leaf("data.draft", ">=", 1), False),
        (leaf("data.items", ">", 0), False),
        (leaf("data.none", "<", 1), False),
        (leaf("data.page.config.layout", "in", ["list", "grid"]), True),
        (leaf("data.page.config.layout", "in", []), False),
        (leaf("data.draft", "in", [1, "true"]), False),
        (leaf("data.none", "in", [None]), False),
        (leaf("data.page.config.layout", "not_in", ["list"]), True),
        (leaf("data.page.config.layout", "not_in", ["grid"]), False),
        (leaf("data.none", "not_in", [None]), True),
        (leaf("data.page.title", "contains", "uns"), True),
        (leaf("data.page.title", "contains", "UNS"), False),
        (leaf("data.page.title", "contains", 1), False),
        (leaf("data.items.1.tags", "contains", 1), True),
        (leaf("data.items.1.tags", "contains", True), False),
        (leaf("data.page", "contains", "config"), True),
        (leaf("data.page", "contains", "grid"), False),
        (leaf("data.page", "contains", ["config"]), False),
        (leaf("data.page.id", "contains", 7), False),
        (leaf("type", "starts_with", "page."), True),
        (leaf("type", "starts_with", "updated"), False),
        (leaf("data.page.id", "starts_with", "7"), False),
        (leaf("type", "ends_with", ".updated"), True),
        (leaf("data.items", "ends_with", "b"), False),
        (leaf("type", "matches", r"^page\.(created|updated)$"), True),
        (leaf("type", "matches", "upd"), True),
        (leaf("type", "matches", "^upd"), False),
        (leaf("data.page.title", "matches", r"^\pL+ \w{3}$"), True),
        (leaf("data.page.id", "matches", "7"), False),
        (leaf("data.note", "exists"), True),
        (leaf("data.note", "exists", True), True),
        (leaf("data.note", "exists", False), False),
        (leaf("data.none", "exists"), False),
        (leaf("data.none", "exists", False), True),
        ({}, True),
        (None, True),
        ({"all": []}, True),
        ({"not": {"all": []}}, False),
        ({"all": [leaf("data.draft", "==", True), leaf("data.page.id", "==", 7)]}, True),
        ({"all": [leaf("data.draft", "==", True), leaf("data.page.id", "==", 8)]}, False),
        ({"any": [leaf("data.draft", "==", False), leaf("data.page.id", "==", 7)]}, True),
        ({"any": [leaf("data.draft", "==", False), leaf("data.page.id", "==", 8)]}, False),
        ({"not": leaf("data.page.id", "==", 8)}, True),
        ({"not": {"any": [leaf("data.page.id", "==", 8), {"not": leaf("data.draft", "exists")}]}}, True),
    ],
)
def test_a_condition_that_is_saved_answers_as_documented(condition: Any, expected: bool) -> None:
    check(condition)
    jsonschema.validate(condition, SCHEMA)
    verdict = holds(condition, EVENT)
    assert verdict.holds is expected
    assert bool(verdict.reason) is not expected
    assert explain(condition, EVENT)[0] == verdict


@pytest.mark.parametrize(
    ("previous", "expected"),
    [
        (None, True),
        ({}, True),
        ({"data.page.id": 7}, False),
        ({"data.page.id": 7.0}, False),
        ({"data.page.id": "7"}, True),
        ({"data.page.id": None}, True),
        ({"data.draft": True}, True),
    ],
)
def test_a_field_has_changed_when_it_differs_from_the_last_event(previous: Any, expected: bool) -> None:
    assert holds(leaf("data.page.id", "changed"), EVENT, previous).holds is expected


def test_a_field_that_went_away_has_changed_and_one_that_never_was_has_not() -> None:
    assert holds(leaf("data.none", "changed"), EVENT, {"data.none": None}).holds
    assert not holds(leaf("data.none", "changed"), EVENT, {}).holds


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        (
            {"all": [leaf("data.page.config.layout", "==", "flex")]},
            'all.0: data.page.config.layout == "flex" does not hold: it is "grid"',
        ),
        (leaf("data.draft", "==", False), "data.draft == false does not hold: it is true"),
        (leaf("data.none", ">", 1), "data.none > 1 does not hold: it is not there"),
        (leaf("data.none", "exists"), "data.none exists does not hold: it is not there"),
        ({"all": [leaf("type", "exists"), {"not": leaf("data.page.id", "in", [6, 7])}]},
         "all.1.not: data.page.id in [6, 7] holds: it is 7"),
        ({"any": [leaf("data.page.id", "==", 1), leaf("data.page.id", "==", 2)]},
         "any.0: data.page.id == 1 does not hold: it is 7"),
        ({"not": {"any": [leaf("data.page.id", "==", 1), leaf("data.draft", "==", True)]}},
         "not.any.1: data.draft == true holds: it is true"),
        ({"not": {"all": []}}, "not.all: an empty list holds"),
        (leaf("data.items", "==", 1),
         'data.items == 1 does not hold: it is [{"id": "a"}, {"id": "b", "tags": ["new", 1]}]'),
    ],
)  # fmt: skip
def test_the_reason_names_the_first_thing_that_made_it_false(condition: Any, reason: str) -> None:
    assert holds(condition, EVENT).reason == reason


def test_a_reason_is_one_short_line_whatever_the_event_holds() -> None:
    hostile = "\n\x1b[31m\x7f\u2028\u202e\x85" + "x" * 100_000
    for value in (hostile, [hostile] * 1000, {hostile: hostile}, {"a": {"b": {"c": {"d": [hostile]}}}}, 10**300):
        reason = holds(leaf("x", "==", 1), {"x": value}).reason
        assert reason.isprintable()
        assert len(reason) < 160


def test_explaining_lists_the_leaves_that_were_reached_in_order() -> None:
    condition = {
        "all": [
            {"any": [leaf("data.page.id", "==", 7), leaf("never", "exists")]},
            leaf("data.none", "exists"),
            leaf("never", "exists"),
        ]
    }
    verdict, leaves = explain(condition, EVENT)
    assert verdict.reason == "all.1: data.none exists does not hold: it is not there"
    assert [(seen.path, seen.found, seen.missing, seen.expected, seen.holds) for seen in leaves] == [
        ("all.0.any.0", 7, False, 7, True),
        ("all.1", None, True, True, False),
    ]


def nested(levels: int) -> Any:
    condition: Any = leaf("type", "exists")
    for _ in range(levels - 1):
        condition = {"not": condition}
    return condition


@pytest.mark.parametrize(
    ("conditions", "field"),
    [
        ([], "conditions"),
        ("data.x == 1", "conditions"),
        (True, "conditions"),
        ({"every": []}, "conditions"),
        ({"all": [], "any": []}, "conditions"),
        ({"all": {}}, "conditions.all"),
        ({"all": [{}]}, "conditions.all.0"),
        ({"any": []}, "conditions.any"),
        ({"not": {}}, "conditions.not"),
        ({"not": [leaf("x", "exists")]}, "conditions.not"),
        ({"all": [leaf("x", "exists"), 7]}, "conditions.all.1"),
        ({"all": [{"field": "x"}]}, "conditions.all.0.operator"),
        ({"all": [{"operator": "exists"}]}, "conditions.all.0.field"),
        ({"all": [leaf("x", "=~", 1)]}, "conditions.all.0.operator"),
        ({"all": [{"field": "x", "operator": ["=="], "value": 1}]}, "conditions.all.0.operator"),
        ({"any": [{"not": leaf("x", "==")}]}, "conditions.any.0.not.value"),
        ({**leaf("x", "==", 1), "valeu": 2}, "conditions"),
        ({**leaf("x", "==", 1), "all": []}, "conditions"),
        (leaf("", "exists"), "conditions.field"),
        (leaf("a..b", "exists"), "conditions.field"),
        (leaf(".a", "exists"), "conditions.field"),
        (leaf("a. b", "exists"), "conditions.field"),
        (leaf("a\nb", "exists"), "conditions.field"),
        (leaf("a\0b", "exists"), "conditions.field"),
        (leaf("x" * 201, "exists"), "conditions.field"),
        (leaf("x", "exists", "yes"), "conditions.value"),
        (leaf("x", "changed", True), "conditions.value"),
        (leaf("x", ">", None), "conditions.value"),
        (leaf("x", ">", True), "conditions.value"),
        (leaf("x", "in", "abc"), "conditions.value"),
        (leaf("x", "not_in", {"a": 1}), "conditions.value"),
        (leaf("x", "in", [0] * 1001), "conditions.value"),
        (leaf("x", "starts_with", 1), "conditions.value"),
        (leaf("x", "ends_with", ["a"]), "conditions.value"),
        (leaf("x", "matches", 1), "conditions.value"),
        (leaf("x", "matches", "(a"), "conditions.value"),
        (leaf("x", "matches", "(?=a)"), "conditions.value"),
        (leaf("x", "matches", r"(a)\1"), "conditions.value"),
        (leaf("x", "matches", "a" * 1001), "conditions.value"),
        (leaf("x", "matches", "(a{1000}){1000}"), "conditions.value"),
        (leaf("x", "matches", "a{1001}"), "conditions.value"),
        (leaf("x", "matches", r"\pL{900}"), "conditions.value"),
        (leaf("x", "==", "a\0b"), "conditions.value"),
        (leaf("x", "==", {"a\0b": 1}), "conditions.value"),
        (leaf("x", "==", float("nan")), "conditions"),
        (leaf("x", "==", "\ud800"), "conditions"),
        (leaf("x", "==", "x" * 32 * 1024), "conditions"),
        (leaf("x", "==", [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]), "conditions.value"),
        ({"all": [leaf("x", "exists")] * 200}, "conditions"),
        ({"all": [leaf("x", "matches", f"[ab]{{900}}{n}") for n in range(3)]}, "conditions.all.2.value"),
    ],
)
def test_a_wrong_condition_is_refused_with_the_place_of_the_fault(conditions: Any, field: str) -> None:
    with pytest.raises(RefusedError) as caught:
        check(conditions)
    assert caught.value.field == field
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_what_is_refused_is_named() -> None:
    with pytest.raises(RefusedError, match=r"\"=~\" is none of ==, !=, >, >=, <, <=, in, not_in"):
        check(leaf("x", "=~", 1))
    with pytest.raises(RefusedError, match='"valeu" is unknown'):
        check({**leaf("x", "==", 1), "valeu": 2})
    with pytest.raises(RefusedError, match="refused by RE2: missing \\)"):
        check(leaf("x", "matches", "(a"))


def test_the_limits_themselves_are_allowed() -> None:
    check({"all": [leaf("x", "exists")] * 199})
    check(leaf("x", "in", [0] * 1000))
    check(leaf("x" * 200, "exists"))
    check(leaf("x", "matches", "a" * 1000))
    check(nested(16))


def test_groups_that_nest_too_deep_are_refused() -> None:
    for levels in (17, 500, 5000):
        with pytest.raises(RefusedError):
            check(nested(levels))


def test_a_step_has_no_past_to_compare_with() -> None:
    condition = {"all": [leaf("x", "exists"), leaf("x", "changed")]}
    check(condition, field="steps.0.conditions")
    with pytest.raises(RefusedError) as caught:
        check(condition, field="steps.0.conditions", changed=False)
    assert caught.value.field == "steps.0.conditions.all.1.operator"


def test_the_fields_that_need_a_past_are_each_named_once() -> None:
    condition = {
        "all": [leaf("b", "changed"), {"not": leaf("a", "changed")}, leaf("b", "changed"), leaf("c", "exists")]
    }
    assert changed_fields(condition) == ("b", "a")
    assert changed_fields({}) == ()
    assert changed_fields({"all": 7}) == ()


@pytest.mark.parametrize(
    "odd",
    [
        7,
        "x",
        [leaf("type", "exists")],
        {"all": "x"},
        {"all": [[]]},
        {"all": [{}]},
        {"not": {"every": []}},
        {"field": "type", "operator": "=="},
        {"field": 7, "operator": "==", "value": 1},
        {"field": "type", "operator": [], "value": 1},
        leaf("type", "in", 7),
        leaf("type", "matches", "("),
        leaf("type", "matches", 7),
        {"not": leaf("type", "like", "x")},
        {"all": [], "any": []},
        nested(100_000),
    ],
)
def test_an_odd_shape_in_the_table_does_not_hold_and_breaks_nothing(odd: Any) -> None:
    verdict = holds(odd, EVENT)
    assert not verdict.holds
    assert verdict.reason.startswith("cannot be read: ")
    assert verdict.reason.isprintable()


def test_values_that_nest_deeper_than_python_recurses_break_nothing() -> None:
    one: Any = 1
    two: Any = 1
    for _ in range(100_000):
        one, two = [one], [two]
    assert not holds(leaf("x", "==", one), {"x": two}).holds
    assert not holds(leaf("x", "changed"), {"x": one}, {"x": two}).holds


def ends(work: Callable[[], object]) -> bool:
    """Whether `work` comes to an end in a time that only something that hangs would need."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    return not thread.is_alive()


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+$", "(a|aa)+$", "(a*)*b", "(.*a){25}x", "(?:a?){400}b", "[ab]*a[ab]{900}x", "(x+x+)+y", "(.?){150}!"],
)
def test_a_hostile_regular_expression_cannot_hang_the_process(pattern: str) -> None:
    condition = leaf("x", "matches", pattern)
    check(condition)
    assert ends(lambda: holds(condition, {"x": "a" * 2_000_000 + "!"}))


def test_only_the_first_64_kib_of_a_text_are_searched() -> None:
    assert holds(leaf("x", "matches", "b"), {"x": "a" * (64 * 1024 - 1) + "b"}).holds
    assert not holds(leaf("x", "matches", "b"), {"x": "a" * 64 * 1024 + "b"}).holds


def test_a_text_that_is_no_utf_8_is_searched_all_the_same() -> None:
    assert holds(leaf("x", "matches", "b$"), {"x": "\ud800b"}).holds


# --- properties ------------------------------------------------------------------------------------------------------

texts = st.sampled_from(["", "a", "ab", "b"])
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner), max_leaves=5
)
roots = st.dictionaries(st.sampled_from("ab"), values)
fields = st.sampled_from(["a", "b", "a.a", "b.a", "a.0", "b.1.a"])
leaves = st.one_of(
    st.builds(leaf, fields, st.sampled_from(["==", "!=", "contains"]), values),
    st.builds(leaf, fields, st.sampled_from([">", ">=", "<", "<="]), st.integers(-3, 3) | texts),
    st.builds(leaf, fields, st.sampled_from(["in", "not_in"]), st.lists(values, max_size=3)),
    st.builds(leaf, fields, st.sampled_from(["starts_with", "ends_with"]), texts),
    st.builds(leaf, fields, st.just("matches"), st.sampled_from(["a", "^a$", "[ab]+b", ""])),
    st.builds(leaf, fields, st.just("exists"), st.booleans()),
    st.builds(leaf, fields, st.sampled_from(["exists", "changed"])),
)  # fmt: skip
good = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda members: {"all": members}, st.lists(inner, max_size=3)),
        st.builds(lambda members: {"any": members}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda member: {"not": member}, inner),
    ),
    max_leaves=8,
)
words = st.sampled_from(
    ["all", "any", "not", "field", "operator", "value", "a", "==", "in", "matches", "exists", "changed", "("]
)
anything = st.recursive(
    scalars | words | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=12,
)


@given(good, roots, st.dictionaries(fields, values))
def test_both_ways_to_decide_agree(condition: Any, root: dict[str, Any], previous: dict[str, Any]) -> None:
    check(condition)
    jsonschema.validate(condition, SCHEMA)
    verdict, seen = explain(condition, root, previous)
    assert holds(condition, root, previous) == verdict
    assert not verdict.reason.startswith("cannot be read")
    for one in seen:
        alone = leaf(one.field, one.operator, *([] if one.operator == "changed" else [one.expected]))
        assert holds(alone, root, previous).holds is one.holds


@given(good, roots, st.dictionaries(fields, values))
def test_not_turns_every_answer_round(condition: Any, root: dict[str, Any], previous: dict[str, Any]) -> None:
    assert holds({"not": condition}, root, previous).holds is not holds(condition, root, previous).holds


@given(st.lists(good, min_size=1, max_size=4), roots)
def test_de_morgan(members: list[Any], root: dict[str, Any]) -> None:
    negated = [{"not": member} for member in members]
    assert holds({"not": {"all": members}}, root).holds is holds({"any": negated}, root).holds
    assert holds({"not": {"any": members}}, root).holds is holds({"all": negated}, root).holds


@given(anything, roots | st.dictionaries(words, anything))
def test_any_json_is_refused_or_decided_and_never_raises(condition: Any, root: dict[str, Any]) -> None:
    verdict = holds(condition, root)
    assert explain(condition, root)[0] == verdict
    try:
        check(condition)
    except RefusedError:
        changed_fields(condition if isinstance(condition, dict) else {})
    else:
        jsonschema.validate(condition, SCHEMA)
        assert not verdict.reason.startswith("cannot be read")
