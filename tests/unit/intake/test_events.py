"""What arrives as an event, and how much of it is believed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.errors import RefusedError
from automation.intake import parse_event, parse_events
from automation.intake.events import EVENTS_PER_REQUEST


def page_event(**page: Any) -> dict[str, Any]:
    return {"type": "page.updated", "data": {"project_id": "p1", "page": {"id": "home", **page}}}


def refused(raw: object) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        parse_event(raw)
    return caught.value


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (None, ""),
        ("page.updated", ""),
        ([], ""),
        ({}, "type"),
        ({"type": "page.updated"}, "data"),
        ({"type": "page.updated", "data": []}, "data"),
        ({"type": "", "data": {"project_id": "p"}}, "type"),
        ({"type": "a b", "data": {"project_id": "p"}}, "type"),
        ({"type": "x\ny", "data": {"project_id": "p"}}, "type"),
        ({"type": "x\n", "data": {"project_id": "p"}}, "type"),
        ({"type": "x" * 101, "data": {"project_id": "p"}}, "type"),
        ({"type": "x", "data": {}}, "data.project_id"),
        ({"type": "x", "data": {"project_id": 7}}, "data.project_id"),
        ({"type": "x", "data": {"project_id": ""}}, "data.project_id"),
        ({"type": "page.updated", "data": {"project_id": "p"}}, "data.page"),
        ({"type": "page.updated", "data": {"project_id": "p", "page": "home"}}, "data.page"),
        ({"type": "page.updated", "data": {"project_id": "p", "page": {}}}, "data.page.id"),
        ({"type": "page.deleted", "data": {"project_id": "p"}}, "data.page"),
        ({"type": "x", "data": {"project_id": "p"}, "id": ""}, "id"),
        ({"type": "x", "data": {"project_id": "p"}, "id": "a b"}, "id"),
        ({"type": "x", "data": {"project_id": "p"}, "id": "a\n"}, "id"),
        ({"type": "x", "data": {"project_id": "p"}, "id": "é"}, "id"),
        ({"type": "x", "data": {"project_id": "p"}, "id": "x" * 201}, "id"),
        ({"type": "x", "data": {"project_id": "p"}, "timestamp": "yesterday"}, "timestamp"),
        ({"type": "x", "data": {"project_id": "p"}, "timestamp": "2026-01-15T10:30:00"}, "timestamp"),
        ({"type": "x", "data": {"project_id": "p"}, "timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp"),
        ({"type": "x", "data": {"project_id": "p"}, "timestamp": "9999-12-31T23:59:59-14:00"}, "timestamp"),
    ],
)
def test_rubbish_is_refused_and_the_place_is_named(raw: object, field: str) -> None:
    assert refused(raw).field == field


@pytest.mark.parametrize("name", ["a/b", "..", "a/../b", "a\\b", ".", "a\0b", "a\nb", "\ud800", "x" * 129, "é" * 101])
def test_an_id_with_path_tricks_is_refused(name: str) -> None:
    assert refused({"type": "x", "data": {"project_id": name}}).field == "data.project_id"
    assert refused(page_event(id=name)).field == "data.page.id"


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "\udfff tail"])
def test_text_that_postgresql_cannot_store_is_refused_wherever_it_hides(text: str) -> None:
    assert refused(page_event(config={"components": [{"title": text}]})).field == (
        "data.page.config.components.0.title"
    )
    assert refused(page_event(config={text: 1})).field == "data.page.config"


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**40])
def test_a_whole_number_beyond_64_bits_is_refused(number: int) -> None:
    assert refused(page_event(config={"n": number})).field == "data.page.config.n"


def test_nesting_has_a_limit_and_it_does_not_end_in_a_crash() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]

    assert "nested deeper" in str(refused(page_event(config=deep)))


def test_a_project_event_may_name_its_project_in_the_project_itself() -> None:
    event = parse_event({"type": "project.created", "data": {"project": {"id": "p9"}}})

    assert event.project_id == "p9"


@pytest.mark.parametrize(
    ("given", "kept"),
    [(3, 3), (0, 0), (2**63 - 1, 2**63 - 1), (-1, None), (True, None), ("3", None), (3.0, None), (None, None)],
)
def test_a_version_is_a_whole_number_from_zero_on(given: object, kept: int | None) -> None:
    assert parse_event(page_event(version=given)).version == kept


def test_an_event_without_id_and_time_gets_both() -> None:
    before = datetime.now(UTC)

    one, two = parse_event(page_event()), parse_event(page_event())

    assert one.id != two.id
    assert before <= one.occurred_at <= datetime.now(UTC)


def test_the_senders_clock_counts_unless_it_is_ahead_of_ours() -> None:
    past = parse_event({**page_event(), "timestamp": "2026-01-15T11:30:00+01:00"})
    future = parse_event({**page_event(), "timestamp": "2999-01-15T11:30:00Z"})

    assert past.occurred_at == datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
    assert future.occurred_at - datetime.now(UTC) < timedelta(seconds=5)


def test_a_sender_cannot_say_when_we_received_it() -> None:
    long_ago = "2000-01-01T00:00:00Z"

    event = parse_event({**page_event(), "received_at": long_ago, "_received_at": long_ago})

    assert datetime.now(UTC) - event.received_at < timedelta(seconds=5)


def test_one_bad_element_refuses_the_list_and_is_named_by_its_index() -> None:
    with pytest.raises(RefusedError) as caught:
        parse_events([page_event(), page_event(id="../x"), page_event()])

    assert caught.value.field == "1.data.page.id"


def test_a_list_has_a_limit() -> None:
    assert len(parse_events([page_event()] * EVENTS_PER_REQUEST)) == EVENTS_PER_REQUEST
    with pytest.raises(RefusedError, match="at most 500"):
        parse_events([page_event()] * (EVENTS_PER_REQUEST + 1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = st.sampled_from(["type", "data", "id", "timestamp"])
NEARLY = st.fixed_dictionaries(
    {"type": st.sampled_from(["page.updated", "project.created", "x.y"]) | JSON},
    optional={
        "id": st.text() | JSON,
        "timestamp": st.datetimes(timezones=st.timezones()).map(str) | st.integers() | st.floats() | JSON,
        "data": st.fixed_dictionaries(
            {},
            optional={
                "project_id": st.text(min_size=1, max_size=5) | JSON,
                "project": JSON,
                "page": st.fixed_dictionaries({"id": st.text(max_size=5)}, optional={"version": JSON, "config": JSON})
                | JSON,
            },
        )
        | JSON,
    },
)


@given(JSON | st.dictionaries(NAMES, JSON) | NEARLY)
def test_whatever_arrives_is_refused_with_a_reason_or_can_be_stored(raw: object) -> None:
    try:
        event = parse_event(raw)
    except RefusedError:
        return
    assert event.occurred_at <= event.received_at
    assert "\\u0000" not in orjson.dumps(event.data).decode()
    assert 1 <= len(event.project_id) <= 128
    assert 1 <= len(event.id) <= 200
