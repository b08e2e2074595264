"""Saved page documents: `<root>/<project>/pages/<page id>.json`, the version before it kept beside it.

    pages/home.json             the page as Studio sent it: {"id", "name", "route", "config": {…}, …}
    pages/home.previous.json    what it was before the last save
    pages/.deleted/home.json    a deleted page; left out of the next publish

Each file holds one key more, `_saved`: {"occurred_at", "version", "execution_id"}, by which older data is
kept from replacing newer; that of a deleted page also says `deleted`, and in `was` what the page's own was.
The newer of two is the one with the higher `version` if both have one (at equal versions the later event), else
the later event; of equals, the one that arrived last.

All functions are synchronous, take the root folder of all projects and names that `plain_name` has let
through, and may be called by several processes at once; killed at any point, they leave the old state or the
new one.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zlib import crc32

import orjson

from automation.errors import ValidationError
from automation.models import Json
from automation.runtime.files import link_file, locked, write_file

_SAVED = "_saved"
_ANCIENT = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What decides which of two states of a page is newer, and who brought it."""

    occurred_at: datetime
    version: int | None = None
    execution_id: str = ""

    def is_older_than(self, other: "Stamp") -> bool:
        if self.version is not None and other.version is not None:
            return (self.version, self.occurred_at) < (other.version, other.occurred_at)
        return self.occurred_at < other.occurred_at


@dataclass(frozen=True, slots=True)
class SaveResult:
    """What came of a save or a deletion.

    Attributes:
        saved: the page on disk is now the given one (or is gone, after a deletion).
        previous: the page that it replaced, None if there was none.
        reason: why nothing was written.
    """

    saved: bool
    previous: Json | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _State:
    """What the files say about a page: the page, when it became so, and which file tells it."""

    file: Path
    page: Json | None
    stamp: Stamp
    deleted: bool
    was: Stamp | None = None


def version_of(page: Json) -> int | None:
    """The page's `version` if it is an integer, else None."""
    version = page.get("version")
    return version if isinstance(version, int) and not isinstance(version, bool) else None


def page_file(root: Path, project_id: str, page_id: str) -> Path:
    """Where a page is saved."""
    return root / project_id / "pages" / f"{page_id}.json"


def encode_page(page: Json, stamp: Stamp) -> bytes:
    """What `save_page` writes."""
    return orjson.dumps(page | {_SAVED: _written(stamp)})


def save_page(root: Path, project_id: str, page: Json, stamp: Stamp, *, backup_previous: bool) -> SaveResult:
    """Write a page unless a newer one is there; the same save again changes nothing.

    Args:
        page: the page with its `id`.
        backup_previous: keep what it replaces as `<page id>.previous.json`.

    Raises:
        OSError: the disk refused.
    """
    file = page_file(root, project_id, page["id"])
    with _lock(file):
        state = _read_state(file)
        result = _judge(file, page, stamp, state)
        if result.saved:
            if not _holds(state, page, stamp):
                if backup_previous and state is not None and state.page is not None:
                    link_file(state.file, _previous_file(file))
                write_file(file, encode_page(page, stamp))
            _deleted_file(file).unlink(missing_ok=True)
    return result


def preview_save(root: Path, project_id: str, page: Json, stamp: Stamp) -> SaveResult:
    """What `save_page` would answer now; nothing is written."""
    file = page_file(root, project_id, page["id"])
    return _judge(file, page, stamp, _read_state(file))


def delete_page(root: Path, project_id: str, page_id: str, stamp: Stamp) -> SaveResult:
    """Take a page out of the next publish unless it was saved again since; its files are kept.

    A page that nobody has saved yet is remembered as deleted, so that an older save that comes late
    does not bring it back.

    Raises:
        OSError: the disk refused.
    """
    file = page_file(root, project_id, page_id)
    with _lock(file):
        state = _read_state(file)
        if state is not None and stamp.is_older_than(state.stamp):
            return SaveResult(False, reason=_superseded(f"the deletion of page {page_id!r}", stamp, state))
        page = state.page if state else None
        write_file(_deleted_file(file), _encode_deleted(page or {"id": page_id}, stamp, _before(state, stamp)))
        file.unlink(missing_ok=True)
    return SaveResult(True, page)


