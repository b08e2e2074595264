"""What is sent: `{"type", "timestamp", "data"}`, as Standard Webhooks recommends, of a size that any receiver takes."""

from collections.abc import Iterator
from typing import Any

import orjson

from automation.callback.due import Due
from automation.models import Json

MAX_BYTES = 64 * 1024
"""Of a body; receivers of webhooks are seldom made for more."""

_LONGEST = 2000
"""Characters of an error message."""


def body_of(due: Due, data: Json) -> bytes:
    """The body of a delivery; what is too large in `data` is cut."""
    return orjson.dumps({"type": due.type, "timestamp": due.created_at, "data": fitted(data)})


def fitted(data: Json) -> Json:
    """An execution's detail in at most about 64 KiB.

    What was given to it and what it and its steps answered is replaced, the largest first, by
    `{"truncated": true, "bytes": …}`; then the last steps are left out, and `steps_left_out` says how many.
    """
    data = _shortened(data)
    if isinstance(steps := data.get("steps"), list):
        data["steps"] = [_shortened(step) for step in steps]
    size = _size(data)
    for within, key, bytes_ in sorted(_replaceable(data), key=lambda found: -found[2]):
        if size <= MAX_BYTES:
            return data
        within[key] = {"truncated": True, "bytes": bytes_}
        size += _size(within[key]) - bytes_
    return data if size <= MAX_BYTES else _with_fewer_steps(data, size)


def _shortened(part: Json) -> Json:
    """A copy whose error message has a bearable length."""
    message = part.get("error_message")
    if isinstance(message, str) and len(message) > _LONGEST:
        return {**part, "error_message": message[:_LONGEST] + "…"}
    return dict(part)


def _replaceable(data: Json) -> Iterator[tuple[Json, str, int]]:
    """The objects of any size: where each stands, under which key, and its bytes."""
    if isinstance(trigger := data.get("trigger"), dict):
        data["trigger"] = dict(trigger)
        yield data["trigger"], "data", _size(trigger.get("data"))
    for part in (data, *data.get("steps", ())):
        if part.get("result"):
            yield part, "result", _size(part["result"])


def _with_fewer_steps(data: Json, size: int) -> Json:
    steps = list(data.get("steps", ()))
    count = len(steps)
    while steps and size > MAX_BYTES - _LONGEST:
        size -= _size(steps.pop()) + 1
    return {**data, "steps": steps, "steps_left_out": count - len(steps)}


def _size(value: Any) -> int:
    return len(orjson.dumps(value))
