"""What steps wait for comes: a time, the end of a patience, the end of another execution. Events come by the intake."""

import asyncio
import logging
from contextlib import suppress
from typing import Any

from automation.database import Database
from automation.intake import waits
from automation.models import Status, Wait, utc_now

log = logging.getLogger(__name__)

_AT_ONCE = 100
_PAUSE = 2.0
"""Longest wait in seconds between two looks, should a NOTIFY be lost."""


class Waits:
    """Resolves what is over. Any number may run side by side; each wait goes to one of them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Resolve until cancelled."""
        connection = await self.database.listen()
        try:
            await connection.add_listener(waits.WAITS_CHANNEL, lambda *_: self._wake.set())
            while not connection.is_closed():
                self._wake.clear()
                while await self.round():
                    pass
                await self._sleep()
        finally:
            connection.terminate()

    async def round(self) -> int:
        """Resolve what is over now; how many that were."""
        async with self.database.transaction() as session:
            due = await waits.due(session, _AT_ONCE)
            for wait in due:
                if wait.kind == "time":
                    await waits.resolve(session, wait, {"waited_until": utc_now().isoformat()})
                elif wait.on_timeout == "continue":
                    await waits.resolve(session, wait, {"timed_out": True})
                else:
                    await waits.fail(session, wait, "TIMED_OUT", f"{_WHAT[wait.kind]} did not come in time")
        async with self.database.transaction() as session:
            ended = await waits.children_ended(session, _AT_ONCE)
            for wait, child in ended:
                await _take(session, wait, child)
        return len(due) + len(ended)

    async def _sleep(self) -> None:
        async with self.database.transaction() as session:
            due = await waits.next_due(session)
        pause = min(_PAUSE, (due - utc_now()).total_seconds()) if due else _PAUSE
        with suppress(TimeoutError):
            async with asyncio.timeout(max(pause, 0.01)):
                await self._wake.wait()


_WHAT = {"event": "the event", "approval": "the approval", "execution": "the end of the workflow that it runs"}


async def _take(session: Any, wait: Wait, child: Any) -> None:
    """The child's outcome is the step's."""
    told = {"execution_id": str(child.child_id), "status": child.status}
    if child.status == Status.COMPLETED:
        await waits.resolve(session, wait, told | {"result": child.result})
    else:
        message = f"execution {child.child_id} is {child.status}: {child.error_message or 'without a message'}"
        await waits.fail(session, wait, "FAILED", message)
