"""What changed between two versions of a page."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from automation.runtime.diff import page_changes
from tests.unit.runtime.samples import component, page
from tests.unit.runtime.test_documents import rubbish

NOTHING: dict[str, list[str]] = {"added": [], "removed": [], "moved": [], "edited": [], "page": []}

places = st.fixed_dictionaries({"x": st.integers(0, 11), "y": st.integers(0, 3)})
trees: st.SearchStrategy[Any] = st.recursive(
    st.just([]),
    lambda inner: st.lists(
        st.fixed_dictionaries({
            "id": st.sampled_from("abcdef"), "type": st.sampled_from(["Text", "Grid"]), "position": places,
            "config": st.dictionaries(st.sampled_from("uv"), st.integers(0, 2)), "children": inner,
        }), max_size=4),
    max_leaves=6,
)  # fmt: skip
pages = st.builds(lambda tree, style: page(*tree, config={"styles": style}), trees, st.none() | st.text(max_size=2))


def _put(one: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {**copy.deepcopy(one), **changed}


def test_each_kind_of_change_is_told_apart() -> None:
    kept, gone, moved, edited = (component("Text") | {"id": name} for name in ("kept", "gone", "moved", "edited"))
    before = page(kept, gone, moved, edited)
    after = page(
        kept,
        _put(moved, position={"x": 6, "y": 0, "width": 6, "height": 1}),
        _put(edited, config={"content": "new"}),
        component("Card") | {"id": "new"},
    )
    assert page_changes(before, after) == {
        "added": ["new"], "removed": ["gone"], "moved": ["moved"], "edited": ["edited"], "page": [],
    }  # fmt: skip


def test_a_nested_component_changes_without_its_parent() -> None:
    inner = component("Text", {"content": "a"})
    before = page(component("Grid", children=[inner]))
    after = page(component("Grid", children=[_put(inner, config={"content": "b"})]))
    assert page_changes(before, after) == {**NOTHING, "edited": ["text"]}


def test_going_into_another_container_is_a_move() -> None:
    inner = component("Text")
    before = page(component("Grid", children=[inner]), component("Container"))
    after = page(component("Grid"), component("Container", children=[inner]))
    assert page_changes(before, after) == {**NOTHING, "moved": ["text"]}


def test_page_fields_are_named() -> None:
    before = page(config={"styles": {"primaryColor": "red"}, "layout": "grid"})
    after = {**page(config={"styles": {"primaryColor": "blue"}}), "route": "/neu", "version": 9}
    assert sorted(page_changes(before, after)["page"]) == ["layout", "route", "styles"]


def test_of_a_new_page_every_component_is_added() -> None:
    assert page_changes(None, page(component("Grid", children=[component("Text")]))) == {
        **NOTHING, "added": ["grid", "text"],
    }  # fmt: skip


@given(pages)
def test_a_page_does_not_differ_from_its_copy(one: dict[str, Any]) -> None:
    assert page_changes(one, copy.deepcopy(one)) == NOTHING


@given(pages, pages)
def test_the_way_back_adds_what_the_way_there_removed(one: dict[str, Any], other: dict[str, Any]) -> None:
    there, back = page_changes(one, other), page_changes(other, one)
    assert there["added"] == back["removed"]
    assert there["removed"] == back["added"]
    assert set(there["moved"]) == set(back["moved"])
    assert set(there["edited"]) == set(back["edited"])
    assert set(there["page"]) == set(back["page"])


@given(pages, pages)
def test_no_component_is_both_new_and_changed(one: dict[str, Any], other: dict[str, Any]) -> None:
    changes = page_changes(one, other)
    named = changes["added"] + changes["removed"]
    assert len(set(named)) == len(named)
    assert not set(named) & set(changes["moved"] + changes["edited"])


@given(rubbish, rubbish)
def test_rubbish_documents_are_compared_without_an_exception(one: Any, other: Any) -> None:
    for before, after in ((one, other), (page(one), page(other)), ({"config": one}, {"config": other})):
        assert set(page_changes(before, after)) == set(NOTHING)


def test_a_bottomless_document_is_compared() -> None:
    def bottomless() -> Any:
        bottom: Any = None
        for _ in range(5000):
            bottom = {"a": [bottom]}
        return bottom

    before, after = page(component("Text", {"a": bottomless()})), page(component("Text", {"a": bottomless()}))
    assert page_changes(before, after)["edited"] == ["text"]
