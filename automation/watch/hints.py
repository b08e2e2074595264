"""When to look: a thread that waits for the system's events about some folders, by watchfiles."""

import asyncio
import threading
from collections.abc import Callable, Collection

from watchfiles import watch

Tell = Callable[[set[str], str], None]
"""Called in the event loop with the paths that something happened to, none once all is watched, and with the reason
when no more will come."""


class Hints:
    """Tells of what happens in some folders, until `stop`.

    They are watched one by one: watched with all below them, a symlink to `/` would have the system watch all of it.
    """

    def __init__(self, folders: Collection[str], tell: Tell) -> None:
        self._folders = folders
        self._tell = tell
        self._stop = threading.Event()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, name="file-hints", daemon=True).start()

    def stop(self) -> None:
        """Tell nothing more."""
        self._stop.set()

    def _run(self) -> None:
        is_ready = False
        try:
            for found in watch(
                *self._folders,
                watch_filter=None,
                rust_timeout=100,
                yield_on_timeout=True,  # the first time says that all is watched
                stop_event=self._stop,
                recursive=False,
                ignore_permission_denied=True,
            ):
                if found or not is_ready:
                    self._call({path for _, path in found}, "")
                is_ready = True
        except Exception as error:  # a folder that is gone again, or the system's limit of watches
            self._call(set(), f"{type(error).__name__}: {error}")

    def _call(self, paths: set[str], failure: str) -> None:
        if not self._stop.is_set() and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._told, paths, failure)

    def _told(self, paths: set[str], failure: str) -> None:
        if not self._stop.is_set():  # it may have been stopped while this was on its way
            self._tell(paths, failure)
