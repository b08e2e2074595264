"""Events on their way out, and the answers that come back; nothing here does any I/O."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from automation.client.errors import RefusedError

MAX_EVENTS = 500
"""Events in one request; the API's limit."""

MAX_BYTES = 7 * 1024 * 1024
"""Bytes of one request; the API takes 8 MiB, and what stands between us and it may count headers."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An event that has its id and will not change any more: JSON text in UTF-8."""

    id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class StartedExecution:
    """An execution that an event started, with its status at that moment."""

    id: str
    workflow_id: str
    status: str


@dataclass(frozen=True, slots=True)
class EventResult:
    """What became of an event. A duplicate changed nothing; its executions are those of the first time."""

    id: str
    duplicate: bool
    executions: tuple[StartedExecution, ...]


def encode(event: Mapping[str, Any], *, encoder: type[json.JSONEncoder] | None = None) -> Encoded:
    """The event as it is sent: with an id and a timestamp, which it gets now if it has none.

    Args:
        event: `{"type", "data", "id"?, "timestamp"?}`; UUIDs and aware datetimes may stand anywhere in it.
        encoder: writes what JSON does not know; by default only those two.

    Raises:
        RefusedError: it is no object, cannot be written as JSON, or is too large for a request of its own.
    """
    if not isinstance(event, Mapping):
        raise RefusedError(f"expected an object with type and data, got {type(event).__name__}")
    id_ = str(event.get("id") or uuid4())
    whole = {**event, "id": id_, "timestamp": event.get("timestamp") or datetime.now(UTC)}
    try:
        text = json.dumps(whole, cls=encoder or _Encoder, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        body = text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RefusedError(f"cannot be written as JSON: {error}") from None
    if len(body) + 2 > MAX_BYTES:
        raise RefusedError(f"has {len(body)} bytes; {MAX_BYTES} fit into one request")
    return Encoded(id_, body)


def encode_all(events: Iterable[Mapping[str, Any] | Encoded]) -> list[Encoded]:
    """All events as they are sent; what is encoded already stays as it is.

    Raises:
        RefusedError: as `encode`, with the event's index.
    """
    encoded = []
    for index, event in enumerate(events):
        try:
            encoded.append(event if isinstance(event, Encoded) else encode(event))
        except RefusedError as error:
            raise RefusedError(error.reason, index, subject=f"Event {index}") from None
    return encoded


def split(
    events: Sequence[Encoded], *, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES
) -> Iterator[Sequence[Encoded]]:
    """Cut a list, in its order, into as few requests as its limits allow; none of them is empty."""
    begin, size = 0, 1  # the brackets and commas count too
    for index, event in enumerate(events):
        size += len(event.body) + 1
        if index > begin and (index - begin == max_events or size > max_bytes):
            yield events[begin:index]
            begin, size = index, 2 + len(event.body)
    if begin < len(events):
        yield events[begin:]


def joined(events: Sequence[Encoded]) -> bytes:
    """The body of a request: a JSON list."""
    return b"[" + b",".join(one.body for one in events) + b"]"


def read_results(body: Any, count: int) -> list[EventResult]:
    """The answers to `count` events, in their order.

    Raises:
        KeyError, TypeError, ValueError: it is not what the API answers.
    """
    results = [
        EventResult(
            id=str(one["id"]),
            duplicate=bool(one["duplicate"]),
            executions=tuple(
                StartedExecution(str(run["id"]), str(run["workflow_id"]), str(run["status"]))
                for run in one["executions"]
            ),
        )
        for one in body["events"]
    ]
    if len(results) != count:
        raise ValueError(f"{len(results)} answers to {count} events")
    return results


class _Encoder(json.JSONEncoder):
    def default(self, o: Any) -> Any:
        if isinstance(o, UUID):
            return str(o)
        if isinstance(o, datetime) and o.tzinfo:
            return o.isoformat()
        raise TypeError(f"{o!r:.100} is a {type(o).__name__}")
