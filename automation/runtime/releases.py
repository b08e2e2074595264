"""Published sites of a project and which of them is live where.

    <root>/<project>/releases/<version>/           the files, and `.release.json` that lists them
    <root>/<project>/releases/<version>/.before-*  what was live before it was, by deployment
    <root>/<project>/releases/<version>.failed/    one that did not pass its health check
    <root>/<project>/environments/<name>           → ../releases/<version>
    <root>/<project>/current                       → environments/production

A release is complete as soon as it has its name, and an environment changes by one rename: killed at any
point, what was live stays live. All functions are synchronous and may be called by several processes at once.
"""

import json
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from automation.runtime.files import is_temp, locked, point, remove_folder, write_file

MANIFEST = ".release.json"
"""Begins with a dot, as no page's route does: it cannot clash with a page and is not served."""

PRODUCTION = "production"
_FAILED = ".failed"


@dataclass(frozen=True, slots=True)
class File:
    """A file of a release as it was when the release was made."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Release:
    """What `.release.json` says.

    Attributes:
        version: its name; later releases sort after earlier ones.
        execution_id: the execution that made it.
        created_at: ISO time, UTC.
        pages: routes of its pages.
        files: by path inside the release.
    """

    version: str
    execution_id: str
    created_at: str
    pages: list[str]
    files: dict[str, File]


@dataclass(frozen=True, slots=True)
class Overview:
    """Versions that can go live, the newest first, and which is live where, by environment."""

    versions: list[str]
    environments: dict[str, str]


def release_folder(root: Path, project_id: str, version: str) -> Path:
    """Where a release is."""
    return root / project_id / "releases" / version


def lock_releases(root: Path, project_id: str) -> AbstractContextManager[None]:
    """Hold this while releases are made, switched or removed."""
    return locked(root / project_id / ".releases.lock")


def create_release(
    root: Path,
    project_id: str,
    site: Path,
    *,
    version: str,
    execution_id: str,
    created_at: str,
    pages: list[str],
) -> Path:
    """Turn a built site into a release, by one rename; done already, it changes nothing.

    Raises:
        FileNotFoundError: there is neither the site nor the release.
        OSError: the disk refused.
    """
    folder = release_folder(root, project_id, version)
    if folder.is_dir():
        return folder
    if not site.is_dir():
        raise FileNotFoundError(f"{site} is not there, nor is the release {version}.")
    files = {path: _describe(site / path) for path in list_files(site)}
    manifest = asdict(Release(version, execution_id, created_at, pages, files))
    write_file(site / MANIFEST, json.dumps(manifest, ensure_ascii=False).encode())
    folder.parent.mkdir(parents=True, exist_ok=True)
    return site.rename(folder)


def list_files(folder: Path) -> list[str]:
    """Paths of all files below a folder that are meant to be published, sorted."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts))


def read_release(folder: Path) -> Release:
    """What a release says about itself.

    Raises:
        OSError: it has no manifest.
        ValueError: the manifest is damaged.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        files = {path: File(**one) for path, one in manifest.pop("files").items()}
        return Release(**manifest, files=files)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / MANIFEST} is damaged: {error}") from None


def list_releases(root: Path, project_id: str) -> list[str]:
    """Versions of all releases that can go live, the newest first."""
    return [name for name in _names(root, project_id) if not name.endswith(_FAILED)]


def overview(root: Path, project_id: str) -> Overview:
    """What a project has to choose from."""
    return Overview(list_releases(root, project_id), environments(root, project_id))


def release_of(root: Path, project_id: str, execution_id: str) -> str | None:
    """The newest release that an execution made."""
    short = execution_id[:8]
    for version in list_releases(root, project_id):
        if version.endswith(short):
            release = read_release(release_folder(root, project_id, version))
            if release.execution_id == execution_id:
                return version
    return None


def live_version(root: Path, project_id: str, environment: str) -> str | None:
    """The version that an environment shows, None if nothing was published to it."""
    link = root / project_id / "environments" / environment
    return link.readlink().name if link.is_symlink() else None


def environments(root: Path, project_id: str) -> dict[str, str]:
    """What is live where: version by environment."""
    links = sorted((root / project_id / "environments").glob("*"))
    return {link.name: link.readlink().name for link in links if link.is_symlink() and not is_temp(link)}


def switch(root: Path, project_id: str, environment: str, version: str) -> None:
    """Make a release live in an environment, in one step.

    Raises:
        OSError: the disk refused; the environment shows what it showed before.
    """
    project = root / project_id
    if environment == PRODUCTION and not (project / "current").is_symlink():
        point(project / "current", f"environments/{PRODUCTION}")
    point(project / "environments" / environment, f"../releases/{version}")


def withdraw(root: Path, project_id: str, environment: str) -> None:
    """Have an environment show nothing, as before its first release."""
    (root / project_id / "environments" / environment).unlink(missing_ok=True)


def note_before(root: Path, project_id: str, version: str, key: str, live: str | None) -> str | None:
    """What was live when the deployment `key` of a release was first tried: `live`, unless a try before this one
    has noted it.
    """
    note = _note(root, project_id, version, key)
    if not note.exists():
        write_file(note, (live or "").encode())
    return note.read_text() or None


def forget_before(root: Path, project_id: str, version: str, key: str) -> None:
    """The deployment was taken back: the next one of this key is another."""
    _note(root, project_id, version, key).unlink(missing_ok=True)


def _note(root: Path, project_id: str, version: str, key: str) -> Path:
    return release_folder(root, project_id, version) / f".before-{sha256(key.encode()).hexdigest()[:32]}"


def previous_release(root: Path, project_id: str, version: str) -> str | None:
    """The release before that one, None if it is the oldest."""
    return next((other for other in list_releases(root, project_id) if other < version), None)


def set_aside(root: Path, project_id: str, version: str) -> Path:
    """Keep a broken release for inspection under a name by which it never goes live."""
    folder = release_folder(root, project_id, version)
    failed = folder.with_name(version + _FAILED)
    remove_folder(failed)
    return folder.rename(failed)


def prune(root: Path, project_id: str, keep: int) -> list[str]:
    """Remove all but the `keep` newest releases (and the `keep` newest broken ones), never one that is live.

    Returns:
        the names of the folders that were removed.
    """
    live = set(environments(root, project_id).values())
    names = _names(root, project_id)
    failed = [name for name in names if name.endswith(_FAILED)]
    good = [name for name in names if name not in failed]
    old = [name for name in good[keep:] + failed[keep:] if name not in live]
    for name in old:
        remove_folder(release_folder(root, project_id, name))
    return old


def _names(root: Path, project_id: str) -> list[str]:
    folders = (root / project_id / "releases").glob("[!.]*")
    return sorted((folder.name for folder in folders if folder.is_dir()), reverse=True)


def _describe(file: Path) -> File:
    data = file.read_bytes()
    return File(len(data), sha256(data).hexdigest())
