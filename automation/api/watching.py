"""Executions that somebody watches: one look a while for all of them, however many watch.

The engine tells nobody of its steps, since a batch run would pay for that whether somebody watches or not. So the
database is asked, in one statement for all executions that are watched in this process, and only while there are any.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from uuid import UUID

import asyncpg
import orjson
import sqlalchemy.exc

from automation.api.execution_answers import ExecutionDetailOut, shown
from automation.database import Database
from automation.errors import NotFoundError, UnavailableError
from automation.models import FINAL, Json
from automation.models.execution_queries import change_marks
from automation.requests import context_of_nobody
from automation.steps import one_line

MOST = 1000
"""Watchers that one process serves; each is a connection that stays open."""
HEARTBEAT = b": still here\n\n"

log = logging.getLogger(__name__)


class _Watched:
    """An execution as it was last seen, as server-sent events; each change of it has the next number.

    `end` stays empty when the watchers have to leave although it has not ended.
    """

    def __init__(self, mark: str, detail: Json, snapshot: bytes) -> None:
        self.mark = mark
        self.detail = detail
        self.snapshot = snapshot
        self.change = b""
        self.number = 0
        self.watchers = 0
        self.is_over = False
        self.end = b""
        self.news = asyncio.Event()

    def leave(self, status: str | None) -> None:
        """It has ended; None: it is gone."""
        self.is_over, self.end = True, _event("end", {"status": status})

    def tell(self) -> None:
        """Wake all that wait for news."""
        news, self.news = self.news, asyncio.Event()
        news.set()


class Watching:
    """The watchers of one process.

    Args:
        pause: seconds between two looks at the database.
        heartbeat: seconds without news after which a watcher hears that the connection lives.
    """

    def __init__(self, database: Database, *, pause: float = 0.5, heartbeat: float = 15.0) -> None:
        self.database = database
        self._pause = pause
        self._heartbeat = heartbeat
        self._watched: dict[UUID, _Watched] = {}
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_looking(self) -> bool:
        """Whether the database is asked again and again."""
        return self._looking is not None

    async def follow(self, execution_id: UUID) -> AsyncGenerator[bytes, None]:
        """An execution as server-sent events: `snapshot` with its detail, `change` with those fields of it that have
        changed, `end` when it has ended. A watcher too slow for each change gets snapshots.

        Raises:
            NotFoundError: there is no such execution.
            UnavailableError: there are too many watchers, or the process is about to end.
        """
        if self._closed or sum(one.watchers for one in self._watched.values()) >= MOST:
            raise UnavailableError("This process takes no more watchers; ask for the execution itself.")
        return self._events(execution_id, self._watched.get(execution_id) or await self._first_look(execution_id))

    async def close(self) -> None:
        """Send all watchers away, at once."""
        self._closed = True
        for watched in self._watched.values():
            watched.is_over = True
            watched.tell()
        if self._looking:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _events(self, execution_id: UUID, watched: _Watched) -> AsyncGenerator[bytes, None]:
        if not watched.is_over:
            watched = self._join(execution_id, watched)
        try:
            seen = watched.number
            yield watched.snapshot
            while True:
                news = watched.news
                if watched.number > seen:
                    event = watched.change if watched.number == seen + 1 else watched.snapshot
                    seen = watched.number
                    yield event
                elif watched.is_over:
                    if watched.end:
                        yield watched.end
                    return
                else:
                    try:
                        async with asyncio.timeout(self._heartbeat):
                            await news.wait()
                    except TimeoutError:
                        yield HEARTBEAT
        finally:
            watched.watchers -= 1
            if watched.watchers <= 0 and self._watched.get(execution_id) is watched:
                del self._watched[execution_id]

    def _join(self, execution_id: UUID, watched: _Watched) -> _Watched:
        """Watch it, together with whoever has come first."""
        watched = self._watched.setdefault(execution_id, watched)
        watched.watchers += 1
        if self._closed:
            watched.is_over = True
        elif self._looking is None:
            self._looking = asyncio.create_task(self._look(), context=context_of_nobody())
        return watched

    async def _first_look(self, execution_id: UUID) -> _Watched:
        async with self.database.transaction() as session:
            marks = await change_marks(session, [execution_id])
            detail = await shown(session, execution_id)
        watched = _Watched(marks.get(execution_id, ""), *await asyncio.to_thread(_encoded, detail))
        if detail.status in FINAL:
            watched.leave(detail.status)
        return watched

    async def _look(self) -> None:
        """Look at all that is watched, again and again, until nothing is."""
        try:
            while self._watched:
                await asyncio.sleep(self._pause)
                try:
                    await self._round()
                except (OSError, asyncpg.PostgresError, sqlalchemy.exc.SQLAlchemyError) as error:
                    log.warning("Executions that are watched could not be looked at: %s", one_line(str(error)))
        finally:
            self._looking = None

    async def _round(self) -> None:
        looked_at = dict(self._watched)
        async with self.database.transaction() as session:
            marks = await change_marks(session, looked_at)
        for execution_id, watched in looked_at.items():
            if marks.get(execution_id) != watched.mark:
                await self._see(execution_id, watched, marks.get(execution_id))

    async def _see(self, execution_id: UUID, watched: _Watched, mark: str | None) -> None:
        """Tell the watchers of an execution what has changed; one that has ended is watched no longer."""
        try:
            async with self.database.transaction() as session:
                seen = await shown(session, execution_id)
        except NotFoundError:
            status = None
        else:
            status = seen.status
            detail, snapshot = await asyncio.to_thread(_encoded, seen)
            changed = {name: value for name, value in detail.items() if value != watched.detail[name]}
            watched.mark, watched.detail = mark or "", detail
            if changed:
                watched.snapshot, watched.change = snapshot, _event("change", changed)
                watched.number += 1
        if status is None or status in FINAL:
            watched.leave(status)
            self._watched.pop(execution_id, None)
        watched.tell()


def _encoded(detail: ExecutionDetailOut) -> tuple[Json, bytes]:
    """The detail, and the event that shows it."""
    plain = detail.model_dump(mode="json")
    return plain, _event("snapshot", plain)


def _event(name: str, data: Json) -> bytes:
    """A server-sent event; JSON has no line break in it."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))
