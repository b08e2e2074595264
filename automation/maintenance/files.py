"""Removing leftovers below the folder of generated apps.

    <project>/pages/                what is saved: never touched, but for the backups of deleted pages
    <project>/pages/.deleted/       backups of deleted pages
    <project>/releases/<version>/   what is published: never looked into
    <project>/builds/<execution>/   what an execution is building

No symbolic link is ever followed (a leftover link goes, what it points to stays), and every removal is
relative to an open folder, so that a folder that is swapped for a link meanwhile leads nowhere else.
All functions are synchronous; the errors they raise are `OSError`s.
"""

import os
import re
import shutil
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from automation.runtime.files import TEMP_SUFFIX

# Folders and links are leftovers only under a name that we gave them: an environment may be called `x.tmp`.
_OUR_TEMP = re.compile(rf"\.[0-9a-f]{{32}}{re.escape(TEMP_SUFFIX)}")


@dataclass(slots=True)
class Removed:
    """What was removed; `bytes` is the files' size."""

    files: int = 0
    bytes: int = 0


def delete_temporary(root: Path, before: datetime, keep: Collection[str] = ()) -> Removed:
    """Remove temporary files and folders (`*.tmp`) and build folders that were last changed before `before`.

    Args:
        keep: names of build folders (execution ids) that are still needed.
    """
    removed = Removed()
    for place, names, folder in _walk(root):
        for name in names:
            entry = _lstat(name, folder)
            if entry is None or entry.st_mtime >= before.timestamp():
                continue
            is_build = place[1:] == ("builds",) and stat.S_ISDIR(entry.st_mode) and name not in keep
            if is_build or _is_temporary(name, entry, place):
                _remove(name, entry, folder, removed)
    return removed


def delete_page_backups(root: Path, before: datetime) -> Removed:
    """Remove what is kept of pages that were deleted before `before` and have not been saved again since."""
    removed = Removed()
    for place, names, folder in _walk(root):
        if place[1:] == ("pages", ".deleted"):
            for name in names:
                entry = _lstat(name, folder)
                if entry and entry.st_mtime < before.timestamp() and not _lstat(f"../{name}", folder):
                    _remove(name, entry, folder, removed)
                    previous = f"../{name.removesuffix('.json')}.previous.json"
                    if backup := _lstat(previous, folder):
                        _remove(previous, backup, folder, removed)
    return removed


def _walk(root: Path) -> Iterator[tuple[tuple[str, ...], list[str], int]]:
    """Every folder: its place below `root` as names, what is in it, and an open handle of it."""
    start = root.resolve()  # the root itself may be a link: to a larger disk, say
    if not start.is_dir():  # nothing was generated yet
        return
    for path, folders, files, handle in os.fwalk(start, follow_symlinks=False):
        place = Path(path).relative_to(start).parts
        yield place, [*folders, *files], handle
        if place[1:] in (("releases",), ("builds",)):
            folders.clear()


def _is_temporary(name: str, entry: os.stat_result, place: tuple[str, ...]) -> bool:
    if stat.S_ISREG(entry.st_mode):
        return name.endswith(TEMP_SUFFIX)
    return bool(place) and _OUR_TEMP.fullmatch(name) is not None  # at the top, a folder is a project


def _lstat(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=folder)
    except FileNotFoundError:  # somebody else was faster
        return None


def _remove(name: str, entry: os.stat_result, folder: int, removed: Removed) -> None:
    if stat.S_ISDIR(entry.st_mode):
        inside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        try:
            for _, _, files, handle in os.fwalk(dir_fd=inside, follow_symlinks=False):
                removed.files += len(files)
                removed.bytes += sum(one.st_size for file in files if (one := _lstat(file, handle)))
        finally:
            os.close(inside)
        shutil.rmtree(name, dir_fd=folder)
    else:
        os.unlink(name, dir_fd=folder)
        removed.files += 1
        removed.bytes += entry.st_size
