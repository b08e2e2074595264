"""The course of a delivery: what to post, how to read the answer, when to try again, when to give up.

It is a generator that asks for a request or a pause and is told what came of it, so that the synchronous and
the asynchronous client, which do these two things, share all the rest.
"""

import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeAlias

import httpx

from automation.client.errors import (
    ClientError,
    NotAuthorisedError,
    RefusedError,
    UnavailableError,
    UnexpectedAnswerError,
)
from automation.client.events import Encoded, EventResult, joined, read_results, split

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
LONGEST_RETRY_AFTER = 60.0
"""Seconds; who asks for more is tried before."""

_LATER = (429, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Post:
    """Asks for a POST of this body to the events endpoint; to be answered with the response or the error."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Asks for a pause; to be answered with None."""

    seconds: float


Reply: TypeAlias = httpx.Response | httpx.RequestError | None
Course: TypeAlias = Generator[Post | Wait, Reply, list[EventResult]]


def deliver(events: Sequence[Encoded], tries: int) -> Course:
    """Send events in as many requests as they need.

    Args:
        tries: how often each request is sent at most.

    Returns:
        One result for each event, in their order.

    Raises:
        ClientError: one of its classes; it says how far the sending came.
    """
    results: list[EventResult] = []
    try:
        for part in split(events):
            yield from _deliver_part(part, tries, results)
    except ClientError as error:
        error.put_down(results, events[len(results) :])
        raise
    return results


def _deliver_part(
    part: Sequence[Encoded], tries: int, results: list[EventResult]
) -> Generator[Post | Wait, Reply, None]:
    """Send one request, and add its results; in halves where a proxy takes less at once than the API."""
    reply = yield from _post(joined(part), tries)
    if reply.status_code == 413 and len(part) > 1:
        middle = len(part) // 2
        for half in (part[:middle], part[middle:]):
            yield from _deliver_part(half, tries, results)
    else:
        results += _read(reply, part, len(results))


def _post(body: bytes, tries: int) -> Generator[Post | Wait, Reply, httpx.Response]:
    """Post until there is an answer other than "later"."""
    attempt = 1
    while True:
        reply = yield Post(body)
        assert reply is not None
        if isinstance(reply, httpx.Response) and reply.status_code not in _LATER:
            return reply
        retry_after = _retry_after(reply) if isinstance(reply, httpx.Response) else None
        if attempt == tries:
            often = f" at {tries} tries" if tries > 1 else ""
            raise UnavailableError(f"Automation did not take the events{often}: {_said(reply)}.", retry_after)
        yield Wait(pause(attempt, retry_after))
        attempt += 1


def pause(attempt: int, retry_after: float | None = None) -> float:
    """Seconds between a try that failed and the next: doubled each time, with jitter, or what was asked for."""
    jitter = random.uniform(0.5, 1)  # noqa: S311 (spreads load, guards nothing)
    if retry_after is not None:
        return min(retry_after, LONGEST_RETRY_AFTER) + FIRST_PAUSE * jitter
    return min(FIRST_PAUSE * 2.0 ** min(attempt - 1, 20), LONGEST_PAUSE) * jitter


def _read(reply: httpx.Response, part: Sequence[Encoded], offset: int) -> list[EventResult]:
    """The results in an answer to the events that begin at `offset` in the caller's list."""
    if reply.status_code == 202:
        try:
            return read_results(reply.json(), len(part))
        except (KeyError, TypeError, ValueError) as error:
            raise UnexpectedAnswerError(f"{reply.url}: not the API's answer ({error!r}).") from None
    if reply.status_code in (401, 403):
        raise NotAuthorisedError(f"Automation does not accept the key: {_said(reply)}")
    if reply.status_code in (400, 413, 422):
        raise _refused(reply, part, offset)
    raise UnexpectedAnswerError(
        f"{reply.url}: answered {_said(reply)}. Check the address; it is what stands before /api/automation/."
    )


def _refused(reply: httpx.Response, part: Sequence[Encoded], offset: int) -> RefusedError:
    """Which event of the caller's list is wrong, and where in it."""
    number, _, field = str(_problem(reply).get("field", "")).partition(".")
    if number.isdecimal() and int(number) < len(part):
        index = int(number)
    elif len(part) == 1:
        index = 0
    else:
        return RefusedError(_said(reply), subject="Automation refuses the events")
    subject = f"Automation refuses event {offset + index} (id {one_line(part[index].id)})"
    return RefusedError(_said(reply).removeprefix(f"{index}."), offset + index, one_line(field), subject=subject)


def _problem(reply: httpx.Response) -> dict[str, object]:
    try:
        body = reply.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _said(reply: httpx.Response | httpx.RequestError) -> str:
    """What an answer or a failure says, on one line."""
    if isinstance(reply, httpx.RequestError):
        return one_line(f"{type(reply).__name__}: {reply}")
    detail = _problem(reply).get("detail")
    return one_line(str(detail)) if detail else one_line(f"{reply.status_code} {reply.reason_phrase}")


def _retry_after(reply: httpx.Response) -> float | None:
    """The header Retry-After in seconds: a number or a date."""
    text = reply.headers.get("retry-after", "")
    if text.isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at - datetime.now(UTC)).total_seconds()) if at.tzinfo else None


def one_line(text: str) -> str:
    """`text`, cut, with what is not printable spelled out: it may hold what came from outside."""
    text = text[:1000]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
