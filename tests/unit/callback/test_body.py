"""What Studio gets: the detail as it is, or, when it is too large, as much of it as fits, and what was cut."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson

from automation.callback.body import MAX_BYTES, body_of, fitted
from automation.callback.due import Due


def detail(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    steps = [
        {"identifier": f"s{number}", "status": "COMPLETED", "result": result, "error_message": ""}
        for number, result in enumerate(results)
    ]
    return {
        "id": "e1",
        "trigger": {"type": "EVENT", "data": {}},
        "result": {},
        "steps": steps,
        "error_message": "",
    } | more


def size(value: object) -> int:
    return len(orjson.dumps(value))


def test_the_body_says_what_happened_when_and_to_what() -> None:
    due = Due(uuid4(), "execution.failed", uuid4(), "p1", datetime(2026, 1, 15, 10, 30, tzinfo=UTC), 1)

    assert orjson.loads(body_of(due, detail())) == {
        "type": "execution.failed",
        "timestamp": "2026-01-15T10:30:00+00:00",
        "data": detail(),
    }


def test_what_fits_is_left_as_it_is() -> None:
    one = detail({"pages": ["x" * 1000]}, trigger={"type": "EVENT", "data": {"page": "y" * 1000}})

    assert fitted(one) == one


def test_the_largest_is_cut_first_and_says_how_large_it_was() -> None:
    large, small = {"html": "x" * 70_000}, {"pages": 3}
    one = detail(large, small)

    cut = fitted(one)

    assert cut["steps"][0]["result"] == {"truncated": True, "bytes": size(large)}
    assert cut["steps"][1]["result"] == small
    assert one["steps"][0]["result"] == large, "what was given is not changed"


def test_a_page_that_started_it_is_cut_like_a_result() -> None:
    cut = fitted(detail({"saved": True}, trigger={"type": "EVENT", "data": {"page": "é" * 500_000}}))

    assert cut["trigger"]["data"]["truncated"] is True
    assert cut["steps"][0]["result"] == {"saved": True}


def test_a_thousand_items_leave_out_the_last_steps_and_say_so() -> None:
    cut = fitted(detail(*({"n": number, "text": "z" * 200} for number in range(1000))))

    assert size(cut) <= MAX_BYTES
    assert cut["steps_left_out"] == 1000 - len(cut["steps"]) > 0
    assert cut["steps"][0]["identifier"] == "s0"


def test_an_endless_error_message_is_cut() -> None:
    cut = fitted(detail(error_message="e" * 100_000))

    assert len(cut["error_message"]) == 2001
    assert cut["error_message"].endswith("…")
