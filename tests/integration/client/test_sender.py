"""The thread that sends what a Django process has to tell."""

import json
import logging
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from automation.client import Client
from automation.client.events import Encoded, encode
from automation.client.sender import Sender
from tests.integration.client.doors import Door

pytestmark = pytest.mark.usefixtures("short_pauses")


@pytest.fixture
def sender(door: Door) -> Iterator[Sender]:
    sender = Sender(partial(Client, door.url, "key", tries=1, timeout=2), max_bytes=100_000)
    yield sender
    door.statuses.clear()
    sender.close(5)


def event(number: int, type_: str = "page.updated", **more: Any) -> Encoded:
    data = {"project_id": "shop", "page": {"id": f"page-{number}"}, **more}
    return encode({"id": f"evt-{number}", "type": type_, "data": data})


def ids(events: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in events]


def test_events_arrive_in_their_order(door: Door, sender: Sender) -> None:
    for number in range(50):
        sender.put(event(number))

    assert sender.flush(20)
    assert ids(door.taken) == [f"evt-{number}" for number in range(50)]


def test_what_comes_while_a_request_is_under_way_goes_into_the_next(door: Door, sender: Sender) -> None:
    door.delay = 0.2
    for number in range(100):
        sender.put(event(number))

    assert sender.flush(20)
    assert len(door.posts) <= 10
    assert len(door.taken) == 100


def test_putting_never_waits_for_the_network(door: Door, sender: Sender) -> None:
    door.delay = 1
    began = time.monotonic()
    for number in range(20):
        sender.put(event(number))
    assert time.monotonic() - began < 5  # 20 requests of a second each, if it waited
    assert sender.flush(20)


@pytest.mark.parametrize("status", [401, 404, 429, 500, 502, 503])
def test_while_nobody_takes_them_events_wait_and_then_arrive_once(door: Door, sender: Sender, status: int) -> None:
    door.statuses.extend([status] * 5)
    for number in range(3):
        sender.put(event(number))

    assert sender.flush(20)
    assert ids(door.taken) == ["evt-0", "evt-1", "evt-2"]


def test_an_outage_is_in_the_log(door: Door, sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    door.statuses.extend([503, 401])
    sender.put(event(0))
    assert sender.flush(20)

    assert [one.levelname for one in caplog.records if one.name == "automation.client"] == ["WARNING", "ERROR"]
    assert "503" in caplog.text


def test_a_refused_event_is_dropped_by_name_and_the_others_arrive(
    door: Door, sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    door.statuses.append(503)  # so that all of them are in one list
    for number in range(5):
        sender.put(event(number, "bad.one" if number in (1, 3) else "page.updated"))

    assert sender.flush(20)
    assert ids(door.taken) == ["evt-0", "evt-2", "evt-4"]
    errors = [one.message for one in caplog.records if one.levelno == logging.ERROR]
    assert len(errors) == 2
    assert "evt-1" in errors[0]
    assert "'bad.one' of project 'shop', page 'page-1'" in errors[0]


def test_whatever_shape_a_refused_event_has_the_next_one_arrives(door: Door, sender: Sender) -> None:
    for data in (None, [], "x", {"page": []}, {"page": None}):
        sender.put(encode({"type": "bad.shape", "data": data}))
    sender.put(event(1))

    assert sender.flush(20)
    assert ids(door.taken) == ["evt-1"]


def test_a_refusal_that_names_no_event_costs_only_those_that_are_refused_alone(door: Door, sender: Sender) -> None:
    door.statuses.extend([503, 400, 202, 400])
    sender.put(event(0))
    sender.put(event(1))
    sender.put(event(2))

    assert sender.flush(20)
    assert len(door.taken) == 2


def test_when_too_much_waits_the_oldest_go_and_are_named(
    door: Door, sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    door.statuses.extend([503] * 100)
    for number in range(30):
        sender.put(event(number, note="x" * 10_000))
    door.statuses.clear()

    assert sender.flush(20)
    dropped = [one.args[0] for one in caplog.records if "is dropped" in one.message and isinstance(one.args, tuple)]
    assert {*dropped, *ids(door.taken)} == {f"evt-{number}" for number in range(30)}
    assert 15 < len(dropped) < 25
    assert ids(door.taken)[-1] == "evt-29"


def test_the_end_of_the_process_waits_for_what_is_left(door: Door, sender: Sender) -> None:
    door.statuses.extend([503] * 2)
    for number in range(3):
        sender.put(event(number))
    sender.close(5)

    assert len(door.taken) == 3


def test_the_end_of_the_process_does_not_wait_for_ever_and_names_what_is_lost(
    door: Door, sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    door.statuses.extend([503] * 1000)
    sender.put(event(7, note="a\nforged line"))
    sender.put(encode({"id": "evt-8", "type": "x\nforged", "data": {"project_id": "p\nforged"}}))
    began = time.monotonic()
    sender.close(0.5)

    assert time.monotonic() - began < 5
    lost = [one.message for one in caplog.records if "may be lost" in one.message]
    assert len(lost) == 2
    assert "evt-7" in lost[0]
    assert "\n" not in "".join(lost)


def test_the_memory_that_waits_is_bounded_for_events_of_any_size(door: Door, sender: Sender) -> None:
    door.statuses.extend([503] * 1000)
    for number in range(3000):
        sender.put(encode({"id": str(number), "type": "x", "data": {}}))

    assert len(sender._waiting) * 300 < 100_000
    assert json.loads(sender._waiting[-1].body)["id"] == "2999"
