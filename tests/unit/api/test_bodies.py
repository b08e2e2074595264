from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.api.bodies import parse_json
from automation.api.workflows import parse_execute
from automation.control import checked_input
from automation.errors import RefusedError


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[1,]", b"NaN", b'{"a": Infinity}', b"1e999", b"\xff\xfe", b'"\\ud800"', b"[" * 100_000],
)
def test_rubbish_is_refused_whatever_it_is(raw: bytes) -> None:
    with pytest.raises(RefusedError):
        parse_json(raw)


@given(raw=st.binary(max_size=200))
def test_no_bytes_lead_to_anything_but_a_value_or_a_refusal(raw: bytes) -> None:
    with suppress(RefusedError):
        parse_json(raw)


def test_an_execute_body_may_leave_its_input_out() -> None:
    assert parse_execute({}) == {}
    assert parse_execute({"input": {"action": "promote"}}) == {"action": "promote"}


@pytest.mark.parametrize(("raw", "field"), [([], ""), (None, ""), ({"inputs": {}}, "inputs"), ({"input": []}, "input")])
def test_an_execute_body_of_another_shape_is_refused(raw: object, field: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_execute(raw)

    assert caught.value.field == field


@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_publish_takes_an_action_alone_or_with_release_and_environment(action: str) -> None:
    full = {"action": action, "version": "v7", "environment": "staging"}

    assert checked_input("publish", {"action": action}) == {"action": action}
    assert checked_input("publish", full) == full


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "input.action"),
        ({"action": "delete"}, "input.action"),
        ({"action": "promote", "version": "../../etc"}, "input.version"),
        ({"action": "promote", "version": 7}, "input.version"),
        ({"action": "promote", "environment": ".."}, "input.environment"),
        ({"action": "promote", "enviroment": "staging"}, "input.enviroment"),
    ],
)
def test_publish_refuses_any_other_input_and_names_the_field(given: dict[str, Any], field: str) -> None:
    with pytest.raises(RefusedError) as caught:
        checked_input("publish", given)

    assert caught.value.field == field


def test_input_that_the_database_cannot_hold_is_refused() -> None:
    with pytest.raises(RefusedError) as caught:
        checked_input("generate", {"note": {"text": "a\x00b"}})

    assert caught.value.field == "input.note.text"
