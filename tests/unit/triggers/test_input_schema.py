from typing import Any

import pytest

from automation.errors import RefusedError
from automation.triggers.input_schema import MAX_BYTES, check_input, check_schema

ORDER = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "https://example.com/order",
    "type": "object",
    "required": ["customer"],
    "properties": {
        "customer": {"$ref": "#/$defs/Customer"},
        "lines": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/Line"}},
        "tags": {"type": "array", "prefixItems": [{"const": "order"}], "items": {"type": "string"}, "maxItems": 3},
    },
    "patternProperties": {"^x-": {"type": "string"}},
    "additionalProperties": False,
    "$defs": {
        "Customer": {"type": "string", "minLength": 1, "pattern": "^[a-z]+$"},
        "Line": {
            "type": "object",
            "required": ["sku", "count"],
            "properties": {"count": {"type": "integer", "minimum": 1}, "sku": {"enum": ["a", "b"]}},
        },
    },
}


def refused(schema: Any) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        check_schema(schema, "input_schema")
    assert str(caught.value).startswith(f"{caught.value.field}: ")
    return caught.value


def wrong(schema: Any, input: Any) -> RefusedError:
    check_schema(schema, "input_schema")
    with pytest.raises(RefusedError) as caught:
        check_input(schema, input)
    return caught.value


# --- inputs -------------------------------------------------------------------------------------------------


def test_an_input_that_suits_its_schema_passes() -> None:
    check_schema(ORDER, "input_schema")

    lines = [{"sku": "a", "count": 1}, {"sku": "a", "count": 2.0}]
    check_input(ORDER, {"customer": "mia", "lines": lines, "tags": ["order", "new"], "x-source": "shop"})
    check_input({}, {"anything": [1, None]})


@pytest.mark.parametrize(
    ("input", "field"),
    [
        ({}, "input.customer"),
        ({"customer": ""}, "input.customer"),
        ({"customer": "MIA"}, "input.customer"),
        ({"customer": 7}, "input.customer"),
        ({"customer": "mia", "lines": [{"sku": "a", "count": 1}, {"sku": "b", "count": 0}]}, "input.lines.1.count"),
        ({"customer": "mia", "lines": [{"sku": "a"}]}, "input.lines.0.count"),
        ({"customer": "mia", "lines": [{"sku": "c", "count": 1}]}, "input.lines.0.sku"),
        ({"customer": "mia", "lines": [{"sku": "a", "count": True}]}, "input.lines.0.count"),
        ({"customer": "mia", "lines": [{"sku": "a", "count": 1}, {"sku": "a", "count": 1.0}]}, "input.lines"),
        ({"customer": "mia", "tags": ["offer"]}, "input.tags.0"),
        ({"customer": "mia", "tags": ["order", "a", "b", "c"]}, "input.tags"),
        ({"customer": "mia", "x-source": 1}, "input.x-source"),
        ({"customer": "mia", "color": "red"}, "input.color"),
    ],
)
def test_what_does_not_suit_is_refused_with_its_place(input: Any, field: str) -> None:
    error = wrong(ORDER, input)

    assert error.field == field
    assert str(error).startswith(f"{field}: ")


def test_one_and_true_are_two_items_one_and_one_point_zero_are_the_same() -> None:
    schema = {"properties": {"a": {"uniqueItems": True}}}
    check_schema(schema, "input_schema")

    check_input(schema, {"a": [1, True, 0, False, "1", [1], [True], {"a": 1}, {"a": True}, None]})
    assert wrong(schema, {"a": [{"a": [1]}, {"a": [1.0]}]}).field == "input.a"


def test_a_large_value_is_not_repeated_in_the_message() -> None:
    message = str(wrong({"properties": {"a": {"type": "integer"}}}, {"a": "x" * 100_000}))

    assert message == "input.a: does not suit type: integer"


