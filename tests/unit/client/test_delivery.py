"""The course of a delivery, played through with every answer that can come."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.client import (
    AsyncClient,
    Client,
    ClientError,
    EventResult,
    NotAuthorisedError,
    RefusedError,
    UnavailableError,
    UnexpectedAnswerError,
)
from automation.client.delivery import LONGEST_RETRY_AFTER, Post, Wait, deliver, pause
from automation.client.events import encode_all

Answer = Callable[[list[dict[str, Any]]], httpx.Response | httpx.RequestError]


def accepted(events: list[dict[str, Any]]) -> httpx.Response:
    run = {"id": "e", "workflow_id": "w", "status": "PENDING"}
    answers = [{"id": one["id"], "duplicate": False, "executions": [run]} for one in events]
    return reply(202, {"events": answers})


def reply(status: int, body: object = None, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = httpx.Request("POST", "http://automation/api/automation/events/")
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, content=content, headers=sent, request=request)


def refused(detail: str, field: str) -> httpx.Response:
    return reply(422, {"status": 422, "detail": detail, "field": field})


def away(events: list[dict[str, Any]]) -> httpx.RequestError:
    return httpx.ConnectError("refused")


def busy(events: list[dict[str, Any]]) -> httpx.Response:
    return reply(503)


class Played:
    """A delivery against scripted answers; when they are used up, everything is accepted."""

    def __init__(self, count: int, *answers: Answer, tries: int = 6) -> None:
        self.posts: list[list[dict[str, Any]]] = []
        self.waits: list[float] = []
        self.results: list[EventResult] = []
        self.error: ClientError | None = None
        script = iter(answers)
        events = [{"id": f"evt-{number}", "type": "x", "data": {"n": number}} for number in range(count)]
        course, answer = deliver(encode_all(events), tries), None
        while True:
            try:
                step = course.send(answer)
            except StopIteration as end:
                self.results = end.value
                return
            except ClientError as error:
                self.error = error
                return
            if isinstance(step, Wait):
                self.waits.append(step.seconds)
                answer = None
            else:
                assert isinstance(step, Post)
                self.posts.append(json.loads(step.body))
                answer = next(script, accepted)(self.posts[-1])


def ids(events: Sequence[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in events]


def test_a_thousand_and_one_events_are_three_requests_and_one_list_of_results() -> None:
    played = Played(1001)

    assert [len(one) for one in played.posts] == [500, 500, 1]
    assert [one.id for one in played.results] == [f"evt-{number}" for number in range(1001)]
    assert played.results[0].executions[0].status == "PENDING"


def test_nothing_to_send_sends_nothing() -> None:
    assert Played(0).posts == []


def test_a_retry_sends_the_very_same_events() -> None:
    played = Played(3, away, busy, away)

    assert len(played.posts) == 4
    assert all(one == played.posts[0] for one in played.posts)
    assert len(played.results) == 3


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_later_is_tried_again_so_often_and_then_named_with_the_ids(status: int) -> None:
    played = Played(2, *[lambda _: reply(status)] * 3, tries=3)

    assert isinstance(played.error, UnavailableError)
    assert (len(played.posts), len(played.waits)) == (3, 2)
    assert f"at 3 tries: {status}" in str(played.error)
    assert played.error.ids == ["evt-0", "evt-1"]


def test_the_error_says_what_was_taken_in_before_and_holds_the_rest_to_be_sent_again() -> None:
    played = Played(1200, accepted, *[away] * 2, tries=2)

    assert played.error
    assert [one.id for one in played.error.accepted] == [f"evt-{number}" for number in range(500)]
    assert ids(played.error.events) == played.error.ids == [f"evt-{number}" for number in range(500, 1200)]
    assert all("timestamp" in one for one in played.error.events)


def test_a_refused_event_is_named_by_its_place_in_the_whole_list() -> None:
    played = Played(700, accepted, lambda _: refused("7.data.page.id: '../x' is no plain name", "7.data.page.id"))

    assert isinstance(played.error, RefusedError)
    assert (played.error.index, played.error.field) == (507, "data.page.id")
    assert played.error.reason == "data.page.id: '../x' is no plain name"
    assert "event 507 (id evt-507)" in str(played.error)
    assert len(played.error.accepted) == 500


@pytest.mark.parametrize("field", ["", "900.type", "type", "-1"])
def test_a_refusal_that_names_no_event_of_the_list_has_no_index(field: str) -> None:
    played = Played(2, lambda _: refused("The body is no JSON", field))

    assert isinstance(played.error, RefusedError)
    assert played.error.index is None


def test_a_refusal_of_a_single_event_is_that_events() -> None:
    played = Played(1, lambda _: reply(413, b"<html>too large</html>"))

    assert isinstance(played.error, RefusedError)
    assert played.error.index == 0


def test_where_a_proxy_takes_less_at_once_the_list_is_halved() -> None:
    def small(events: list[dict[str, Any]]) -> httpx.Response:
        return accepted(events) if len(events) <= 3 else reply(413, b"<html>too large</html>")

    played = Played(10, *[small] * 20)

    assert [one.id for one in played.results] == [f"evt-{number}" for number in range(10)]
    taken = [one for post in played.posts if len(post) <= 3 for one in ids(post)]
    assert taken == [f"evt-{number}" for number in range(10)]


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_not_tried_again(status: int) -> None:
    played = Played(1, lambda _: reply(status, {"detail": "This needs the header"}))

    assert isinstance(played.error, NotAuthorisedError)
    assert len(played.posts) == 1


@pytest.mark.parametrize(
    "answer",
    [
        reply(404, b"<html>"), reply(500, {"detail": "x"}), reply(308, location="https://elsewhere/"), reply(200, {}),
        reply(202, b"<html>"), reply(202, {}), reply(202, {"events": []}), reply(202, {"events": [None]}),
        reply(202, []), reply(202, {"events": [{"id": "evt-0", "duplicate": False}]}),
    ],
)  # fmt: skip
def test_an_answer_that_the_api_does_not_give_is_said_to_be_one(answer: httpx.Response) -> None:
    played = Played(1, lambda _: answer)

    assert isinstance(played.error, UnexpectedAnswerError)
    assert "http://automation/api/automation/events/" in str(played.error)
    assert played.error.ids == ["evt-0"]


def test_what_comes_from_outside_cannot_forge_a_line_of_a_log() -> None:
    hostile = "x\n2026-01-15 ERROR all is lost\u2028\x1b[31m"
    played = Played(2, lambda _: refused(hostile, f"0.{hostile}"))

    assert isinstance(played.error, RefusedError)
    for text in (str(played.error), played.error.field, played.error.reason):
        assert text.isprintable()


def test_a_server_that_says_when_is_asked_then() -> None:
    in_ten = format_datetime(datetime.now(UTC) + timedelta(seconds=10), usegmt=True)
    played = Played(1, lambda _: reply(503, retry_after="7"), lambda _: reply(429, retry_after=in_ten))

    assert 7 <= played.waits[0] < 8
    assert 8 <= played.waits[1] < 11


@pytest.mark.parametrize("value", ["soon", "-5", "1e9", "", "Thu, 99 Foo 2026"])
def test_a_retry_after_that_says_nothing_is_passed_over(value: str) -> None:
    played = Played(1, lambda _: reply(503, retry_after=value))

    assert len(played.results) == 1
    assert 0 < played.waits[0] <= LONGEST_RETRY_AFTER + 1


@given(st.integers(1, 10_000), st.none() | st.floats(0, 1e12))
def test_a_pause_is_never_longer_than_a_minute_and_never_nothing(attempt: int, retry_after: float | None) -> None:
    assert 0 < pause(attempt, retry_after) <= LONGEST_RETRY_AFTER + 1


def test_pauses_grow() -> None:
    waits = Played(1, *[away] * 6).waits

    assert len(waits) == 5
    assert waits[4] > 2 * waits[0]


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("url", "key"),
    [("automation:8000", "k"), ("ftp://automation", "k"), ("", "k"), ("http://", "k"), ("http://a", ""),
     ("http://a", "k\n"), ("http://a", "é"), ("http://a", "two words")],
)  # fmt: skip
def test_an_address_or_a_key_that_cannot_be_one_is_refused_at_once_and_the_key_not_shown(
    client: type[Client], url: str, key: str
) -> None:
    with pytest.raises(ValueError, match=r"The (address|key) of Automation") as caught:
        client(url, key)
    assert not key.strip() or len(key) == 1 or key not in str(caught.value)