def restore_page(root: Path, project_id: str, page_id: str, stamp: Stamp) -> bool:
    """Take a save (that kept a backup) or a deletion back: the page is what it was, with the version that it had.

    Returns:
        False, and nothing was changed, if `stamp` did not bring what is there now: it was taken back already,
        or something newer came.

    Raises:
        OSError: the disk refused.
    """
    file = page_file(root, project_id, page_id)
    previous = _previous_file(file)
    with _lock(file):
        state = _read_state(file)
        if state is None or state.stamp != stamp:
            return False
        if state.deleted:
            if state.was is None or state.page is None:
                return False  # there was no page to take away
            write_file(file, encode_page(state.page, state.was))
            state.file.unlink()
            return True
        before = _read(previous)
        if before is not None and not before.deleted:
            previous.replace(file)
            return True
        if before is not None:
            _deleted_file(file).parent.mkdir(exist_ok=True)
            previous.replace(_deleted_file(file))
        file.unlink()
    return True


def read_page(root: Path, project_id: str, page_id: str) -> Json | None:
    """A saved page as it was sent, or None if there is none or it is deleted."""
    state = _read_state(page_file(root, project_id, page_id))
    return None if state is None or state.deleted else state.page


def list_pages(root: Path, project_id: str) -> list[Json]:
    """All pages of a project that are not deleted, sorted by id.

    Raises:
        ValidationError: a file is damaged; the text names it.
    """
    pages = []
    for file in sorted((root / project_id / "pages").glob("*.json")):
        state = None if file.stem.endswith(".previous") else _read_state(file)
        if state is not None and not state.deleted:
            if state.page is None:
                raise ValidationError(f"{state.file} is damaged; save the page again in Studio.")
            pages.append(state.page)
    return pages


def _before(state: _State | None, stamp: Stamp) -> Stamp | None:
    """The stamp of the page that a deletion takes away, None if it takes none; the same deletion may come again."""
    if state is None or state.page is None:
        return None
    if state.deleted:
        return state.was if state.stamp == stamp else None
    return state.stamp


def _encode_deleted(page: Json, stamp: Stamp, was: Stamp | None) -> bytes:
    more = {"deleted": True, "was": _written(was) if was else None}
    return orjson.dumps(page | {_SAVED: _written(stamp) | more})


def _written(stamp: Stamp) -> Json:
    return {
        "occurred_at": stamp.occurred_at.isoformat(),
        "version": stamp.version,
        "execution_id": stamp.execution_id,
    }


def _stamp(saved: Json) -> Stamp:
    return Stamp(datetime.fromisoformat(saved["occurred_at"]), saved["version"], saved["execution_id"])


def _judge(file: Path, page: Json, stamp: Stamp, state: _State | None) -> SaveResult:
    if state is None:
        return SaveResult(True)
    if stamp.is_older_than(state.stamp):
        return SaveResult(False, reason=_superseded(f"page {page['id']!r}", stamp, state))
    if _holds(state, page, stamp):
        before = _read(_previous_file(file))
        return SaveResult(True, before.page if before else None)
    return SaveResult(True, state.page)


def _holds(state: _State | None, page: Json, stamp: Stamp) -> bool:
    """Is this very save done already? Then it must not make the page its own previous version."""
    return (
        state is not None
        and not state.deleted
        and state.page == page
        and (state.stamp.occurred_at, state.stamp.version) == (stamp.occurred_at, stamp.version)
    )


def _superseded(subject: str, stamp: Stamp, state: _State) -> str:
    there = "deletion" if state.deleted else "saved version"
    mine, other = stamp.version, state.stamp.version
    if mine is not None and other is not None and mine < other:
        return f"{subject} version {mine} is older than the {there} {other}; nothing written"
    times = stamp.occurred_at.isoformat(), state.stamp.occurred_at.isoformat()
    return f"{subject} of {times[0]} is older than the {there} of {times[1]}; nothing written"


def _lock(file: Path) -> AbstractContextManager[None]:
    """Against another save of the same page. Pages share 64 lock files, so that most saves go side by side."""
    return locked(file.parent / ".locks" / str(crc32(file.name.encode()) % 64))


def _previous_file(file: Path) -> Path:
    return file.with_name(f"{file.stem}.previous.json")


def _deleted_file(file: Path) -> Path:
    return file.parent / ".deleted" / file.name


def _read_state(file: Path) -> _State | None:
    """The page's file or its deletion, whichever is newer: a kill may have left both."""
    current, deletion = _read(file), _read(_deleted_file(file), deleted=True)
    if current is None or deletion is None:
        return current or deletion
    return current if deletion.stamp.is_older_than(current.stamp) else deletion


def _read(file: Path, *, deleted: bool = False) -> _State | None:
    """A file's content; a damaged one counts as older than anything, so that the next save heals it."""
    try:
        page = orjson.loads(file.read_bytes())
        saved = page.pop(_SAVED)
        stamp, was = _stamp(saved), _stamp(saved["was"]) if saved.get("was") else None
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return _State(file, None, Stamp(_ANCIENT), deleted)
    return _State(file, page if "config" in page else None, stamp, deleted or saved.get("deleted", False), was)
