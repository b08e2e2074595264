"""The intake: events come in, executions come out, both in one transaction."""

from automation.intake.accept import Accepted, accept, accept_for, accept_in
from automation.intake.announce import PREFIX, Announcer, announce
from automation.intake.create import Started, create_executions, start_workflow
from automation.intake.events import IncomingEvent, PastEvent, parse_event, parse_events
from automation.intake.slots import fire_slot

__all__ = [
    "PREFIX",
    "Accepted",
    "Announcer",
    "IncomingEvent",
    "PastEvent",
    "Started",
    "accept",
    "accept_for",
    "accept_in",
    "announce",
    "create_executions",
    "fire_slot",
    "parse_event",
    "parse_events",
    "start_workflow",
]
