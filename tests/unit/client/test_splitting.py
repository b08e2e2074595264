"""Events become requests: what `encode` and `split` promise."""

import json
import math
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.client import RefusedError
from automation.client.events import MAX_BYTES, Encoded, encode, encode_all, joined, split

events_of_any_size = st.lists(st.integers(2, 60)).map(
    lambda sizes: [Encoded(str(index), b"x" * size) for index, size in enumerate(sizes)]
)


@given(events_of_any_size, st.integers(1, 8), st.integers(62, 200))
def test_splitting_keeps_every_event_once_in_its_order_within_both_limits(
    events: list[Encoded], max_events: int, max_bytes: int
) -> None:
    parts = list(split(events, max_events=max_events, max_bytes=max_bytes))

    assert [one for part in parts for one in part] == events
    assert all(1 <= len(part) <= max_events for part in parts)
    assert all(len(joined(part)) <= max_bytes for part in parts)


@given(events_of_any_size, st.integers(1, 8), st.integers(62, 200))
def test_a_request_is_only_ended_when_the_next_event_does_not_fit(
    events: list[Encoded], max_events: int, max_bytes: int
) -> None:
    parts = list(split(events, max_events=max_events, max_bytes=max_bytes))

    for part, following in pairwise(parts):
        longer = [*part, following[0]]
        assert len(longer) > max_events or len(joined(longer)) > max_bytes


def test_an_event_gets_an_id_and_a_timestamp_once() -> None:
    encoded = encode({"type": "project.published", "data": {"project_id": "p"}})

    sent = json.loads(encoded.body)
    assert sent["id"] == encoded.id
    assert datetime.fromisoformat(sent["timestamp"]).tzinfo
    assert encode(sent) == encoded


def test_an_id_and_a_timestamp_that_are_there_stay() -> None:
    sent = json.loads(encode({"id": "evt-1", "timestamp": "2026-01-15T10:30:00Z"}).body)

    assert (sent["id"], sent["timestamp"]) == ("evt-1", "2026-01-15T10:30:00Z")


def test_the_callers_event_is_left_as_it_is() -> None:
    event: dict[str, Any] = {"type": "x", "data": {}}
    encode(event)

    assert event == {"type": "x", "data": {}}


def test_uuids_and_times_may_stand_in_an_event() -> None:
    id_ = UUID(int=7)
    at = datetime(2026, 1, 15, tzinfo=UTC)

    sent = json.loads(encode({"timestamp": at, "data": {"project_id": id_, "ids": [id_]}}).body)

    assert sent["data"] == {"project_id": str(id_), "ids": [str(id_)]}
    assert sent["timestamp"] == "2026-01-15T00:00:00+00:00"


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "data",
    [math.nan, math.inf, "half \ud800", object(), {1, 2}, datetime(2026, 1, 15), {("a",): 1}, LOOP],
    ids=str,
)
def test_what_is_no_json_is_refused_with_its_index_before_anything_is_sent(data: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        encode_all([{"type": "x"}, {"type": "x", "data": data}])

    assert caught.value.index == 1
    assert "Event 1: cannot be written as JSON" in str(caught.value)


def test_one_event_in_place_of_a_list_is_refused() -> None:
    with pytest.raises(RefusedError, match="expected an object with type and data, got str"):
        encode_all({"type": "x", "data": {}})


def test_an_event_that_fits_no_request_is_refused_with_its_size() -> None:
    largest = encode({"id": "1", "data": ""})
    room = MAX_BYTES - len(joined([largest]))

    assert len(joined([encode({"id": "1", "data": "x" * (room - 20)})])) <= MAX_BYTES
    with pytest.raises(RefusedError, match=f"{MAX_BYTES} fit into one request"):
        encode({"id": "1", "data": "x" * (room + 20)})
