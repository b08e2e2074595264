"""PENDING → FIRING → RESOLVED: what time and sightings make of an incident. Without a database."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from automation.alerting.incidents import GAP, Finding, begun, clean, seen, unseen
from automation.alerting.rules import NoWorker
from automation.alerting.silences import silenced_until
from automation.models import Alert, Silence

NOW = datetime(2026, 1, 15, 3, 0, tzinfo=UTC)
FOUND = Finding("No worker", "one worker", value=0, limit=1, unit="workers")


def rule(**values: Any) -> NoWorker:
    return NoWorker(type="no_worker", severity="CRITICAL", title="t", todo="d", **values)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_a_rule_that_does_not_wait_fires_at_once() -> None:
    alert = begun("no-worker", rule(), FOUND, NOW)
    assert (alert.state, alert.fired_at, alert.created_at) == ("FIRING", NOW, NOW)
    assert alert.details == {"threshold": "one worker", "value": 0, "limit": 1, "unit": "workers"}


def test_one_that_waits_fires_when_it_was_seen_for_so_long() -> None:
    waits = rule(for_seconds=60)
    alert = begun("no-worker", waits, FOUND, NOW)
    for seconds, state in ((30, "PENDING"), (59, "PENDING"), (60, "FIRING"), (90, "FIRING")):
        seen(alert, waits, FOUND, after(seconds))
        assert alert.state == state
    assert (alert.created_at, alert.fired_at, alert.last_seen_at) == (NOW, after(60), after(90))


def test_a_gap_in_the_looks_begins_it_anew_while_it_is_pending_and_not_when_it_fires() -> None:
    waits = rule(for_seconds=60)
    alert = begun("no-worker", waits, FOUND, NOW)
    later = NOW + GAP + timedelta(seconds=1)
    seen(alert, waits, FOUND, later)
    assert (alert.state, alert.created_at) == ("PENDING", later)

    fires = begun("no-worker", rule(), FOUND, NOW)
    seen(fires, rule(), FOUND, later)
    assert (fires.state, fires.created_at) == ("FIRING", NOW)


def test_a_clock_that_was_set_back_ends_nothing() -> None:
    keeps = rule(resolve_after_seconds=60)
    alert = begun("no-worker", keeps, FOUND, NOW)
    assert not unseen(alert, keeps, after(-3600))
    seen(alert, keeps, FOUND, after(-3600))
    assert alert.state == "FIRING"


def test_what_is_not_seen_is_over_when_the_rule_says_so() -> None:
    keeps = rule(resolve_after_seconds=60)
    alert = begun("no-worker", keeps, FOUND, NOW)
    assert [unseen(alert, keeps, after(seconds)) for seconds in (1, 59, 60)] == [False, False, True]
    assert unseen(begun("no-worker", rule(), FOUND, NOW), rule(), after(1))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        ("password=swordfish now", "password=[redacted] now"),
        ("x" * 600, "x" * 499 + "…"),
    ],
)
def test_hostile_text_becomes_one_line_without_secrets(given: str, shown: str) -> None:
    assert clean(given) == shown


# --- silences ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("silence", "names"),
    [
        ({}, True),
        ({"rule": "disk-full"}, True),
        ({"rule": "no-worker"}, False),
        ({"fingerprint": "host-1"}, True),
        ({"fingerprint": "host-2"}, False),
        ({"project_id": "p1"}, True),
        ({"project_id": "p2"}, False),
        ({"rule": "disk-full", "project_id": "p2"}, False),
        ({"until": NOW}, False),
    ],
)
def test_a_silence_names_what_it_says_and_does_not_narrow_by_what_it_leaves_out(
    silence: dict[str, Any], names: bool
) -> None:
    alert = Alert(id=uuid4(), rule="disk-full", fingerprint="host-1", project_id="p1")
    one = Silence(**{"until": after(60), "rule": None, "fingerprint": None, "project_id": None} | silence)
    assert (silenced_until(alert, [one], NOW) is not None) is names
