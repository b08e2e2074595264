"""Where one execution builds a site before it becomes a release: `<root>/<project>/builds/<execution id>/`.

    build.json    what is built: its version, the pages as they were read, what later steps are to do
    site/         the files to publish

The folder appears at once with the compiled pages; later steps add to it or rewrite files in it, each whole.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from automation.runtime.files import remove_folder, temp_beside, write_file


@dataclass(frozen=True, slots=True)
class Build:
    """A site in the making.

    Attributes:
        folder: holds `build.json` and `site/`.
        version: the name of the release that it becomes.
        routes: where its pages are.
        pages: the page documents that it is made of, so that every step sees the same.
        optimize_images: whether OPTIMIZE_ASSETS is to re-encode images.
    """

    folder: Path
    version: str
    minify: bool
    optimize_images: bool
    routes: list[str]
    pages: list[dict[str, Any]]

    @property
    def site(self) -> Path:
        return self.folder / "site"


def new_version(moment: datetime, execution_id: str) -> str:
    """A release's name: sorts by time, and tells the execution, as in `20260115T103000123Z-1f0c9a2b`."""
    return f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03}Z-{execution_id[:8]}"


def build_folder(root: Path, project_id: str, execution_id: str) -> Path:
    """Where an execution builds."""
    return root / project_id / "builds" / execution_id


def start_build(build: Build, files: dict[str, str]) -> None:
    """Make the build's folder with these files of the site; what an earlier try left there goes.

    Args:
        files: contents by path inside the site.
    """
    temp = temp_beside(build.folder)
    for path, content in files.items():
        write_file(temp / "site" / path, content.encode())
    manifest = {key: value for key, value in asdict(build).items() if key != "folder"}
    write_file(temp / "build.json", json.dumps(manifest, ensure_ascii=False).encode())
    remove_folder(build.folder)
    temp.rename(build.folder)


def open_build(folder: Path) -> Build | None:
    """The build in that folder, None if there is none."""
    try:
        manifest = json.loads((folder / "build.json").read_bytes())
    except FileNotFoundError:
        return None
    return Build(folder=folder, **manifest)
