"""Requests to the platform's other modules, at the addresses that an operator has set (docs/services.md).

Each carries an idempotency key: a request that is sent again, because nobody knows whether the first one arrived,
has the same one, and the neighbour does not do it twice.
"""

import asyncio
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from functools import lru_cache
from urllib.parse import quote

import httpx
import orjson

from automation import tracing
from automation.egress import Answer, require_status
from automation.errors import NetworkError
from automation.models import Json
from automation.settings import Settings
from automation.steps import StepContext, one_line

TIMEOUT = 10.0
"""Seconds that a neighbour may take for an answer."""

_CONNECT = 3.0
_AWAY = 30.0
"""Seconds for which a process, having found a neighbour away, owes it effects without trying again: hundreds of
saves of a batch do not wait for it one after the other."""

_found_away: dict[str, tuple[float, str]] = {}
"""Until when each is taken to be away, on the monotonic clock, and why."""


def path(*parts: str) -> str:
    """`/projects/p%201/pages/`: the parts of a path, none of which can lead out of its place."""
    return "".join(f"/{quote(part, safe='')}" for part in parts) + "/"


async def call(
    settings: Settings,
    method: str,
    url: str,
    *,
    json: object = None,
    content: AsyncIterable[bytes] | None = None,
    key: str = "",
    headers: Mapping[str, str] | None = None,
    limit: float = TIMEOUT,
) -> bytes:
    """Ask a neighbour, and read its answer.

    Args:
        url: a neighbour's address with one of our paths behind it.
        json, content: the body, as what becomes JSON or as bytes; neither for none.
        key: the idempotency key.
        limit: seconds for all of it.

    Raises:
        NetworkError: it did not answer in time, or asks to be tried later (5xx, 408, 425, 429).
        ValidationError: it refused, and will again.
    """
    sent = {"user-agent": "Automation", **(headers or {})}
    if key:
        sent["idempotency-key"] = key
    if settings.neighbour_key:
        sent["authorization"] = f"Bearer {settings.neighbour_key.get_secret_value()}"
    if json is not None:
        sent["content-type"] = "application/json"
    began = time.perf_counter()
    try:
        with tracing.call(method, _host(url)) as called:
            async with asyncio.timeout(limit):
                body = orjson.dumps(json) if json is not None else content
                sent |= called.headers
                response = await _client().request(method, url, content=body, headers=sent, timeout=_limits(limit))
            called.answered(response.status_code)
    except (httpx.HTTPError, TimeoutError) as error:
        why = one_line(str(error)) or f"no answer within {limit:g} s"
        raise NetworkError(f"{_host(url)} cannot be reached: {why}.") from error
    elapsed = time.perf_counter() - began
    require_status(Answer(response.status_code, response.headers, response.content, url, elapsed))
    return response.content


async def have(
    step: StepContext, neighbour: str, send: Callable[[], Awaitable[object]], request: Json, key: str = ""
) -> bool:
    """Have an effect at a neighbour now, or owe it, if the step is not required and the neighbour is away.

    Args:
        send: has it now.
        request, key: for `StepContext.owe`.

    Returns:
        Whether it was had; if not, it is owed.

    Raises:
        NetworkError: the neighbour is away and the step is required.
        ValidationError: the neighbour refused.
    """
    until, reason = _found_away.get(neighbour, (0.0, ""))
    if not step.is_required and time.monotonic() < until:
        step.owe(neighbour, request, reason, key)
        return False
    try:
        await send()
    except NetworkError as error:
        if step.is_required:
            raise
        _found_away[neighbour] = time.monotonic() + _AWAY, str(error)
        step.owe(neighbour, request, str(error), key)
        return False
    _found_away.pop(neighbour, None)
    return True


def _host(url: str) -> str:
    parsed = httpx.URL(url)
    return f"{parsed.host}:{parsed.port}" if parsed.port else parsed.host


def _limits(timeout: float) -> httpx.Timeout:
    return httpx.Timeout(timeout, connect=min(_CONNECT, timeout))


@lru_cache
def _client() -> httpx.AsyncClient:
    """One for the process, since each new connection costs a handshake. No proxy: neighbours are near."""
    return httpx.AsyncClient(verify=httpx.create_ssl_context(), trust_env=False)
