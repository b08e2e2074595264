"""The intake: events come in, executions come out, both in one transaction."""

from automation.intake.accept import Accepted, accept
from automation.intake.announce import PREFIX, announce
from automation.intake.create import Started, create_executions, start_workflow
from automation.intake.events import IncomingEvent, parse_event, parse_events

__all__ = [
    "PREFIX",
    "Accepted",
    "IncomingEvent",
    "Started",
    "accept",
    "announce",
    "create_executions",
    "parse_event",
    "parse_events",
    "start_workflow",
]
