"""The trigger types: what their configs may be, and which events they hear."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.errors import RefusedError
from automation.triggers.types import (
    BY_PATTERN,
    CONFIGS,
    STUDIO,
    YEAR,
    check_event_type,
    heard_as,
    hears,
    parse_config,
    patterns,
)

CRON = {"cron": "0 9 * * 1-5"}
DELAY = {"delay_seconds": 5}
SILENCE = {"after_seconds": 60}
FILES = {"root": "/srv/in"}
LEAST: dict[str, dict[str, Any]] = {"SCHEDULED": CRON, "DELAYED": DELAY, "TIMEOUT": SILENCE, "FILE_CHANGE": FILES}
EVERY: dict[str, Any] = {
    "key": "data.page.id",
    "throttle": {"limit": 2, "per_seconds": 60, "excess": "queue"},
    "dedupe_key": "{{ data.order.id }}",
    "concurrency": "replace",
}


@pytest.mark.parametrize("trigger_type", CONFIGS)
def test_every_type_takes_its_own_config_and_what_all_have(trigger_type: str) -> None:
    parse_config(trigger_type, LEAST.get(trigger_type, {}))
    parse_config(trigger_type, LEAST.get(trigger_type, {}) | EVERY)


@pytest.mark.parametrize("trigger_type", CONFIGS)
def test_an_unknown_key_is_refused_by_its_name_and_the_known_ones_are_told(trigger_type: str) -> None:
    with pytest.raises(RefusedError, match=rf"config\.colour: not known to {trigger_type}; known are .*key") as refused:
        parse_config(trigger_type, LEAST.get(trigger_type, {}) | {"colour": "red"})
    assert refused.value.field == "config.colour"


@pytest.mark.parametrize(
    ("trigger_type", "config"),
    [
        ("SCHEDULED", {**CRON, "timezone": "Europe/Paris", "catch_up": "all", "grace_seconds": 0}),
        ("DELAYED", {**DELAY, "cancel_on": "order.*", "key": "data.order.id"}),
        ("TIMEOUT", {**SILENCE, "key": "page"}),
        ("WEBHOOK", {"scheme": "stripe"}),
        ("API_CALL", {"input_schema": {"type": "object", "required": ["n"]}}),
        ("FILE_CHANGE", {**FILES, "glob": "*.csv", "on": ["created", "deleted"], "settle_seconds": 0.5}),
        ("FILE_CHANGE", {**FILES, "on": "created"}),
        ("EVENT", {"debounce_seconds": 0.5, "max_wait_seconds": 10}),
        ("ON_PAGE_UPDATE", {"debounce_seconds": 2, "max_wait_seconds": 2}),
        ("DELAYED", {"delay_seconds": YEAR}),
    ],
)
def test_a_right_config_is_taken(trigger_type: str, config: dict[str, Any]) -> None:
    assert parse_config(trigger_type, config).model_dump(exclude_unset=True, mode="json").keys() == config.keys()


@pytest.mark.parametrize(
    ("trigger_type", "config", "field"),
    [
        ("SCHEDULED", {}, "config.cron"),
        ("SCHEDULED", {"cron": "61 * * * *"}, "config.cron"),
        ("SCHEDULED", {**CRON, "timezone": "Mars/Olympus"}, "config.timezone"),
        ("SCHEDULED", {**CRON, "catch_up": "some"}, "config.catch_up"),
        ("SCHEDULED", {**CRON, "grace_seconds": -1}, "config.grace_seconds"),
        ("DELAYED", {}, "config.delay_seconds"),
        ("DELAYED", {"delay_seconds": 0}, "config.delay_seconds"),
        ("DELAYED", {"delay_seconds": "soon"}, "config.delay_seconds"),
        ("DELAYED", {"delay_seconds": float("inf")}, "config.delay_seconds"),
        ("DELAYED", {"delay_seconds": YEAR + 1}, "config.delay_seconds"),
        ("DELAYED", {**DELAY, "cancel_on": "not a type"}, "config.cancel_on"),
        ("TIMEOUT", {}, "config.after_seconds"),
        ("TIMEOUT", {"after_seconds": -5}, "config.after_seconds"),
        ("TIMEOUT", {**SILENCE, "debounce_seconds": 5}, "config"),
        ("WEBHOOK", {"scheme": "gitlab"}, "config.scheme"),
        ("API_CALL", {"input_schema": []}, "config.input_schema"),
        ("API_CALL", {"input_schema": {"type": "thing"}}, "config.input_schema"),
        ("API_CALL", {"debounce_seconds": 1}, "config"),
        ("FILE_CHANGE", {}, "config.root"),
        ("FILE_CHANGE", {**FILES, "on": []}, "config.on"),
        ("FILE_CHANGE", {**FILES, "on": ["renamed"]}, "config.on"),
        ("FILE_CHANGE", {**FILES, "settle_seconds": 0}, "config.settle_seconds"),
        ("EVENT", {"debounce_seconds": -1}, "config.debounce_seconds"),
        ("EVENT", {"max_wait_seconds": 5}, "config"),
        ("EVENT", {"debounce_seconds": 5, "max_wait_seconds": 4}, "config"),
        ("EVENT", {"throttle": {"limit": 0, "per_seconds": 1}}, "config.throttle.limit"),
        ("EVENT", {"throttle": {"limit": 1}}, "config.throttle.per_seconds"),
        ("EVENT", {"throttle": {"limit": 1, "per_seconds": 1, "excess": "wait"}}, "config.throttle.excess"),
        ("EVENT", {"throttle": {"limit": 1, "per_seconds": 1, "burst": 2}}, "config.throttle.burst"),
        ("EVENT", {"concurrency": "parallel"}, "config.concurrency"),
        ("EVENT", {"key": ""}, "config.key"),
        ("EVENT", {"key": 7}, "config.key"),
        ("EVENT", {"key": "{{ data.x"}, "config.key"),
        ("EVENT", {"dedupe_key": "{{ 1 + }}"}, "config.dedupe_key"),
        ("EVENT", {"cron": "* * * * *"}, "config.cron"),
        ("ON_PUBLISH", {"delay_seconds": 5}, "config.delay_seconds"),
    ],
)
def test_a_wrong_config_is_refused_with_its_field(trigger_type: str, config: dict[str, Any], field: str) -> None:
    with pytest.raises(RefusedError) as refused:
        parse_config(trigger_type, config)
    assert refused.value.field.startswith(field)
    assert str(refused.value).startswith("config")


def test_an_unknown_trigger_type_is_refused_and_the_known_ones_are_told() -> None:
    with pytest.raises(RefusedError, match="trigger_type: 'ON_TUESDAY' is not one of ON_PROJECT_CREATE, ") as refused:
        parse_config("ON_TUESDAY", {})
    assert refused.value.field == "trigger_type"


@pytest.mark.parametrize(
    ("trigger_type", "event_type"),
    [
        ("ON_PAGE_CHANGE", ""), ("ON_PAGE_CHANGE", "page.created"), ("ON_PUBLISH", "project.published"),
        ("EVENT", "order.paid"), ("EVENT", "order.*"), ("EVENT", "*"), ("EVENT", "a.b.c.*"), ("EVENT", "x" * 100),
        ("DELAYED", "order.paid"), ("TIMEOUT", ""), ("TIMEOUT", "order.*"),
        ("SCHEDULED", ""), ("WEBHOOK", ""), ("API_CALL", ""), ("FILE_CHANGE", ""),
    ],
)  # fmt: skip
def test_an_event_type_that_can_be_heard_is_taken(trigger_type: str, event_type: str) -> None:
    check_event_type(trigger_type, event_type)


@pytest.mark.parametrize(
    ("trigger_type", "event_type"),
    [
        ("ON_PAGE_CHANGE", "page.deleted"), ("ON_PAGE_UPDATE", "page.created"), ("ON_PUBLISH", "*"),
        ("EVENT", ""), ("DELAYED", ""), ("EVENT", "order.*.paid"), ("EVENT", "*.paid"), ("EVENT", "order*"),
        ("EVENT", "a b"), ("EVENT", "x" * 101), ("EVENT", "x" * 99 + ".*"), ("EVENT", "order.paid\n"),
        ("SCHEDULED", "order.paid"), ("WEBHOOK", "order.paid"), ("API_CALL", "*"), ("FILE_CHANGE", "a"),
    ],
)  # fmt: skip
def test_an_event_type_that_is_never_heard_is_refused(trigger_type: str, event_type: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_event_type(trigger_type, event_type)
    assert refused.value.field == "event_type"


def test_the_patterns_of_a_type_go_from_the_narrowest_to_the_widest() -> None:
    assert patterns("a.b.c") == ("a.b.c", "a.b.*", "a.*", "*")
    assert patterns("a") == ("a", "*")


@pytest.mark.parametrize("trigger_type", STUDIO)
@pytest.mark.parametrize("event_type", sorted({one for types in STUDIO.values() for one in types}))
def test_studios_triggers_hear_exactly_their_events(trigger_type: str, event_type: str) -> None:
    its_own = event_type in STUDIO[trigger_type]
    assert hears(trigger_type, "", event_type) is its_own
    assert hears(trigger_type, event_type, event_type) is its_own


NAMES = st.lists(st.sampled_from(["order", "paid", "a", "b-c", "x_1"]), min_size=1, max_size=4).map(".".join)


@given(st.sampled_from(BY_PATTERN), NAMES, NAMES)
def test_a_pattern_hears_what_begins_with_it_and_nothing_else(trigger_type: str, prefix: str, event_type: str) -> None:
    assert hears(trigger_type, prefix, event_type) is (prefix == event_type)
    assert hears(trigger_type, f"{prefix}.*", event_type) is event_type.startswith(f"{prefix}.")
    assert hears(trigger_type, "*", event_type)


@given(NAMES)
def test_no_trigger_is_found_twice_for_an_event(event_type: str) -> None:
    assert len(set(heard_as(event_type))) == len(heard_as(event_type))


def test_what_waits_for_a_door_of_its_own_hears_no_events() -> None:
    types = ("WEBHOOK", "API_CALL", "SCHEDULED", "FILE_CHANGE")
    assert not any(hears(type_, name, "a.b") for type_ in types for name in ("", "a.b", "*"))
