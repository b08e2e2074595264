"""A thread that sends events, so that whoever has one to tell never waits for the network."""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from automation.client.client import Client
from automation.client.delivery import pause
from automation.client.errors import ClientError, RefusedError, UnavailableError
from automation.client.events import Encoded, split

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""What may wait in memory while Automation is away: some 15,000 pages of 4 KB."""

_BYTES_EACH = 300
"""What an event costs beside its text."""

_PAUSE_AT_THE_END = 1.0

log = logging.getLogger("automation.client")


class Sender:
    """Sends events one request after the other, in their order; what comes meanwhile goes into the next.

    While Automation is away, or refuses the key, it tries again for as long as the process lives, with the
    same ids. When more than `max_bytes` wait, the oldest are dropped: a page's later event holds the whole
    page again. What is dropped, or refused, is logged as an ERROR with its id.

    Args:
        connect: makes the client, in the thread that uses it; called here once, to see that it can.

    Raises:
        ValueError: as `Client`.
    """

    def __init__(self, connect: Callable[[], Client], *, max_bytes: int = MAX_WAITING_BYTES) -> None:
        connect().close()
        self._connect = connect
        self._max_bytes = max_bytes
        self.reset()

    def reset(self) -> None:
        """Begin anew without thread and events: after a fork these are the parent's, who sends them."""
        self._changed = threading.Condition()
        self._waiting: deque[Encoded] = deque()
        self._waiting_bytes = 0
        self._under_way: list[Encoded] = []
        self._closing = False
        self._thread: threading.Thread | None = None

    def put(self, event: Encoded) -> None:
        """Add an event to those that wait; the first one starts the thread."""
        with self._changed:
            self._waiting.append(event)
            self._waiting_bytes += _cost(event)
            while self._waiting_bytes > self._max_bytes:
                dropped = self._next()
                log.error("Too much waits for Automation; event %r is dropped: %s", dropped.id, _summary(dropped))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="automation-sender", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until nothing waits any more; False if that takes longer than `seconds`."""
        with self._changed:
            return self._changed.wait_for(self._is_empty, seconds)

    def close(self, seconds: float) -> None:
        """Try for some seconds to send what waits, and log what is lost with this process."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            if not self._changed.wait_for(self._is_empty, seconds):
                for event in [*self._under_way, *self._waiting]:
                    log.error("This process ends; event %r may be lost: %s", event.id, _summary(event))

    def _is_empty(self) -> bool:
        return not self._waiting and not self._under_way

    def _next(self) -> Encoded:
        event = self._waiting.popleft()
        self._waiting_bytes -= _cost(event)
        return event

    def _run(self) -> None:
        with self._connect() as client:
            while True:
                self._deliver(client, self._take())

    def _take(self) -> Sequence[Encoded]:
        """What waits, as much as fits into one request; waits for the first."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting)
            fits = next(split(list(self._waiting)))
            self._under_way = [self._next() for _ in fits]
            return list(self._under_way)

    def _deliver(self, client: Client, events: Sequence[Encoded]) -> None:
        """Send these events, for as long as it takes; one that is refused does not hold back the others."""
        at_once, failures = len(events), 0
        while events:
            try:
                taken = len(client.send(events[:at_once]))
                failures = 0
            except RefusedError as error:
                taken = len(error.accepted)
                if error.index is None:  # one by one, to find out which
                    at_once = 1
                else:
                    refused = events[error.index]
                    log.error("%s; it is dropped: %s", error, _summary(refused))
                    events = [one for one in events if one is not refused]
            except ClientError as error:
                taken = len(error.accepted)
                failures += 1
                away = isinstance(error, UnavailableError)
                log.log(logging.WARNING if away else logging.ERROR, "%s It is tried again.", error)
                self._pause(pause(failures, error.retry_after if isinstance(error, UnavailableError) else None))
            except Exception:  # a fault of ours, and the thread must live
                taken = 0
                failures += 1
                log.exception("Events for Automation cannot be sent; it is tried again.")
                self._pause(pause(failures))
            events = events[taken:]
            with self._changed:
                self._under_way = list(events)
                self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        """Wait, but not when the process is about to end."""
        with self._changed:
            if not self._closing:
                self._changed.wait_for(lambda: self._closing, seconds)
                return
        time.sleep(_PAUSE_AT_THE_END)


def _cost(event: Encoded) -> int:
    return len(event.body) + _BYTES_EACH


def _summary(event: Encoded) -> str:
    """An event in a log line: its type, project and page."""
    whole = json.loads(event.body)
    data = whole.get("data")
    data = data if isinstance(data, dict) else {}
    page = data.get("page")
    of_page = f", page {page.get('id')!r}" if isinstance(page, dict) else ""
    return f"{whole.get('type')!r} of project {data.get('project_id')!r}{of_page}"
