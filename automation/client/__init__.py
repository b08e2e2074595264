"""Sending events to Automation from another program.

    with Client("http://automation.internal:8000", key) as automation:
        automation.send([{"type": "project.published", "data": {"project_id": "shop"}}])

It needs nothing but httpx; a Django application uses `automation.client.django` instead.
"""

from automation.client.client import AsyncClient, Client
from automation.client.errors import (
    ClientError,
    NotAuthorisedError,
    RefusedError,
    UnavailableError,
    UnexpectedAnswerError,
)
from automation.client.events import EventResult, StartedExecution

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "EventResult",
    "NotAuthorisedError",
    "RefusedError",
    "StartedExecution",
    "UnavailableError",
    "UnexpectedAnswerError",
]
