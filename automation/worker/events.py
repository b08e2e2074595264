"""Prefect's events that concern a work pool's runs: hints to look at once, never the only way to know."""

import asyncio
from collections.abc import Callable
from uuid import UUID

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.logging import get_logger

log = get_logger("worker.warm")

CANCELLING = "prefect.flow-run.Cancelling"
# every name that Prefect gives to a state of type SCHEDULED
SCHEDULED = [
    f"prefect.flow-run.{name}"
    for name in ("Scheduled", "Late", "AwaitingRetry", "AwaitingConcurrencySlot", "Resuming", "Retrying")
]
_RECONNECT = 2.0


async def listen(work_pool_id: UUID, heard: Callable[[str], None], connected: Callable[[bool], None]) -> None:
    """Call `heard` with each event's name, and `connected` whenever the connection is made or lost; for ever."""
    pool = EventAnyResourceFilter(id=[f"prefect.work-pool.{work_pool_id}"])
    failed = False
    while True:
        try:
            chosen = EventFilter(event=EventNameFilter(name=[*SCHEDULED, CANCELLING]), any_resource=pool)
            async with get_events_subscriber(filter=chosen, reconnection_attempts=0) as events:
                connected(True)
                failed = False
                async for event in events:
                    heard(event.event)
        except Exception as error:
            if not failed:
                log.warning("Prefect's events do not reach this worker, which polls meanwhile: %r", error)
            failed = True
        finally:
            connected(False)
        await asyncio.sleep(_RECONNECT)
