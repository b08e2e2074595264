"""Which files there are below a folder, and what has changed between two looks.

What changed is found by comparing two looks rather than by believing the system's events: a file that is replaced
by a rename is modified, one that comes and goes within a burst is nothing, and no symlink is followed on the way.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Change = Literal["created", "modified", "deleted"]
Stamp = tuple[int, int, int]
"""Inode, size, and time of the last change in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What was found at one look: files by their path below the root, and the folders that hold them by inode."""

    files: Mapping[str, Stamp] = field(default_factory=dict)
    folders: Mapping[str, int] = field(default_factory=dict)


def look(root: Path) -> Tree:
    """Every regular file below `root`, and every symlink that leads to one of them.

    What may not be read, or vanishes meanwhile, counts as not there; so does a root that has become a symlink.
    """
    files: dict[str, Stamp] = {}
    folders: dict[str, int] = {}
    waiting = [str(root)] if os.path.realpath(root) == str(root) else []
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                folders[folder] = Path(folder).stat().st_ino
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif stamp := _stamp(entry, root):
                        files[entry.path.removeprefix(str(root)).lstrip(os.sep)] = stamp
        except OSError:
            continue
    return Tree(files, folders)


def _stamp(entry: "os.DirEntry[str]", root: Path) -> Stamp | None:
    try:
        facts = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(facts.st_mode):
            target = Path(entry.path).resolve(strict=True)
            if not (target.is_relative_to(root) and target.is_file()):
                return None
        elif not stat.S_ISREG(facts.st_mode):
            return None
    except (OSError, RuntimeError):  # it is gone, or a symlink that leads to itself
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def changes(before: Tree, after: Tree) -> Iterator[tuple[str, Change]]:
    """The files that differ between two looks, by path."""
    for path in sorted(before.files.keys() | after.files.keys()):
        old, new = before.files.get(path), after.files.get(path)
        if old is None:
            yield path, "created"
        elif new is None:
            yield path, "deleted"
        elif old != new:
            yield path, "modified"


def shown(path: str) -> str:
    """A path as JSON can hold it: bytes of a name that are no UTF-8 are spelled out (`\\xff`)."""
    return os.fsencode(path).decode(errors="backslashreplace")
