"""An execution live: the stream of the API as lines, and its outcome as the exit code."""

from collections.abc import Iterator
from datetime import UTC, datetime

from automation.cli import formatting
from automation.cli.exits import Code
from automation.cli.formatting import Json, percent, took
from automation.cli.remote import Api, at

_EXIT = {"COMPLETED": Code.FINE, "FAILED": Code.NO, "CANCELLED": Code.NO}


def follow(api: Api, execution_id: str, as_json: bool) -> Code:
    """Print an execution's course up to its end; for scripts a line of JSON, `{"event", "data"}`, for each event."""
    before: Json = {}
    for name, data in api.stream(at("executions", execution_id, "stream")):
        if as_json:
            formatting.as_json({"event": name, "data": data}, indent=None)
        if name == "end":
            if data["status"] is None:
                formatting.hint(f"Execution {execution_id} was deleted.")
            return _EXIT.get(data["status"] or "", Code.NOT_FOUND)
        after = before | data
        if not as_json:
            for line in news(before, after):
                formatting.say(f"{datetime.now(UTC):%H:%M:%S}  {line}")
        before = after
    raise AssertionError("a stream ends with `end`")


def news(before: Json, after: Json) -> Iterator[str]:
    """What to say of an execution that has changed; `before` is empty at first."""
    known = {step["identifier"]: step for step in before.get("steps", [])}
    for step in after["steps"]:
        old = known.get(step["identifier"], {})
        if step["status"] != old.get("status", "PENDING"):
            yield _step(step)
        elif step["status"] == "RUNNING" and _progress(step) != _progress(old):
            yield f"{'':<10} {step['identifier']}  {_progress(step)}".rstrip()
    if after["status"] != before.get("status"):
        yield _whole(after)


def _step(step: Json) -> str:
    line = f"{step['status']:<10} {step['identifier']} ({step['type']})"
    if step["status"] in ("COMPLETED", "FAILED", "ROLLED_BACK"):
        line += f"  {took(step['duration_ms'])}"
    return line + (f"  {step['error_message']}" if step["error_message"] else "")


def _progress(step: Json) -> str:
    parts = [percent(step["progress"]) if step["progress"] is not None else "", step["progress_message"]]
    return "  ".join(part for part in parts if part)


def _whole(execution: Json) -> str:
    line = f"{execution['status']:<10} {execution['workflow_name']}"
    if execution["project_id"]:
        line += f" of {execution['project_id']}"
    if execution["attempt"] > 1:
        line += f", attempt {execution['attempt']}"
    return line + (f": {execution['error_message']}" if execution["error_message"] else "")
