"""The watcher's loop. One process holds it by an advisory lock; when that one dies, another takes over.

A hint starts a burst, each further one prolongs it. When nothing came for `settle_seconds`, the watcher looks, and
what differs from the look before is one event. What changes while no process watches is not seen.
"""

import asyncio
import logging
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from uuid import UUID, uuid4

from automation.database import Database
from automation.errors import NotFoundError, RefusedError
from automation.intake import Announcer, PastEvent, accept_for
from automation.models import Json, utc_now
from automation.models.channels import TRIGGERS_CHANNEL
from automation.models.trigger_queries import file_triggers
from automation.settings import Settings
from automation.steps import one_line
from automation.triggers.globs import check_glob, matches
from automation.triggers.types import FileChangeConfig, parse_config
from automation.watch.hints import Hints
from automation.watch.roots import check_root
from automation.watch.tree import Tree, changes, look, shown

log = logging.getLogger(__name__)

EVENT_TYPE = "file.changed"
MAX_CHANGES = 1000
"""Changes that an event lists; its `count` says how many there were."""

_LOCK = 0x5741_5443  # "WATC"
_READ_AGAIN = 60.0
"""Seconds after which triggers are read and files looked at, should a NOTIFY or a hint be lost."""
_TICK = 1.0
"""Seconds between two looks for a root that is not there."""
_WATCH_AGAIN = 5.0
"""Seconds after which folders that could not be watched are tried again."""
_LONGEST_BURST = 60
"""A burst that does not end counts as one after so many times its `settle_seconds`."""


@dataclass(slots=True)
class Watched:
    """A FILE_CHANGE trigger, the last look below its root, and the burst of hints under way, by monotonic time."""

    trigger_id: UUID
    project_id: str
    config: FileChangeConfig
    root: Path
    tree: Tree
    folders: dict[str, int] = field(default_factory=dict)
    """Those that are to be watched; of a burst under way they are newer than `tree`."""
    first_hint: float | None = None
    last_hint: float = 0.0
    is_told: bool = False
    """Whether the log says that the root is not there."""

    def hint(self) -> None:
        """Something may have changed."""
        self.last_hint = monotonic()
        if self.first_hint is None:
            self.first_hint = self.last_hint

    def hint_unless_hinted(self) -> None:
        """Something may have changed that no hint tells of; a burst under way is not prolonged."""
        if self.first_hint is None:
            self.hint()

    @property
    def due(self) -> float | None:
        """When the burst counts as over, if there is one."""
        if self.first_hint is None:
            return None
        settle = self.config.settle_seconds
        return min(self.last_hint + settle, self.first_hint + settle * _LONGEST_BURST)

    def concerns(self, folder: str) -> bool:
        """Whether something in a folder may be below the root, or the root."""
        root = str(self.root)
        return folder == root or folder.startswith(root + os.sep) or root.startswith(folder + os.sep)


