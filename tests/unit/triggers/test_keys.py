"""The keys by which triggers count."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.models.trigger import KEY_LENGTH
from automation.triggers.keys import fitted, key_of, subject

EVENT: dict[str, Any] = {
    "id": "e1",
    "type": "order.paid",
    "data": {
        "project_id": "p1",
        "user_id": "u1",
        "page": {"id": "home", "tags": ["a", "b"]},
        "total": 12.5,
        "count": 3,
        "gift": False,
        "nothing": None,
        "empty": "",
    },
}


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ("project", "p1"),
        ("page", "home"),
        ("user", "u1"),
        ("type", "order.paid"),
        ("data.total", "12.5"),
        ("data.count", "3"),
        ("data.gift", "false"),
        ("data.empty", ""),
        ("data.page.tags.1", "b"),
        ("data.page.tags", '["a","b"]'),
        ("{{ data.page.id }}", "home"),
        ("{{ data.user_id }}/{{ data.count }}", "u1/3"),
        ("{{ data.count }}", "3"),
    ],
)
def test_a_key_is_a_field_a_name_or_a_template_as_text(spec: str, key: str) -> None:
    assert key_of(spec, EVENT) == key


@pytest.mark.parametrize(
    "spec", ["data.absent", "data.nothing", "data.page.tags.9", "{{ data.absent }}", "data.total.x"]
)
def test_an_event_that_lacks_the_key_has_none(spec: str) -> None:
    assert key_of(spec, EVENT) is None


def test_a_page_is_the_subject_of_its_events_and_a_project_of_all_others() -> None:
    assert subject(EVENT) == "home"
    assert subject({"data": {"project_id": "p1"}}) == "p1"
    assert subject({"data": {}}) == ""


@given(st.text(min_size=0, max_size=2 * KEY_LENGTH), st.text(min_size=0, max_size=2 * KEY_LENGTH))
def test_keys_fit_their_column_and_different_ones_stay_different(a: str, b: str) -> None:
    a, b = "x" * 250 + a, "x" * 250 + b
    assert len(fitted(a)) <= KEY_LENGTH
    assert (fitted(a) == fitted(b)) == (a == b)


def test_a_key_that_fits_is_left_as_it_is() -> None:
    assert fitted("x" * KEY_LENGTH) == "x" * KEY_LENGTH
