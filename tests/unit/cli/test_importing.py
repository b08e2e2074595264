"""From a line of a file to an event."""

import json
from typing import Any

import pytest

from automation.cli.importing import page_event, parse_line, project_event
from automation.intake import parse_event

PROJECT = {"id": "shop", "name": "Shop", "owner": {"id": "u1", "email": "u1@example.org"}}
PAGE = {"project_id": "shop", "page": {"id": "home", "name": "Accueil", "route": "/", "config": {}}}


def test_a_project_is_an_update_that_the_intake_takes() -> None:
    event = project_event({**PROJECT, "updated_at": "2026-01-15T10:30:00Z"})

    assert event["type"] == "project.updated"
    assert event["data"] == {"project_id": "shop", "project": PROJECT}
    assert parse_event(event).occurred_at.isoformat() == "2026-01-15T10:30:00+00:00"


def test_a_page_is_an_update_that_the_intake_takes() -> None:
    event = page_event({**PAGE, "user_id": "u1"})

    assert event["type"] == "page.updated"
    assert event["data"] == {**PAGE, "user_id": "u1"}
    assert parse_event(event).project_id == "shop"


def test_a_line_without_a_time_is_older_than_all_that_studio_sends_itself() -> None:
    assert parse_event(page_event(PAGE)).occurred_at.year == 1970


def test_the_id_follows_from_the_content_whatever_the_order_of_its_keys() -> None:
    turned = {"page": dict(reversed(PAGE["page"].items())), "project_id": "shop"}  # type: ignore[attr-defined]

    assert page_event(turned)["id"] == page_event(PAGE)["id"]


@pytest.mark.parametrize(
    "other",
    [{**PAGE, "updated_at": "2026-01-15T10:30:00Z"}, {**PAGE, "project_id": "p2"}, {**PAGE, "page": {"id": "home"}}],
)
def test_other_content_has_another_id(other: dict[str, Any]) -> None:
    assert page_event(other)["id"] != page_event(PAGE)["id"]


def test_a_project_and_a_page_of_equal_content_have_different_ids() -> None:
    line = {**PROJECT, **PAGE}

    assert project_event(line)["id"] != page_event(line)["id"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "no JSON"), (b"\xff\xfe\xfd", "no JSON"), (b'{"id": NaN}', "NaN is no number"), (b"[]", "got list"),
        (b"null", "got NoneType"), (b"[" * 200_000, "nested too deeply"), (b"{} {}", "no JSON"),
    ],
    ids=range(7),
)  # fmt: skip
def test_a_line_that_holds_no_object_is_told_why(raw: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_line(raw)


def test_a_byte_order_mark_before_the_first_line_is_no_harm() -> None:
    assert parse_line(b"\xef\xbb\xbf" + json.dumps(PAGE).encode() + b"\r\n") == PAGE


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({}, "project_id: expected a string, got nothing"),
        ({"project_id": 7, "page": {}}, "project_id: expected a string, got 7"),
        ({"project_id": "p", "pages": {}}, "page: expected an object, got nothing"),
        ({"project_id": "p", "page": "home"}, 'page: expected an object, got "home"'),
    ],
)
def test_a_page_line_without_its_keys_is_told_which(line: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        page_event(line)


def test_a_project_line_without_an_id_is_told_so() -> None:
    with pytest.raises(ValueError, match="id: expected a string, got nothing"):
        project_event({"name": "Shop"})