# --- schemas that cannot be used ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ([], ""),
        ("object", ""),
        ({"type": "strng"}, ".type"),
        ({"properties": {"a": {"minimum": "1"}}}, ".properties.a.minimum"),
        ({"items": [{"type": "string"}]}, ".items"),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, ".$schema"),
        ({"properties": {"a": {"$schema": "http://json-schema.org/draft-07/schema#"}}}, ".properties.a.$schema"),
        ({"$defs": {"a": {"$id": "https://example.com/a"}}}, ".$defs.a.$id"),
        ({"allOf": [{"unevaluatedProperties": False}]}, ".allOf.0.unevaluatedProperties"),
        ({"$dynamicRef": "#a"}, ".$dynamicRef"),
        ({"properties": {"a": {"pattern": "("}}}, ".properties.a.pattern"),
        ({"properties": {"a": {"pattern": "(?=a)"}}}, ".properties.a.pattern"),
        ({"patternProperties": {r"(a)\1": {}}}, ".patternProperties"),
    ],
)
def test_a_schema_that_is_none_or_has_what_is_not_allowed_is_refused_with_its_place(schema: Any, field: str) -> None:
    assert refused(schema).field == f"input_schema{field}"


@pytest.mark.parametrize(
    "ref",
    [
        "https://example.com/schema",
        "http://127.0.0.1:1/",
        "file:///etc/passwd",
        "other.json",
        "#/$defs/missing",
        "#anchor",
        "#/x-data",
        "#/properties/a/const",
    ],
)
def test_a_reference_out_of_the_schema_is_refused_and_never_fetched(ref: str) -> None:
    schema = {"properties": {"a": {"const": {"type": 7}}, "b": {"$ref": ref}}, "x-data": {"pattern": "("}}

    assert refused(schema).field == "input_schema.properties.b.$ref"


def test_references_may_lead_to_any_schema_inside_also_to_itself() -> None:
    tree = {"properties": {"children": {"type": "array", "items": {"$ref": "#"}}, "a/b": {"type": "integer"}}}
    tree["properties"]["copy"] = {"$ref": "#/properties/a~1b"}

    check_schema(tree, "input_schema")
    assert wrong(tree, {"children": [{"children": [{"children": 1}]}]}).field == "input.children.0.children.0.children"
    assert wrong(tree, {"copy": "x"}).field == "input.copy"


def test_a_schema_that_is_too_large_or_too_deep_is_refused() -> None:
    assert str(MAX_BYTES) in str(refused({"description": "x" * MAX_BYTES}))
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"not": deep}
    assert "deeper" in str(refused(deep))


# --- hostile ones end ---------------------------------------------------------------------------------------


def test_a_hostile_expression_does_not_hang() -> None:
    schema = {"properties": {"a": {"pattern": "^(a+)+$"}}, "patternProperties": {"^(b|b)*c$": False}}

    assert wrong(schema, {"a": "a" * 50_000 + "!"}).field == "input.a"
    check_input(schema, {"b" * 50_000: 1})


def test_a_large_expression_over_a_large_text_is_given_up() -> None:
    schema = {"properties": {"a": {"pattern": "(a{1,30}){1,30}b"}}}

    assert "steps" in str(wrong(schema, {"a": "a" * 2_000_000}))


def test_definitions_that_double_each_other_are_given_up() -> None:
    levels = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}
    schema = {"$ref": "#/$defs/d0", "$defs": {**levels, "d60": {}}}

    assert "steps" in str(wrong(schema, {}))


def test_a_schema_that_refers_to_itself_without_end_is_given_up() -> None:
    assert "steps" in str(wrong({"$ref": "#"}, {}))
    assert "steps" in str(wrong({"allOf": [{"not": {"$ref": "#"}}]}, {}))


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"uniqueItems": True}, [{"n": [n]} for n in range(150_000)]),
        ({"items": {"enum": list(range(9_000))}}, list(range(-90_000, 0))),
        ({"allOf": [{"additionalProperties": True}] * 1_500}, {str(n): n for n in range(100_000)}),
        ({"anyOf": [{"type": "integer"}] * 2_000}, ["x" * 100] * 10_000),
        ({"items": {"required": [str(n) for n in range(5_000)]}}, [{} for _ in range(10)]),
    ],
)
def test_what_would_take_long_is_given_up_or_decided(schema: Any, value: Any) -> None:
    assert wrong({"properties": {"a": schema}}, {"a": value}).field.startswith("input")


def test_an_input_that_is_too_deep_is_refused() -> None:
    deep: Any = {}
    for _ in range(5000):
        deep = {"a": deep}

    assert "deeper" in str(wrong({"additionalProperties": {"$ref": "#"}}, deep))
