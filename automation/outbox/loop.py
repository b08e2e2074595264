"""The outbox's loop: what is owed is delivered when the neighbour is back."""

import asyncio
import logging
from collections import defaultdict
from contextlib import suppress
from datetime import timedelta
from time import monotonic

from sqlalchemy import Select, select, update

from automation.database import Database
from automation.errors import ValidationError, as_step_error
from automation.models import Owed, utc_now
from automation.models.channels import OWED_CHANNEL
from automation.models.execution_queries import origin_of
from automation.outbox.deliver import deliver
from automation.outbox.pace import Pace
from automation.settings import Settings
from automation.steps import one_line

log = logging.getLogger(__name__)

_LOCK = 0x4F57_4544  # "OWED"
_PAUSE = 2.0
"""Seconds between two looks, unless somebody says that a message is to go out now."""
_AT_ONCE = 8
"""Deliveries to one neighbour under way at once: it has just come back."""
_PAGE = 80
"""Of one neighbour in a round, so that a slow one does not keep the others waiting for long."""
_STANDS = 3
"""Failures after which a row lets the others pass, so that one that a neighbour cannot digest does not stop all."""


class Outbox:
    """Delivers what is owed, to each neighbour the oldest first.

    A neighbour that is away is tried with one delivery at a time, after 5 s and then twice as long each time, up to
    5 min. Killed between a delivery and its record, it delivers again, under the same idempotency key.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self._pace: defaultdict[str, Pace] = defaultdict(Pace)
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Deliver until cancelled, while this process holds the lock: so there is one try at a time."""
        connection = await self.database.listen()
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                await asyncio.sleep(_PAUSE)
            await connection.add_listener(OWED_CHANNEL, lambda *_: self._wake.set())
            while not connection.is_closed():
                self._wake.clear()
                if not await self.round():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), _PAUSE)
        finally:
            connection.terminate()

    async def round(self) -> bool:
        """One look at who is owed something and may be tried now; whether somebody took all that it was given."""
        async with self.database.transaction() as session:
            query = select(Owed.neighbour).where(Owed.status == "OWED").distinct()  # ix_outbox_owed
            neighbours = set(await session.scalars(query))
        for gone in self._pace.keys() - neighbours:
            del self._pace[gone]
        due = [one for one in neighbours if self._pace[one].next_try <= monotonic()]
        return any(await asyncio.gather(*map(self._serve, due)))

    async def _serve(self, neighbour: str) -> bool:
        """Deliver the first that is owed, and if that works some more; whether all of that worked."""
        async with self.database.transaction() as session:
            owed = list(await session.scalars(_owed(neighbour)))
        if not owed or not await self._try(owed[0]):
            return False
        for start in range(1, len(owed), _AT_ONCE):
            if not all(await asyncio.gather(*map(self._try, owed[start : start + _AT_ONCE]))):
                return False
        return True

    async def _try(self, owed: Owed) -> bool:
        """Deliver one, and record what came of it; whether the neighbour answered."""
        async with self.database.transaction() as session:
            (await origin_of(session, owed.execution_id)).take_up()
        pace = self._pace[owed.neighbour]
        try:
            await deliver(self.settings, owed)
        except ValidationError as refusal:
            pace.worked()
            log.error("%s will not have what %s owes it: %s", owed.neighbour, owed.idempotency_key, refusal)
            await self._record(owed, status="REFUSED", last_error=str(refusal))
            return True
        except Exception as raised:
            error = as_step_error(raised)
            wait = pace.failed(monotonic(), error.retry_after)
            log.warning("%s is away, next try in %.0f s: %s", owed.neighbour, wait, one_line(str(error)))
            await self._record(owed, last_error=str(error), due_at=utc_now() + timedelta(seconds=wait))
            return False
        pace.worked()
        await self._record(owed, status="DELIVERED", last_error="", delivered_at=utc_now())
        return True

    async def _record(self, owed: Owed, **values: object) -> None:
        change = update(Owed).where(Owed.id == owed.id, Owed.status == "OWED")
        async with self.database.transaction() as session:
            await session.execute(change.values(attempts=Owed.attempts + 1, **values))


def _owed(neighbour: str) -> Select[tuple[Owed]]:
    """What is owed to a neighbour, in the order in which it is delivered."""
    return (
        select(Owed)
        .where(Owed.neighbour == neighbour, Owed.status == "OWED")
        .order_by(Owed.attempts // _STANDS, Owed.created_at, Owed.id)
        .limit(_PAGE)
    )
