"""The request that this task works for, so that its log lines and records can be found by it."""

import logging
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Empty outside of requests."""


class NamesRequest(logging.Filter):
    """Gives each log record `request`, to be shown before its message: `[<id>] `, or nothing outside of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        current = request_id.get()
        record.request = f"[{current}] " if current else ""
        return True
