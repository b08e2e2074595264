"""Runtime at `RUNTIME_URL`: pages are saved there, and releases go live there. The protocol is in docs/services.md.

Sites are still compiled, checked and packed here.
"""

import asyncio
import tarfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import orjson

from automation.errors import NetworkError
from automation.models import Json
from automation.neighbours import call, path
from automation.runtime.releases import MANIFEST, Overview, list_files
from automation.runtime.store import SaveResult, Stamp
from automation.settings import Settings

UPLOAD_TIMEOUT = 120.0
"""Seconds for a whole release."""

_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Switched:
    """What an environment shows now, and what it showed before the release went live there."""

    live: str | None
    previous: str | None


async def save_page(
    settings: Settings,
    project_id: str,
    page_id: str,
    page: Json | None,
    stamp: Stamp,
    *,
    backup_previous: bool = True,
    dry_run: bool = False,
) -> SaveResult:
    """Have a page saved, or with None deleted, unless a newer state of it is there.

    Raises:
        NetworkError: Runtime is away.
        ValidationError: Runtime refused.
    """
    request = {
        "page": page,
        "version": stamp.version,
        "occurred_at": stamp.occurred_at.isoformat(),
        "execution_id": stamp.execution_id,
        "backup_previous": backup_previous,
        "dry_run": dry_run,
    }
    url = _project(settings, project_id, "pages", page_id)
    answer = _object(await call(settings, "PUT", url, json=request))
    return SaveResult(_of(answer, "saved", bool), _of(answer, "previous", dict, None), _of(answer, "reason", str, ""))


async def restore_page(settings: Settings, project_id: str, page_id: str, stamp: Stamp, *, key: str) -> bool:
    """Have a save or a deletion taken back; False if it did not bring what is there now.

    Raises:
        NetworkError: Runtime is away.
        ValidationError: Runtime refused.
    """
    request = {
        "version": stamp.version,
        "occurred_at": stamp.occurred_at.isoformat(),
        "execution_id": stamp.execution_id,
    }
    url = _project(settings, project_id, "pages", page_id, "restore")
    restored: bool = _of(_object(await call(settings, "POST", url, json=request, key=key)), "restored", bool)
    return restored


async def list_pages(settings: Settings, project_id: str) -> list[Json]:
    """All pages of a project that are not deleted, sorted by id.

    Raises:
        NetworkError: Runtime is away.
        ValidationError: Runtime refused.
    """
    answer = _object(await call(settings, "GET", _project(settings, project_id, "pages")))
    return sorted(_of(answer, "pages", list), key=lambda page: str(page.get("id")))


async def list_releases(settings: Settings, project_id: str) -> Overview:
    """The releases that Runtime has.

    Raises:
        NetworkError: Runtime is away.
        ValidationError: Runtime refused.
    """
    answer = _object(await call(settings, "GET", _project(settings, project_id, "releases")))
    return Overview(sorted(_of(answer, "releases", list), reverse=True), _of(answer, "environments", dict))


async def put_release(settings: Settings, project_id: str, version: str, folder: Path) -> None:
    """Have a release stored, which does not make it live. Stored already, it stays as it is.

    Raises:
        NetworkError: Runtime is away.
        ValidationError: Runtime refused, as its files are not those of the manifest.
        OSError: the release cannot be read.
    """
    url = _project(settings, project_id, "releases", version)
    with TemporaryFile() as file:
        size = await asyncio.to_thread(_pack, folder, file)
        headers = {"content-type": "application/gzip", "content-length": str(size)}
        await call(settings, "PUT", url, content=_chunks(file), headers=headers, limit=UPLOAD_TIMEOUT)


async def switch(
    settings: Settings, project_id: str, environment: str, version: str, *, key: str, even_if_older: bool
) -> Switched:
    """Make a release live. Unless `even_if_older`, an environment that shows a newer one keeps it.

    Raises:
        NetworkError: Runtime is away.
        ValidationError: Runtime refused, as it has no such release.
    """
    url = _project(settings, project_id, "environments", environment)
    request = {"version": version, "even_if_older": even_if_older}
    answer = _object(await call(settings, "POST", url, json=request, key=key))
    return Switched(_of(answer, "live", str), _of(answer, "previous", str, None))


async def switch_back(
    settings: Settings, project_id: str, environment: str, version: str | None, *, if_live: str, key: str
) -> Switched:
    """Make `version` live again (None: nothing), if the environment shows `if_live`.

    Raises:
        NetworkError: Runtime is away.
        ValidationError: Runtime refused, as it has no such release.
    """
    url = _project(settings, project_id, "environments", environment)
    request = {"version": version, "even_if_older": True, "if_live": if_live}
    answer = _object(await call(settings, "POST", url, json=request, key=key))
    return Switched(_of(answer, "live", str, None), _of(answer, "previous", str, None))


async def delete_project(settings: Settings, project_id: str) -> None:
    """Have everything removed that Runtime keeps of a project; there may be nothing.

    Raises:
        NetworkError: Runtime is away.
        ValidationError: Runtime refused.
    """
    await call(settings, "DELETE", _project(settings, project_id), key=f"delete:{project_id}")


def _project(settings: Settings, project_id: str, *rest: str) -> str:
    assert settings.runtime_url is not None  # whoever calls has looked
    return settings.runtime_url + path("projects", project_id, *rest)


def _pack(folder: Path, file: IO[bytes]) -> int:
    """Write a release as tar.gz, its manifest first; the size in bytes."""
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6) as archive:
        for name in (MANIFEST, *list_files(folder)):
            archive.add(folder / name, arcname=name, recursive=False)
    size = file.tell()
    file.seek(0)
    return size


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, _CHUNK):
        yield chunk


def _object(body: bytes) -> Json:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise NetworkError("Runtime did not answer with a JSON object.")
    return answer


_REQUIRED = object()


def _of(answer: Json, name: str, kind: type, default: Any = _REQUIRED) -> Any:
    """A key of an answer; null is the default.

    Raises:
        NetworkError: it is not what was agreed.
    """
    value = answer.get(name)
    if value is None and default is not _REQUIRED:
        return default
    if not isinstance(value, kind):
        raise NetworkError(f"Runtime answered without a {kind.__name__} `{name}`.")
    return value
