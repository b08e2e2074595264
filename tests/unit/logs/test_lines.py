"""Lines of the log: their keys, what may not stand in them, and how people read them."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from automation.logs.lines import LONGEST, Doing, LineFormatter, doing, readable
from automation.requests import NOWHERE, Origin

KEYS = [
    "timestamp", "execution_id", "workflow_id", "project_id", "step", "level", "message", "duration_ms", "metadata",
]  # fmt: skip
HOSTILE = [
    "two\nlines", "carriage\rreturn", "\x1b[31mred\x1b[0m", "nul \0", "half \ud83d pair", "\x85next line",
    "\u2028separator", "\u202eturned around", 'quote " and \\ backslash', "%s %d {0}", "a" * 1_000_000,
]  # fmt: skip


@pytest.fixture(autouse=True)
def _under_nothing() -> Iterator[None]:
    yield
    NOWHERE.take_up()
    doing.set(Doing())


def record(message: object, *args: object, level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("automation.x", level, "", 0, message, args, None)
    made.__dict__.update(extra)
    return made


def line(made: logging.LogRecord) -> dict[str, Any]:
    text = LineFormatter("service").format(made)
    assert text.splitlines() == [text]
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_line_has_the_platforms_keys_in_its_order() -> None:
    one = line(record("Files saved"))

    assert list(one) == KEYS
    assert (one["level"], one["message"], one["execution_id"], one["step"]) == ("INFO", "Files saved", None, "")
    assert one["timestamp"].endswith("Z")
    assert (one["metadata"]["logger"], one["metadata"]["part"]) == ("automation.x", "service")


def test_what_a_record_is_about_stands_in_its_line() -> None:
    id_ = uuid4()
    about = {"execution_id": id_, "project_id": "shop", "step": "SAVE_TO_RUNTIME", "duration_ms": 12.5}

    one = line(record("saved", **about, metadata={"files_count": 15}))

    assert {name: one[name] for name in about} == about | {"execution_id": str(id_)}
    assert one["metadata"]["files_count"] == 15


def test_a_line_names_the_step_that_its_task_runs_the_request_and_the_trace() -> None:
    Origin("req-1", f"00-{'a' * 32}-{'b' * 16}-01").take_up()
    doing.set(Doing(UUID(int=7), UUID(int=8), "shop", "CALL_HTTP"))

    one = line(record("called"))

    assert (one["execution_id"], one["workflow_id"]) == (str(UUID(int=7)), str(UUID(int=8)))
    assert (one["project_id"], one["step"]) == ("shop", "CALL_HTTP")
    assert (one["metadata"]["request_id"], one["metadata"]["trace_id"]) == ("req-1", "a" * 32)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
@pytest.mark.parametrize("form", ["json", "text"])
def test_hostile_text_stays_in_its_line_and_commands_no_terminal(text: str, form: Any) -> None:
    made = record("said: %s", text, project_id=text, step=text, metadata={"given": text, text: 1})

    shown = LineFormatter("service", form, colour=False).format(made)

    assert shown.isprintable()
    assert len(shown) < 100_000
    shown.encode()


def test_a_long_message_is_cut_and_says_how_long_it_was() -> None:
    one = line(record("x" * 1_000_000))

    assert len(one["message"]) < LONGEST + 50
    assert one["message"].endswith("… [1000000 characters]")


def test_metadata_that_is_too_long_is_left_out_but_for_what_finds_the_line() -> None:
    long = {str(number): "y" * 100 for number in range(1000)}

    assert set(line(record("x", metadata=long))["metadata"]) == {"logger", "part", "process", "cut"}
    Origin("req-1", f"00-{'a' * 32}-{'b' * 16}-01").take_up()
    one = line(record("x", metadata=long, flow_run_id="run"))["metadata"]
    assert (one["request_id"], one["trace_id"], one["flow_run_id"]) == ("req-1", "a" * 32, "run")


@pytest.mark.parametrize("form", ["json", "text"])
def test_secrets_are_in_no_part_of_a_line(form: Any) -> None:
    given = {"password": "hunter2", "deep": [{"Authorization": "Bearer hunter2"}], "said": "token=hunter2"}
    made = record("connecting to postgresql://me:hunter2@db/x with api_key=hunter2", metadata=given)

    assert "hunter2" not in LineFormatter("service", form).format(made)


@pytest.mark.parametrize("before", range(LONGEST - 40, LONGEST + 1))
def test_no_part_of_a_secret_is_left_where_a_long_text_is_cut(before: int) -> None:
    text = "x" * before + " postgresql://me:hunter2hunter2@db/x token=hunter2hunter2" + "y" * LONGEST

    assert "hunter2" not in LineFormatter("service").format(record(text, metadata={"given": text}))


def test_where_an_error_came_from_stands_in_the_metadata() -> None:
    made = record("it failed", level=logging.ERROR)
    try:
        raise ValueError("password=hunter2\nforged")
    except ValueError:
        made.exc_info = sys.exc_info()

    one = line(made)

    assert "test_lines.py" in one["metadata"]["stack"]
    assert "ValueError" in one["metadata"]["stack"]
    assert "hunter2" not in json.dumps(one)


def test_arguments_that_do_not_fit_lose_no_line() -> None:
    assert line(record("%d of %d", "one"))["message"] == "%d of %d ('one',)"
    assert line(record("%(a)s", {"b": 1}))["message"] == "%(a)s {'b': 1}"


def test_numbers_between_the_levels_count_as_the_one_below() -> None:
    assert [line(record("x", level=number))["level"] for number in (5, 25, 45, 99)] == [
        "DEBUG", "INFO", "ERROR", "CRITICAL",
    ]  # fmt: skip


def test_people_read_time_level_message_and_what_it_is_about() -> None:
    made = record("saved", level=logging.WARNING, step="SAVE_TO_RUNTIME", duration_ms=12.0, metadata={"files": 3})

    shown = LineFormatter("service", "text", colour=True).format(made)

    assert "\x1b[33m" in shown
    assert "WARNING  saved (12 ms)" in shown
    assert "step=SAVE_TO_RUNTIME" in shown
    assert "files=3" in shown


def test_a_line_of_a_log_file_reads_as_text_and_what_is_none_as_it_is() -> None:
    stored = LineFormatter("service").format(record("ready", level=logging.ERROR))

    assert "ERROR    ready" in readable(stored)
    assert readable("LOG:  starting PostgreSQL\x1b[2J") == "LOG:  starting PostgreSQL\\x1b[2J"
    assert readable("[1, 2]") == "[1, 2]"
