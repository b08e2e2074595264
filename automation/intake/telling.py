"""Telling Prefect what came in and what each trigger made of it, while that is not too much to tell.

A Prefect event costs its server 2 ms of CPU, so there is a limit a second. Over it nothing is told until the
volume has fallen; the announcements, which start runs, are never held back.
"""

import logging
from collections.abc import Callable, Sequence
from time import monotonic

from automation.intake.accept import Accepted
from automation.intake.events import HasHappened
from automation.models import Json
from automation.prefect_events import EVENT, EXECUTION, PROJECT, TRIGGER, WORKFLOW, prefect_event, related
from automation.requests import context_of_nobody

_BURST = 5.0
"""Seconds' worth of events that may come at once, after a silence of as many seconds."""
_DEBT = 60.0
"""Seconds' worth by which a volume that was too high can put off its end, so that one burst after the other is
one pause."""
_RESOURCE = "automation.decision-events"

log = logging.getLogger(__name__)


def prefect_events(accepted: Accepted) -> list[Json]:
    """`automation.event.received`, and an event for each decision; none for a duplicate, which changed nothing."""
    event = accepted.event
    if accepted.duplicate:
        return []
    received = prefect_event(
        "automation.event.received",
        EVENT + event.id,
        event.type,
        labels={"automation.event_type": event.type},
        related=_project(event),
        payload={
            "event_id": event.id,
            "event_type": event.type,
            "project_id": event.project_id,
            "executions": [str(one.id) for one in accepted.executions],
        },
    )
    return [received, *decision_events(event, accepted.decisions)]


def decision_events(event: HasHappened, decisions: Sequence[Json]) -> list[Json]:
    """`automation.trigger.<outcome>` for each of the decisions on an event."""
    return [_decision_event(event, one) for one in decisions]


def _decision_event(event: HasHappened, decision: Json) -> Json:
    workflow_id, execution_id = decision["workflow_id"], decision.get("execution_id")
    return prefect_event(
        TRIGGER + decision["outcome"],
        TRIGGER + decision["trigger_id"],
        event.type,
        labels={"automation.event_type": event.type},
        related=[
            *_project(event),
            related("workflow", WORKFLOW + workflow_id),
            related("event", EVENT + event.id),
            *([related("execution", EXECUTION + execution_id)] if execution_id else []),
        ],
        payload={**decision, "event_id": event.id, "event_type": event.type, "project_id": event.project_id},
    )


def _project(event: HasHappened) -> list[dict[str, str]]:
    return [related("project", PROJECT + event.project_id)] if event.project_id else []


class Teller:
    """What of this process may be told, by a bucket of tokens that fills by `per_second`; 0 tells nothing ever.

    When it is empty, nothing is told before it is full again; what is not told is charged all the same, so that
    it does not fill while too much comes.
    """

    def __init__(self, per_second: int, clock: Callable[[], float] = monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._tokens = per_second * _BURST
        self._filled_at = clock()
        self._untold: int | None = None
        """How many events were not told in this pause, or None when there is none."""

    def told(self, answers: Sequence[Accepted]) -> list[Json]:
        """What is to be sent of events that were taken in; no object is made of what is not sent."""
        cost = sum(1 + len(one.decisions) for one in answers if not one.duplicate)
        admitted, notices = self._charge(cost)
        return [*notices, *(event for one in answers for event in prefect_events(one))] if admitted else notices

    def told_later(self, event: HasHappened, decisions: Sequence[Json]) -> list[Json]:
        """The same for an event that had waited: its timer was due."""
        admitted, notices = self._charge(len(decisions))
        return [*notices, *decision_events(event, decisions)] if admitted else notices

    def _charge(self, cost: int) -> tuple[bool, list[Json]]:
        """Whether `cost` events may be told, and what is to be told of the limit itself."""
        if not self._per_second or not cost:
            return False, []
        now, full = self._clock(), self._per_second * _BURST
        tokens = min(full, self._tokens + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        self._tokens = max(tokens - cost, -self._per_second * _DEBT)
        notices = []
        if self._untold is not None and tokens == full:
            notices.append(self._resumed(self._untold))
            self._untold = None
        if self._untold is None and tokens < cost:
            notices.append(self._paused())
            self._untold = 0
        if self._untold is None:
            return True, notices
        self._untold += cost
        return False, notices

    def _paused(self) -> Json:
        context_of_nobody().run(
            log.warning,
            "More than %d decisions on triggers a second: Prefect is told none of them until it is less "
            "(AUTOMATION_DECISION_EVENTS_PER_SECOND).",
            self._per_second,
        )
        payload = {"per_second": self._per_second}
        return prefect_event(f"{_RESOURCE}.paused", _RESOURCE, "Events of decisions", payload=payload)

    def _resumed(self, untold: int) -> Json:
        again = "Prefect is told of decisions on triggers again; it was not told of %d."
        context_of_nobody().run(log.info, again, untold)
        payload = {"per_second": self._per_second, "untold": untold}
        return prefect_event(f"{_RESOURCE}.resumed", _RESOURCE, "Events of decisions", payload=payload)
