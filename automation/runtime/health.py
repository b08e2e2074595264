"""Is a release fit to go live? Its files are there and as they were made, and its links lead somewhere."""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from automation.runtime.releases import list_files, read_release

_REQUIRED = ("index.html", "404.html")
_SHOWN = 100  # characters of a dead link that a message shows
# What a page cannot do without; a dead link that somebody put into a page must not stop the next publish.
_VITAL = {("link", "href"), ("script", "src")}
_LINKS = _VITAL | {("a", "href"), ("img", "src"), ("source", "src"), ("video", "src"), ("video", "poster"),
                   ("audio", "src"), ("iframe", "src")}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Health:
    """What is wrong with a release.

    Attributes:
        faults: why it must not go live; empty when it may.
        warnings: links in its pages that lead nowhere.
    """

    faults: list[str]
    warnings: list[str]


def check_release(folder: Path) -> Health:
    """Read every file of a release and compare it with what the release says about itself."""
    try:
        release = read_release(folder)
    except (OSError, ValueError) as error:
        return Health([f"{folder.name}: its list of files cannot be read: {error}"], [])
    faults = [f"{name} is missing" for name in _REQUIRED if name not in release.files]
    for path, expected in release.files.items():
        try:
            data = (folder / path).read_bytes()
        except OSError as error:
            faults.append(f"{path} cannot be read: {error.strerror}")
            continue
        if len(data) != expected.bytes:
            faults.append(f"{path} has {len(data)} bytes instead of {expected.bytes}")
        elif sha256(data).hexdigest() != expected.sha256:
            faults.append(f"{path} has changed since the release was made")
    warnings: list[str] = []
    for page, link, vital in _dead_links(folder, set(release.files)):
        (faults if vital else warnings).append(f"{page}: {link[:_SHOWN]!r} leads nowhere")
    return Health(faults, warnings)


def _dead_links(folder: Path, files: set[str]) -> Iterator[tuple[str, str, bool]]:
    """(page, link, vital) of every link inside the site that no file answers."""
    for page in (path for path in list_files(folder) if path.endswith(".html")):
        reader = _Links()
        reader.feed((folder / page).read_text("utf-8", "replace"))
        for link, vital in reader.links.items():
            if not _resolves(page, link, files):
                yield page, link, vital


def _resolves(page: str, link: str, files: set[str]) -> bool:
    try:
        parts = urlsplit(link)
    except ValueError:
        return False
    if parts.scheme or parts.netloc or not parts.path:
        return True  # another site, or a place in the same page
    if parts.path.startswith("/"):
        return False  # leaves the site wherever it is not served at the root of its host
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path)))
    return path in files or posixpath.normpath(f"{path}/index.html") in files


class _Links(HTMLParser):
    """Collects the links of a page, and whether the page needs what they name."""

    def __init__(self) -> None:
        super().__init__()
        self.links: dict[str, bool] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (tag, name) in _LINKS:
                self.links[value] = self.links.get(value, False) or (tag, name) in _VITAL
