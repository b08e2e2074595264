"""What counts as a page document, and how its faults are told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.errors import ValidationError
from automation.runtime.documents import COMPONENT_TYPES, MAX_COMPONENTS, check_page, load_page
from tests.unit.runtime.samples import component, configs, page

rubbish = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "route",
                    "name",
                    "config",
                    "components",
                    "children",
                    "position",
                    "type",
                    "fields",
                    "x",
                    "y",
                    "width",
                    "height",
                    "styles",
                    "version",
                ]
            )
            | st.text(),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


def test_a_page_with_every_component_type_is_fine() -> None:
    kinds = configs("text")
    assert set(kinds) == COMPONENT_TYPES
    assert check_page(page(*(component(kind, config) for kind, config in kinds.items() if kind != "Form"))) == []


def test_a_page_without_layout_styles_and_components_is_fine() -> None:
    assert check_page({"id": "p", "name": "", "route": "/", "config": {}}) == []
    assert check_page(page(config={"styles": None, "layout": None, "breakpoints": None})) == []


def test_keys_that_we_do_not_know_are_welcome() -> None:
    known = component("Text", {"content": "x", "novelty": [1, {}]}, styles={"glow": 3}, locked=True)
    assert check_page(page(known, config={"grid": 12, "styles": {"novelty": 1}}, slug="home")) == []


@pytest.mark.parametrize(
    ("position", "fault"),
    [
        ({"x": 14, "y": 0, "width": 1, "height": 1}, "position.x: must be 0..11, is 14"),
        ({"x": 8, "y": 0, "width": 6, "height": 1}, "position: x + width must be at most 12, is 8 + 6"),
        ({"x": 0, "y": -1, "width": 6, "height": 1}, "position.y: must be 0..10000, is -1"),
        ({"x": 0, "y": 0, "width": 0, "height": 1}, "position.width: must be 1..12, is 0"),
        (
            {"x": "left", "y": 0, "width": 1, "height": 1},
            "position.x: must be a valid integer, unable to parse string as an integer, is 'left'",
        ),
        ({"x": 0, "y": 0, "width": 1}, "position.height: is missing"),
        ({"x": True, "y": 0, "width": 1, "height": 1}, "position.x: must be a whole number, is true"),
        ([], "position: must be a valid dictionary or instance of Position, is a list"),
    ],
)
def test_a_wrong_position_names_component_field_and_value(position: Any, fault: str) -> None:
    hero = {"id": "hero", "type": "Header", "position": position}
    assert check_page(page(hero)) == [f"component 'hero' (Header): {fault}"]


def test_a_fault_of_a_nested_component_names_that_component() -> None:
    inner = {**component("Card"), "position": {"x": 12, "y": 0, "width": 1, "height": 1}}
    faults = check_page(page(component("Grid", children=[inner])))
    assert faults == ["component 'card' (Card): position.x: must be 0..11, is 12"]


def test_a_component_without_an_id_is_named_by_its_place() -> None:
    nameless = {**component("Text"), "id": None}
    assert check_page(page(component("Menu"), nameless)) == [
        "component at components.1 (Text): id: must be a valid string, is null"
    ]


def test_an_unknown_type_and_a_repeated_id_are_faults() -> None:
    faults = check_page(page(component("Text"), component("Text"), component("Carousel")))
    assert faults[0] == "component 'text' (Text): id: 'text' is used twice in this page"
    assert faults[1].startswith("component 'carousel' ('Carousel'): type: 'Carousel' is unknown; known are Audio,")


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ("name", "config.fields: must be a list, is 'name'"),
        ([3], "config.fields.0: must be an object, is 3"),
        ([{"type": "text"}], "config.fields.0.name: must be a text of 1 to 128 characters, is null"),
        ([{"name": "a", "type": "colour"}], "config.fields.0.type: 'colour' is unknown; known are checkbox,"),
        ([{"name": "a", "required": "yes"}], "config.fields.0.required: must be true or false, is 'yes'"),
        ([{"name": "a"}, {"name": "a"}], "config.fields.1.name: 'a' is used twice in this form"),
    ],
)
def test_a_wrong_form_field_is_named(fields: Any, fault: str) -> None:
    (found,) = check_page(page(component("Form", {"fields": fields})))
    assert found.startswith(f"component 'form' (Form): {fault}")


def test_more_than_a_hundred_components_are_refused_and_nested_ones_count() -> None:
    inner = [component("Text") | {"id": f"t{number}"} for number in range(MAX_COMPONENTS - 1)]
    assert check_page(page(component("Grid", children=inner))) == []
    assert check_page(page(component("Menu"), component("Grid", children=inner))) == [
        "page: components: must be at most 100 in all, are 101"
    ]


def test_five_levels_are_fine_and_six_are_not() -> None:
    nested = component("Text")
    for level in range(4):
        nested = component("Container", children=[nested]) | {"id": f"level-{level}"}
    assert check_page(page(nested)) == []
    assert check_page(page(component("Grid", children=[nested]))) == ["page: components: must be nested at most 5 deep"]


def test_a_document_of_more_than_a_megabyte_is_refused() -> None:
    (fault,) = check_page(page(component("Text", {"content": "x" * 1024 * 1024})))
    assert fault.startswith("page: must be at most 1,048,576 bytes, is ")


@pytest.mark.parametrize(
    "route",
    [
        "about",
        "",
        "//",
        "/a//b",
        "/../x",
        "/a/../b",
        "/a/.",
        "/.git",
        "/a b",
        "/a\nb",
        "/a\x00",
        "/a\\b",
        "/a%2e",
        "/<b>",
        "/assets",
        "/Assets/x",
        "/index.html",
        "/a/index.html",
        "/404.html",
        "/" + "a" * 61,
        "/a" * 300,
        None,
        7,
        ["/"],
    ],
)
def test_a_route_that_is_no_plain_path_is_refused_whatever_is_checked(route: Any) -> None:
    bad = {**page(), "route": route}
    for switches in ({}, {"check_components": False, "validate_json": False}):
        assert [fault.startswith("page: route: ") for fault in check_page(bad, **switches)] == (
            [True] if route != "//" else []
        )


@pytest.mark.parametrize("route", ["/", "/about", "/about/", "/blog/2026/mon-titre_1.0", "/à-propos", "/关于"])
def test_ordinary_routes_are_fine(route: str) -> None:
    assert check_page({**page(), "route": route}) == []


def test_each_switch_turns_off_its_own_checks() -> None:
    off_grid = component("Carousel") | {"position": {"x": 99, "y": 0, "width": 1, "height": 1}}
    shapeless = component("Text") | {"config": "none"}
    assert check_page(page(off_grid), check_components=False) == []
    assert len(check_page(page(off_grid), validate_json=False)) == 2
    assert check_page(page(shapeless), validate_json=False) == []
    assert check_page(page(shapeless), check_components=False) == [
        "component 'text' (Text): config: must be a valid dictionary, is 'none'"
    ]


def test_a_flood_of_faults_is_cut() -> None:
    faults = check_page(page(*[{}] * 5000))
    assert len(faults) == 51
    assert faults[-1].endswith("more errors")


def test_faults_are_single_lines_without_control_characters() -> None:
    bad = page(component("Te\nxt\x1b[31m") | {"id": "a\r\nERROR forged"}, name=3)
    faults = check_page({**bad, "route": "/\u2028\n"})
    assert len(faults) >= 3
    assert all(fault.isprintable() for fault in faults)


@pytest.mark.parametrize("deep", ["list", "dict", "children"])
def test_bottomless_documents_are_refused(deep: str) -> None:
    bottom: Any = None
    for _ in range(5000):
        bottom = {"list": [bottom], "dict": {"a": bottom}, "children": component("Grid", children=[bottom])}[deep]
    assert len(check_page(page(component("Text", {"content": bottom}, children=[bottom])))) == 1


@pytest.mark.parametrize(
    "value",
    [None, [], 3, 1e400, 10**5000, "x" * 2_000_000, {}, {"config": []}, {1: 2}, "\ud800", {"id": "\ud800"}],
    ids=lambda value: type(value).__name__,
)
def test_values_that_are_no_page_are_faults_and_no_exceptions(value: Any) -> None:
    spread = {"id": value, "type": value, "position": value, "config": value, "children": value}
    for candidate in (value, {"id": value, "route": value, "config": value}, page(value), page(spread)):
        assert all(isinstance(fault, str) and len(fault) < 500 for fault in check_page(candidate))
    assert check_page(value)


@given(rubbish, st.booleans(), st.booleans())
def test_rubbish_never_raises(value: Any, components: bool, shape: bool) -> None:
    for candidate in (
        value,
        {**page(), "config": value},
        page(value),
        page(component("Form", {"fields": value})),
    ):
        faults = check_page(candidate, check_components=components, validate_json=shape)
        assert isinstance(faults, list)


@given(rubbish)
def test_a_page_that_is_fine_can_be_loaded(value: Any) -> None:
    for candidate in ({**page(), "config": value}, page(value)):
        if not check_page(candidate):
            assert load_page(candidate).id == "page-1"


def test_loading_a_shapeless_page_says_what_is_wrong() -> None:
    with pytest.raises(ValidationError, match="page: components: must be a valid list, is 'none'"):
        load_page({**page(), "config": {"components": "none"}})


def test_loading_makes_routes_equal_that_mean_the_same() -> None:
    assert load_page({**page(), "route": "/about/"}).route == "/about"
