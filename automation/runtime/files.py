"""Changes of files that are there wholly or not at all, whenever the process is killed."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

TEMP_SUFFIX = ".tmp"
"""Everything unfinished ends so; what a killed process left may be removed once it is old."""
_TEMP_NAME = re.compile(rf"\.[0-9a-f]{{32}}{re.escape(TEMP_SUFFIX)}")


def temp_beside(path: Path) -> Path:
    """A name for an unfinished file or folder on the same file system as `path`."""
    return path.with_name(f".{uuid4().hex}{TEMP_SUFFIX}")


def is_temp(path: Path) -> bool:
    """Whether `path` has a name that `temp_beside` gave."""
    return _TEMP_NAME.fullmatch(path.name) is not None


def write_file(path: Path, data: bytes) -> None:
    """Write or replace a file: readers see the old or the new content, never a part.

    It is on the disk before its name is, so that a loss of power cannot leave an empty file either.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = temp_beside(path)
    try:
        with temp.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temp.replace(path)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise


def link_file(source: Path, path: Path) -> None:
    """Give the present content of `source` the second name `path`, which may exist."""
    temp = temp_beside(path)
    temp.hardlink_to(source)
    temp.replace(path)
    temp.unlink(missing_ok=True)  # rename does nothing when both names are the same file already


def point(link: Path, target: str) -> None:
    """Make `link` a symbolic link to `target` (relative to the link's folder), replacing an older link."""
    link.parent.mkdir(parents=True, exist_ok=True)
    temp = temp_beside(link)
    temp.symlink_to(target)
    try:
        temp.replace(link)
    except OSError:
        temp.unlink(missing_ok=True)
        raise


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it; half removed, it no longer has its name."""
    temp = temp_beside(folder)
    try:
        folder.rename(temp)
    except FileNotFoundError:
        return
    shutil.rmtree(temp)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` against all other threads and processes; the system frees it at a kill."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