class Watcher:
    """Fires the FILE_CHANGE triggers."""

    def __init__(self, database: Database, settings: Settings, announcer: Announcer | None = None) -> None:
        self.database = database
        self.settings = settings
        self.announcer = announcer
        self._watched: dict[UUID, Watched] = {}
        self._refused: dict[UUID, str] = {}
        self._hints: Hints | None = None
        self._hinted: dict[str, int] = {}
        self._read_at = 0.0
        self._watch_at = 0.0
        self._failure = ""
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled, while this process holds the lock."""
        connection = await self.database.listen()
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                await asyncio.sleep(2)
            self._watched.clear()  # what changed before was for another process to tell
            self._read_at = 0.0
            await connection.add_listener(TRIGGERS_CHANNEL, lambda *_: self.read_again())
            while not connection.is_closed():
                self._wake.clear()
                await self.round()
                await self._sleep()
        finally:
            self.stop()
            connection.terminate()

    async def round(self) -> None:
        """One look at everything that is due to be looked at."""
        if monotonic() >= self._read_at:
            self._read_at = monotonic() + _READ_AGAIN
            await self._read_triggers()
        for one in list(self._watched.values()):
            if one.due is not None and one.due <= monotonic():
                await self._look(one)
            elif not one.tree.folders and await asyncio.to_thread(one.root.is_dir):
                one.hint_unless_hinted()
        self._watch_folders()

    def read_again(self) -> None:
        """Read the triggers in the next round, which is now."""
        self._read_at = 0.0
        self._wake.set()

    async def _sleep(self) -> None:
        due = min((one.due for one in self._watched.values() if one.due is not None), default=monotonic() + _TICK)
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(due - monotonic(), 0.01), _TICK)):
                await self._wake.wait()

    # --- triggers -------------------------------------------------------------------------------------------

    async def _read_triggers(self) -> None:
        async with self.database.transaction() as session:
            rows = await file_triggers(session)
        watched: dict[UUID, Watched] = {}
        refused: dict[UUID, str] = {}
        for id_, project_id, config in rows:
            try:
                one = await asyncio.to_thread(self._watch, id_, project_id or "", config)
            except RefusedError as error:
                refused[id_] = str(error)
                if self._refused.get(id_) != refused[id_]:
                    log.warning("Trigger %s watches nothing: %s", id_, one_line(refused[id_]))
                continue
            one.hint_unless_hinted()
            self._tell_of_root(one)
            watched[id_] = one
        self._watched, self._refused = watched, refused

    def _watch(self, trigger_id: UUID, project_id: str, raw: Json) -> Watched:
        """What is watched for a trigger already, or, if it is new or another, from now on."""
        config = parse_config("FILE_CHANGE", raw)
        assert isinstance(config, FileChangeConfig)
        check_glob(config.glob, "config.glob")
        root = check_root(config.root, self.settings, "config.root")
        known = self._watched.get(trigger_id)
        if known and (known.project_id, known.config, known.root) == (project_id, config, root):
            return known
        tree = look(root)
        return Watched(trigger_id, project_id, config, root, tree, dict(tree.folders))

    def _tell_of_root(self, one: Watched) -> None:
        is_missing = not one.tree.folders
        if is_missing and not one.is_told:
            log.warning(
                "Trigger %s: %s is no folder that can be read; it is watched when it appears.",
                one.trigger_id,
                one_line(shown(str(one.root))),
            )
        one.is_told = is_missing

    # --- folders --------------------------------------------------------------------------------------------

    def _watch_folders(self) -> None:
        """Have the folders watched that the last looks found."""
        wanted = {path: inode for one in self._watched.values() for path, inode in one.folders.items()}
        if wanted == self._hinted or monotonic() < self._watch_at:
            return
        self.stop()
        self._hinted = wanted
        if wanted:
            self._hints = Hints(wanted, self._told)

    def stop(self) -> None:
        """Have no folder watched any more."""
        if self._hints:
            self._hints.stop()
        self._hints, self._hinted = None, {}

    def _told(self, paths: set[str], failure: str) -> None:
        """What the thread tells: where to look, or, once it watches or when it has failed, to look everywhere."""
        if failure:
            if failure != self._failure:
                log.warning("Folders could not be watched (%s); looking every %g s.", one_line(failure), _WATCH_AGAIN)
            self.stop()
            self._watch_at = monotonic() + _WATCH_AGAIN
        self._failure = failure
        folders = {str(Path(path).parent) for path in paths}
        for one in self._watched.values():
            if not paths or any(map(one.concerns, folders)):
                one.hint()
        self._wake.set()

    # --- files ----------------------------------------------------------------------------------------------

    async def _look(self, one: Watched) -> None:
        """At the end of a burst: fire if something differs. Folders that are new are watched first."""
        began, one.first_hint = one.first_hint or 0.0, None
        tree, found = await asyncio.to_thread(_compare, one)
        fresh = tree.folders.items() - one.folders.items()
        one.folders = dict(tree.folders)
        if fresh and monotonic() < began + one.config.settle_seconds * _LONGEST_BURST:
            one.first_hint, one.last_hint = began, monotonic()
            return
        if found and not await self._fire(one, found):
            one.hint()  # the same again, a little later
            return
        one.tree = tree
        self._tell_of_root(one)

    async def _fire(self, one: Watched, found: list[Json]) -> bool:
        data = {
            "project_id": one.project_id,
            "root": one.config.root,
            "changes": found[:MAX_CHANGES],
            "count": len(found),
        }
        event = PastEvent(f"files:{one.trigger_id}:{uuid4()}", EVENT_TYPE, one.project_id, data, utc_now())
        try:
            answer = await accept_for(self.database, one.trigger_id, event, source="files", settings=self.settings)
        except NotFoundError:
            log.info("Trigger %s was deleted before its files had settled.", one.trigger_id)
        except Exception as error:
            log.warning("A change of files for trigger %s was not taken: %s", one.trigger_id, one_line(str(error)))
            return False
        else:
            if self.announcer:
                await self.announcer.accepted([answer])
        return True


def _compare(one: Watched) -> tuple[Tree, list[Json]]:
    """A look, and what the trigger wants to know of its difference from the one before."""
    tree = look(one.root)
    found: list[Json] = [
        {"path": path, "change": change}
        for path, change in ((shown(path), change) for path, change in changes(one.tree, tree))
        if change in one.config.on and matches(one.config.glob, path)
    ]
    return tree, found
