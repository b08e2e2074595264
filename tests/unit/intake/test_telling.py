"""What Prefect is told of events and decisions, and when nothing is told."""

import json
import logging
from typing import Any
from uuid import UUID

import pytest
from prefect.events.schemas.events import Event

from automation.intake import Accepted, PastEvent
from automation.intake.create import Started
from automation.intake.telling import Teller, decision_events, prefect_events
from automation.logs.lines import LineFormatter
from automation.models import Json, utc_now
from automation.requests import NOWHERE, Origin, origin

EVENT = PastEvent("e-1", "page.updated", "p1", {"project_id": "p1"}, utc_now())
TRIGGER, WORKFLOW, EXECUTION = (str(UUID(int=number)) for number in (1, 2, 3))
FIRED = {"trigger_id": TRIGGER, "workflow_id": WORKFLOW, "outcome": "fired", "execution_id": EXECUTION}
DELAYED = {
    "trigger_id": TRIGGER, "workflow_id": WORKFLOW, "outcome": "delayed",
    "timer_id": str(UUID(int=4)), "due_at": "2026-01-15T10:30:00+00:00",
}  # fmt: skip
STARTED = Started(UUID(EXECUTION), UUID(WORKFLOW), "auto-save", "PENDING")
UNREADABLE: Json = {}
"""A decision of which no event can be made: to make one of it is an error."""


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def accepted(*decisions: Json, **values: Any) -> Accepted:
    return Accepted(EVENT, **{"duplicate": False, "decisions": list(decisions)} | values)


def roles(event: Json) -> dict[str, str]:
    return {one["prefect.resource.role"]: one["prefect.resource.id"] for one in event["related"]}


def names(events: list[Json]) -> list[str]:
    return [one["event"] for one in events]


# --- what is told -------------------------------------------------------------------------------------------


def test_an_event_is_told_as_received_with_what_it_started() -> None:
    received, *_ = prefect_events(accepted(FIRED, executions=[STARTED]))

    assert received["event"] == "automation.event.received"
    assert received["resource"] == {
        "prefect.resource.id": "automation.event.e-1",
        "prefect.resource.name": "page.updated",
        "automation.event_type": "page.updated",
    }
    assert roles(received) == {"project": "studio.project.p1"}
    assert received["payload"] == {
        "event_id": "e-1", "event_type": "page.updated", "project_id": "p1", "executions": [EXECUTION]
    }  # fmt: skip


def test_each_decision_is_an_event_of_its_trigger_named_after_its_outcome() -> None:
    _, fired, delayed = prefect_events(accepted(FIRED, DELAYED))

    assert names([fired, delayed]) == ["automation.trigger.fired", "automation.trigger.delayed"]
    assert fired["resource"]["prefect.resource.id"] == f"automation.trigger.{TRIGGER}"
    assert roles(fired) == {
        "project": "studio.project.p1",
        "workflow": f"automation.workflow.{WORKFLOW}",
        "event": "automation.event.e-1",
        "execution": f"automation.execution.{EXECUTION}",
    }
    assert "execution" not in roles(delayed)
    assert delayed["payload"] == DELAYED | {"event_id": "e-1", "event_type": "page.updated", "project_id": "p1"}


def test_prefect_takes_what_it_is_told() -> None:
    for one in prefect_events(accepted(FIRED, DELAYED)):
        Event.model_validate(one)


def test_of_an_event_that_was_seen_before_nothing_is_told() -> None:
    assert prefect_events(accepted(FIRED, duplicate=True)) == []


def test_an_event_without_a_project_involves_none() -> None:
    [told] = decision_events(PastEvent("e-1", "cron.slot", "", {}, utc_now()), [FIRED])
    assert "project" not in roles(told)


# --- when nothing is told -----------------------------------------------------------------------------------


def test_what_comes_slowly_is_told_in_full() -> None:
    clock = Clock()
    teller = Teller(10, clock)

    for _ in range(100):
        assert len(teller.told([accepted(FIRED)])) == 2
        clock.now += 0.2


def test_over_the_limit_nothing_is_told_and_no_event_is_made(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    teller = Teller(10, clock)

    first = teller.told([accepted(*[UNREADABLE] * 50)])
    later = [event for _ in range(800) for event in teller.told([accepted(UNREADABLE)])]

    assert names(first) == ["automation.decision-events.paused"]
    assert later == []
    [line] = caplog.records
    assert line.levelno == logging.WARNING
    assert "AUTOMATION_DECISION_EVENTS_PER_SECOND" in line.getMessage()


def test_while_the_volume_stays_high_nothing_is_told() -> None:
    clock = Clock()
    teller = Teller(10, clock)
    teller.told([accepted(*[UNREADABLE] * 50)])

    for _ in range(100):
        clock.now += 1
        assert teller.told([accepted(*[UNREADABLE] * 10)]) == []


def test_after_a_quiet_time_it_is_told_again_and_how_much_was_not() -> None:
    clock = Clock()
    teller = Teller(10, clock)
    teller.told([accepted(*[UNREADABLE] * 50)])
    clock.now += 3
    assert teller.told([accepted(UNREADABLE)]) == []
    clock.now += 10

    resumed, *told = teller.told([accepted(FIRED)])

    assert resumed["event"] == "automation.decision-events.resumed"
    assert resumed["payload"] == {"per_second": 10, "untold": 53}
    assert names(told) == ["automation.event.received", "automation.trigger.fired"]


def test_the_limit_concerns_all_and_its_lines_belong_to_no_request(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caplog.handler, "formatter", LineFormatter())
    clock = Clock()
    teller = Teller(10, clock)

    with caplog.at_level(logging.INFO):
        Origin("req-1", f"00-{'a' * 32}-{'b' * 16}-01").take_up()
        teller.told([accepted(*[UNREADABLE] * 50)])
        clock.now += 20
        teller.told([accepted(FIRED)])
        assert origin().request_id == "req-1"
        NOWHERE.take_up()

    paused, resumed = map(json.loads, caplog.text.splitlines())
    assert (paused["level"], resumed["level"]) == ("WARNING", "INFO")
    assert not {"request_id", "trace_id"} & (paused["metadata"].keys() | resumed["metadata"].keys())


def test_bursts_that_come_one_after_the_other_are_one_pause() -> None:
    clock = Clock()
    teller = Teller(10, clock)
    notices = []
    for _ in range(10):
        notices += teller.told([accepted(*[UNREADABLE] * 500)])
        clock.now += 20

    assert names(notices) == ["automation.decision-events.paused"]


def test_what_a_timer_brings_back_counts_too() -> None:
    clock = Clock()
    teller = Teller(10, clock)

    assert names(teller.told_later(EVENT, [FIRED])) == ["automation.trigger.fired"]
    assert names(teller.told_later(EVENT, [UNREADABLE] * 60)) == ["automation.decision-events.paused"]
    assert teller.told([accepted(UNREADABLE)]) == []


def test_a_limit_of_zero_tells_nothing_ever(caplog: pytest.LogCaptureFixture) -> None:
    teller = Teller(0)
    assert teller.told([accepted(UNREADABLE)]) == teller.told_later(EVENT, [UNREADABLE]) == []
    assert caplog.records == []


def test_duplicates_cost_nothing_of_the_limit() -> None:
    teller = Teller(10, Clock())
    assert teller.told([accepted(*[UNREADABLE] * 500, duplicate=True)]) == []
    assert len(teller.told([accepted(FIRED)])) == 2
