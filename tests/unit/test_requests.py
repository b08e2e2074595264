"""The header `traceparent`, as W3C Trace Context has it."""

import pytest

from automation.requests import parse_traceparent, trace_id

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_good_one_is_honoured() -> None:
    assert parse_traceparent(GOOD) == GOOD
    assert trace_id(GOOD) == "4bf92f3577b34da6a3ce929d0e0e4736"


def test_of_a_later_version_what_we_know_is_honoured() -> None:
    assert parse_traceparent(f"cc{GOOD[2:]}-what-the-future-will-be-like") == f"cc{GOOD[2:]}"


@pytest.mark.parametrize(
    "header",
    ["", "x", GOOD.upper(), f"ff{GOOD[2:]}", f"{GOOD}-01", f"00-{'0' * 32}-00f067aa0ba902b7-01",
     f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01", GOOD[:-1], f" {GOOD}", f"{GOOD}\r\nx: y"],
)  # fmt: skip
def test_a_bad_one_is_as_good_as_none(header: str) -> None:
    assert parse_traceparent(header) == ""
