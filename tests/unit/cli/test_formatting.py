"""What people see of an answer: times, cells, tables that fit, and nothing that commands their terminal."""

import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from automation.cli import formatting
from automation.cli.formatting import Column, distance, percent, plain, took

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "now"), (-0.9, "now"), (-59, "59 s ago"), (-60, "1 min ago"), (-3599, "59 min ago"), (-7200, "2 h ago"),
        (-86_400 * 40, "40 d ago"), (61, "in 1 min"), (90_000, "in 1 d"),
    ],
)  # fmt: skip
def test_a_time_is_told_in_its_largest_unit(seconds: float, said: str) -> None:
    assert distance(NOW + timedelta(seconds=seconds), NOW) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "–"), ("", "–"), ([], "–"), ({}, "–"), (0, "0"), (True, "yes"), (False, "no"), ("é", "é"),
        (["a", "b"], "a, b"), ({"a": [1]}, '{"a": [1]}'), ("a\x1b[31mb\nc\x9b", "a\\x1b[31mb\\nc\\x9b"),
        (["\x07"], "\\x07"),
    ],
)  # fmt: skip
def test_any_value_is_one_harmless_line(value: Any, said: str) -> None:
    assert plain(value) == said


def test_durations_and_shares_read_as_people_say_them() -> None:
    assert [took(one) for one in (None, 3.4, 999, 1200, 61_000)] == ["–", "3 ms", "999 ms", "1.2 s", "1 min 1 s"]
    assert [percent(one) for one in (None, 0, 0.256, 1)] == ["–", "0 %", "26 %", "100 %"]


ROWS = [
    {"id": "0b1f3c52-0d0e-4c0c-9a3f-3b1f5d8a7e21", "status": "FAILED", "message": "word " * 60, "empty": None},
    {"id": "1b1f3c52-0d0e-4c0c-9a3f-3b1f5d8a7e21", "status": "RUNNING", "message": "", "empty": None},
]
COLUMNS = (
    Column("id", "id"), Column("status", "status"), Column("message", "message", cut=True), Column("empty", "empty"),
)  # fmt: skip


@pytest.mark.parametrize("width", [70, 100, 160])
def test_a_table_fits_the_terminal_and_ids_are_never_cut(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))

    formatting.table(ROWS, COLUMNS)

    lines = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= width
    assert "EMPTY" not in lines[0]
    assert lines[1].startswith(ROWS[0]["id"] + " ")
    assert "…" in lines[1]


def test_what_is_piped_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    formatting.table(ROWS, COLUMNS)

    assert ROWS[0]["message"].strip() in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_the_same_value_in_any_encoding_and_harmless(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"é": "\x1b[31m \x9b \x7f – 日本 😀", "n": [1, None, 2.5]}
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", out)

    formatting.as_json(value)

    raw = out.buffer.getvalue()
    text = raw.decode(encoding)
    assert json.loads(text) == value
    assert not any(control in text for control in "\x1b\x9b\x7f")


def test_details_leave_out_what_is_empty_and_spell_out_what_is_hostile(capsys: pytest.CaptureFixture[str]) -> None:
    formatting.details(
        {"name": "a\x1b[2Jb", "none": None, "at": "2020-01-15T10:30:00Z", "config": {"é\x1b": ["\x07", {"x": 1}]}},
    )

    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\x07" not in said
    assert "none" not in said
    assert "d ago)" in said
    assert "config:\n    " in said
