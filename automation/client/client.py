"""The two clients; they differ in how a request is made and how a pause is waited for, and in nothing else."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpx

from automation.client.delivery import Post, Reply, Wait, deliver
from automation.client.events import Encoded, EventResult, encode_all

PREFIX = "/api/automation"
TRIES = 6
"""How often a request is sent at most: with the pauses between them, some 15 s of absence are bridged."""

TIMEOUT = 30.0
CONNECT_TIMEOUT = 5.0


class Client:
    """Sends events. May be used by several threads at once.

    Args:
        url: the address of the installation, `http://host:port`.
        key: the bearer key.
        tries: how often each request is sent at most, 1 for no retry.
        timeout: seconds that one try may take.

    Raises:
        ValueError: the address or the key cannot be one.
    """

    def __init__(self, url: str, key: str, *, tries: int = TRIES, timeout: float = TIMEOUT) -> None:
        self._tries = tries
        self._http = httpx.Client(**http_arguments(url, key, timeout))

    def send(self, events: Iterable[Mapping[str, Any] | Encoded]) -> list[EventResult]:
        """Send any number of events, in lists that the API takes; each list is taken in whole or not at all.

        An event without an `id` or `timestamp` gets them before the first try. So a retry, here or by the
        caller with the `events` of the error, never makes an event count twice.

        Args:
            events: `{"type", "data", "id"?, "timestamp"?}` each.

        Returns:
            One result for each event, in their order.

        Raises:
            NotAuthorisedError: the key is wrong.
            RefusedError: an event breaks a rule; `index` and `field` say which and where.
            UnavailableError: the API could not be reached, however often it was tried.
            UnexpectedAnswerError: what answers is not the API.
        """
        course = deliver(encode_all(events), self._tries)
        reply: Reply = None
        while True:
            try:
                step = course.send(reply)
            except StopIteration as end:
                results: list[EventResult] = end.value
                return results
            match step:
                case Wait(seconds):
                    time.sleep(seconds)
                    reply = None
                case Post(body):
                    try:
                        reply = self._http.post("events/", content=body)
                    except httpx.RequestError as error:
                        reply = error

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient:
    """As `Client`, for asynchronous programs."""

    def __init__(self, url: str, key: str, *, tries: int = TRIES, timeout: float = TIMEOUT) -> None:
        self._tries = tries
        self._http = httpx.AsyncClient(**http_arguments(url, key, timeout))

    async def send(self, events: Iterable[Mapping[str, Any] | Encoded]) -> list[EventResult]:
        """As `Client.send`."""
        course = deliver(await asyncio.to_thread(encode_all, list(events)), self._tries)
        reply: Reply = None
        while True:
            try:
                step = course.send(reply)
            except StopIteration as end:
                results: list[EventResult] = end.value
                return results
            match step:
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                    reply = None
                case Post(body):
                    try:
                        reply = await self._http.post("events/", content=body)
                    except httpx.RequestError as error:
                        reply = error

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def http_arguments(url: str, key: str, timeout: float) -> dict[str, Any]:
    """What httpx needs to know to talk to the installation.

    Raises:
        ValueError: the address or the key cannot be one.
    """
    address = httpx.URL(url)
    if address.scheme not in ("http", "https") or not address.host:
        raise ValueError(f"The address of Automation is http(s)://host:port, not {url!r}.")
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("The key of Automation is one word in ASCII; the one given is empty or something else.")
    return {
        "base_url": url.rstrip("/").removesuffix(PREFIX) + PREFIX,
        "headers": {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        "timeout": httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT)),
    }
