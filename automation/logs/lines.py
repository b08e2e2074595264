"""A line of the log: JSON with the platform's keys for programs, one line of text for people.

Whatever stands in it, a line stays one line: what could end it, command a terminal or turn its text around is spelled
out. Secrets are redacted, and what is too long is cut.
"""

import logging
import os
import re
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import orjson

from automation.redaction import redact, redact_text
from automation.requests import request_id, trace_id, traceparent

Format = Literal["json", "text"]

LONGEST = 8_000
"""Characters of a message; a page document may have a million."""
LONGEST_NAME = 300
"""Of a project's id and a step's name, which are shorter anyhow."""
LONGEST_METADATA = 32_000
"""Bytes of the metadata; a stack's are some thousands."""

_LEVELS = ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO"))
# what orjson leaves as it is: the terminal's other control characters, line separators, changes of direction
_UNSAFE = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_PREFECTS = ("flow_run_id", "task_run_id")
"""What Prefect's own loggers say of a record, as attributes of it."""
_KEPT = ("logger", "part", "process", "request_id", "trace_id", *_PREFECTS)
"""What of the metadata stays where all of it would be too long."""


class Doing(NamedTuple):
    """What a task works at: a step of an execution."""

    execution_id: UUID | None = None
    workflow_id: UUID | None = None
    project_id: str | None = None
    step: str = ""


doing: ContextVar[Doing] = ContextVar("doing", default=Doing())  # noqa: B039 (a tuple)
"""The step that this task runs; its lines name it."""


def line_of(record: logging.LogRecord, part: str = "") -> dict[str, Any]:
    """A record as the platform's line: `timestamp, execution_id, workflow_id, project_id, step, level, message,
    duration_ms, metadata`.

    What it is about is taken from the record's `extra` (keys as in the line), else from what its task works at.
    The metadata has `logger`, `part` and `process`, as far as they are known `request_id`, `trace_id`, `flow_run_id`
    and `task_run_id`, and in `stack` where an error came from.
    """
    given, work = record.__dict__, doing.get()
    metadata: dict[str, Any] = {"logger": record.name, "part": part, "process": record.process}
    origin = {"request_id": request_id.get(), "trace_id": trace_id(traceparent.get())}
    metadata |= {name: value for name, value in origin.items() if value}
    metadata |= {name: str(given[name]) for name in _PREFECTS if given.get(name)}
    metadata |= given.get("metadata") or {}
    if record.exc_info and record.exc_info[0]:
        metadata["stack"] = "".join(traceback.format_exception(*record.exc_info))
    return {
        "timestamp": _spelled(datetime.fromtimestamp(record.created, UTC)),
        "execution_id": given.get("execution_id") or work.execution_id,
        "workflow_id": given.get("workflow_id") or work.workflow_id,
        "project_id": given.get("project_id") or work.project_id,
        "step": given.get("step") or work.step,
        "level": level_name(record.levelno),
        "message": _message(record),
        "duration_ms": given.get("duration_ms"),
        "metadata": metadata,
    }


def level_name(number: int) -> str:
    """The level at or below a number; loggers may have numbers of their own between."""
    return next((name for least, name in _LEVELS if number >= least), "DEBUG")


def as_json(line: Mapping[str, Any]) -> str:
    """A line as JSON; the line's end is not part of it."""
    text = _encoded(_harmless(line)).decode()
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def as_text(line: Mapping[str, Any], *, colour: bool = False) -> str:
    """A line of the log for people: time, level, message, and what else it tells."""
    line, level = _harmless(line), str(line["level"])
    begin, end = (f"\x1b[{_COLOURS[level]}m", "\x1b[0m") if colour and level in _COLOURS else ("", "")
    metadata = dict(line["metadata"])
    stack = metadata.pop("stack", "")
    of = {"execution": line["execution_id"], "step": line["step"], "project": line["project_id"]} | {
        name: value for name, value in metadata.items() if name not in ("logger", "part", "process")
    }
    rest = "".join(f" {name}={_shown(value)}" for name, value in of.items() if value not in (None, "", {}, []))
    took = "" if line["duration_ms"] is None else f" ({line['duration_ms']:.0f} ms)"
    text = f"{line['timestamp'][11:23]} {level:<8} {line['message']}{took}"
    shown = f"{begin}{spelled_out(text)}{end}"
    dim = ("\x1b[2m", "\x1b[0m") if colour else ("", "")
    below = "".join(f"\n    {spelled_out(one)}" for one in str(stack).splitlines())
    return f"{shown}{dim[0]}{spelled_out(rest)}{dim[1]}{below}"


def readable(text: str) -> str:
    """A line of a log file for people; what is no line of ours stays as it is, but for control characters."""
    try:
        return as_text(orjson.loads(text))
    except (AttributeError, KeyError, TypeError, ValueError):
        return spelled_out(text)


def spelled_out(text: str) -> str:
    """`text` in one line, with what is not printable spelled out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class LineFormatter(logging.Formatter):
    """Records as lines. Prefect's logging file names it, too.

    Args:
        part: which program of the installation this is: `service`, `worker`, …
    """

    def __init__(self, part: str = "", form: Format = "json", *, colour: bool = False) -> None:
        super().__init__()
        self.part = part
        self.form = form
        self.colour = colour

    def format(self, record: logging.LogRecord) -> str:
        line = line_of(record, self.part)
        return as_json(line) if self.form == "json" else as_text(line, colour=self.colour)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (KeyError, TypeError, ValueError):  # placeholders and arguments that do not fit: the fault of who logs
        return f"{record.msg} {record.args!r}"


def _harmless(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line without its secrets, of a length that can be read."""
    made = {name: _cut(value, LONGEST_NAME) if isinstance(value, str) else value for name, value in line.items()}
    made["message"] = _told(str(line["message"]))
    made["metadata"] = _shortened(redact(_texts_redacted(line["metadata"])))
    return made


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… [{len(text)} characters]"


def _told(text: str) -> str:
    """`text` without secrets, and cut. Only then: of a secret that was cut in two, nobody could tell that it is one."""
    told = redact_text(text[: 2 * LONGEST])
    return told if len(text) <= LONGEST else f"{told[:LONGEST]}… [{len(text)} characters]"


def _texts_redacted(value: Any) -> Any:
    """Secrets in the texts within; those under a telling name are found by that."""
    if isinstance(value, str):
        return _told(value)
    if isinstance(value, Mapping):
        return {str(key): _texts_redacted(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_texts_redacted(one) for one in value]
    return value


def _shortened(metadata: dict[str, Any]) -> dict[str, Any]:
    size = len(_encoded(metadata))
    if size <= LONGEST_METADATA:
        return metadata
    return {name: metadata[name] for name in _KEPT if name in metadata} | {"cut": size}


def _encoded(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=str)
    except TypeError:  # half a surrogate pair, a number beyond 64 bits
        return orjson.dumps(_plain(value), default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, bool | float) else _plain(str(value))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else _encoded(value).decode()


def _spelled(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def is_coloured(fd: int) -> bool:
    """Whether what is written there may have colours: a terminal, unless NO_COLOR says otherwise."""
    return os.isatty(fd) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
