"""Lines of logs that somebody follows: one reading a while for all of them, however many follow.

Nobody is told of new lines, since a batch run would pay for that whether somebody follows or not. So the table is read
on from its last id, in one statement for all who follow in this process, and only while there are any. Ids are given
before lines are committed: those that are not there yet are asked for again, until their transaction must be over.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import suppress
from time import monotonic
from uuid import UUID

import asyncpg
import orjson
import sqlalchemy.exc

from automation.api.executions import LogLineOut, line_out
from automation.api.watching import HEARTBEAT, MOST
from automation.database import Database
from automation.errors import UnavailableError
from automation.models import Json
from automation.models.log_queries import Line, Wanted, ended, last_line, lines_behind, newest_lines
from automation.requests import context_of_nobody
from automation.steps import one_line

AT_ONCE = 2_000
"""Lines that one reading takes: twice as fast as two batch runs write."""
SHOWN = 200
"""Lines that one follower gets of one reading, the newest; nobody reads more, and making them costs 0.1 ms each."""
KEPT = 5_000
"""Lines that wait for a follower who is slow, the newest."""
LATE = 30.0
"""Seconds for which an id that is missing is asked for."""
_MOST_MISSING = 5_000

log = logging.getLogger(__name__)


class _Follower:
    """What somebody wants to see, and what of it has come and was not sent."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.lines: deque[tuple[int, bytes]] = deque()
        self.left_out = 0
        self.end: bytes | None = None
        self.news = asyncio.Event()

    def take(self, lines: Sequence[Line], made: dict[int, bytes]) -> None:
        """Take what it wants of the lines that have come; `made` has those that are events already."""
        mine = [line for line in lines if self.wanted.takes(line)]
        self.left_out += max(0, len(mine) - SHOWN)
        for line in mine[-SHOWN:]:
            id_ = line[0].id
            if id_ not in made:
                made[id_] = event_of(line)
            self.lines.append((id_, made[id_]))
        while len(self.lines) > KEPT:
            self.lines.popleft()
            self.left_out += 1
        if mine:
            self.news.set()


class Following:
    """Those of one process who follow logs.

    Args:
        pause: seconds between two readings.
        heartbeat: seconds without news after which a follower hears that the connection lives.
    """

    def __init__(self, database: Database, *, pause: float = 0.5, heartbeat: float = 15.0) -> None:
        self.database = database
        self._pause = pause
        self._heartbeat = heartbeat
        self._followers: set[_Follower] = set()
        self._reading: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._last = 0
        self._missing: dict[int, float] = {}
        self._over: set[UUID] = set()
        self._closed = False

    @property
    def is_reading(self) -> bool:
        """Whether the database is asked again and again."""
        return self._reading is not None

    async def follow(self, wanted: Wanted, last: int, after: int | None = None) -> AsyncGenerator[bytes, None]:
        """Lines as server-sent events, each named `line` and with its id: the last ones that are there, then each that
        comes. `left_out` says how many lines were too many to be sent. Of one execution, `end` when it has ended.

        Args:
            last: how many of those that are there.
            after: instead of them, all up to a thousand behind the line with this id.

        Raises:
            UnavailableError: too many follow, or the process is about to end.
        """
        if self._closed or len(self._followers) >= MOST:
            raise UnavailableError("This process takes no more followers; ask for the lines themselves.")
        follower = _Follower(wanted)
        await self._join(follower)
        try:
            there = await self._there(wanted, last, after)
        except BaseException:
            self._followers.discard(follower)
            raise
        return self._events(follower, there)

    async def close(self) -> None:
        """Send all away, at once."""
        self._closed = True
        for follower in self._followers:
            follower.news.set()
        if self._reading:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    async def _join(self, follower: _Follower) -> None:
        """What comes from now on is for this one, too."""
        async with self._turn:
            if self._reading is None:
                async with self.database.transaction() as session:
                    self._last, missing = await last_line(session)
                self._missing = dict.fromkeys(missing, monotonic() + LATE)
                self._reading = asyncio.create_task(self._read(), context=context_of_nobody())
            else:
                await self._catch_up()
            self._followers.add(follower)

    async def _there(self, wanted: Wanted, last: int, after: int | None) -> Sequence[Line]:
        if last == 0 and after is None:
            return []
        async with self.database.transaction() as session:
            rows = (await newest_lines(session, wanted, None, 1000 if after is not None else last)).rows
        return [row for row in reversed(rows) if after is None or row[0].id > after]

    async def _events(self, follower: _Follower, there: Sequence[Line]) -> AsyncGenerator[bytes, None]:
        try:
            sent = {line[0].id for line in there}
            for line in there:
                yield event_of(line)
            while not self._closed:
                follower.news.clear()
                while follower.lines:
                    id_, event = follower.lines.popleft()
                    if id_ not in sent:
                        yield event
                if follower.left_out:
                    count, follower.left_out = follower.left_out, 0
                    yield b"event: left_out\ndata: %s\n\n" % orjson.dumps({"count": count})
                if follower.end is not None:
                    yield follower.end
                    return
                try:
                    async with asyncio.timeout(self._heartbeat):
                        await follower.news.wait()
                except TimeoutError:
                    yield HEARTBEAT
        finally:
            self._followers.discard(follower)

    async def _read(self) -> None:
        """Read on, again and again, until nobody follows."""
        try:
            while self._followers:
                await asyncio.sleep(self._pause)
                try:
                    async with self._turn:
                        await self._catch_up()
                except (OSError, asyncpg.PostgresError, sqlalchemy.exc.SQLAlchemyError) as error:
                    log.warning("Logs that are followed could not be read: %s", one_line(str(error)))
        finally:
            self._reading = None

    async def _catch_up(self) -> None:
        while await self._round() >= AT_ONCE:
            pass

    async def _round(self) -> int:
        """Give those who follow what has come; how many lines that were."""
        executions = {one.wanted.execution_id for one in self._followers if one.wanted.execution_id}
        async with self.database.transaction() as session:
            over = await ended(session, executions) if executions else {}  # before: its last lines come with its end
            lines = await lines_behind(session, self._last, self._missing, AT_ONCE)
        self._note({line[0].id for line in lines})
        made: dict[int, bytes] = {}
        for follower in list(self._followers):
            follower.take(lines, made)
        if len(lines) < AT_ONCE:
            self._tell_ends(over)
        return len(lines)

    def _note(self, found: Collection[int]) -> None:
        """Remember how far the table was read, and which ids were not there."""
        now = monotonic()
        last = max(found, default=self._last)
        skipped = range(max(self._last + 1, last - _MOST_MISSING), last + 1)
        waited = {id_: until for id_, until in self._missing.items() if id_ not in found and until > now}
        self._missing = waited | {id_: now + LATE for id_ in skipped if id_ not in found}
        self._last = max(self._last, last)

    def _tell_ends(self, over: dict[UUID, str | None]) -> None:
        for follower in self._followers:
            if (id_ := follower.wanted.execution_id) in over:
                follower.end = b"event: end\ndata: %s\n\n" % orjson.dumps({"status": over[id_]})
                follower.news.set()


def event_of(line: Line) -> bytes:
    """A line as a server-sent event; JSON has no line break in it."""
    out: LogLineOut = line_out(line[0].execution_id, *line)
    data: Json = out.model_dump(mode="json")
    return b"id: %d\nevent: line\ndata: %s\n\n" % (line[0].id, orjson.dumps(data))
