"""The images of a built site: those that pages carry as data URLs become files, and files become smaller.

An image is never worse off: one that is broken, animated, too large to be decoded safely or that does not get
smaller stays as it is.
"""

import base64
import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from html.parser import HTMLParser
from itertools import accumulate
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from automation.runtime.files import write_file

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 40_000_000
"""Decoded, four bytes each: what a worker can afford; cameras of phones make 12 to 50 million."""

_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]+;base64,([A-Za-z0-9+/]+={0,2})", re.IGNORECASE)
_URL_ATTRIBUTES = {"src", "srcset", "poster", "href", "style"}
# SVG is missing on purpose: in a page it is inert, opened as a file of its own it runs scripts.
_SUFFIXES = {"PNG": "png", "JPEG": "jpg", "GIF": "gif", "WEBP": "webp"}
# Of what an image says beside its pixels, this changes how they look.
_COLOURS = {"icc_profile", "transparency", "background"}
_ORIENTATION = 0x0112


class _UnusableError(Exception):
    """An image that has to stay as it is; the text says why."""


@dataclass(slots=True)
class Optimized:
    """What happened to the images of a site.

    Attributes:
        extracted: data URLs that are references to files now.
        files: paths of those files inside the site.
        bytes_before, bytes_after: of the pages and these files together.
        warnings: images that stayed as they were, and why.
    """

    extracted: int = 0
    files: set[str] = field(default_factory=set)
    bytes_before: int = 0
    bytes_after: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Image:
    name: str
    data: bytes


def optimize_site(site: Path, *, quality: int, recompress: bool) -> Optimized:
    """Move the images that the pages below `site` carry to files in `assets/`; again, it finds nothing to do.

    Args:
        quality: 1..95, of JPEG and WebP.
        recompress: encode the images again, without metadata; False keeps their bytes.

    Raises:
        OSError: the disk refused.
    """
    report = Optimized()
    known: dict[str, _Image | None] = {}  # what became of each data URL

    for file in sorted(site.rglob("*.html")):
        page = file.relative_to(site).as_posix()

        def reference(url: str, page: str = page) -> str:
            if url not in known:
                try:
                    known[url] = _image(url, quality, recompress)
                except _UnusableError as error:
                    known[url] = None
                    report.warnings.append(f"{page}: an image stays as it is: {error}")
            image = known[url]
            path = "../" * page.count("/") + f"assets/{image.name}" if image else ""
            if image is None or len(path) + len(image.data) >= len(url):
                return url  # a tiny image is cheaper inside the page
            _add_file(site, image, report)
            report.extracted += 1
            return path

        before = file.read_bytes()
        after = replace_images(before.decode(), reference).encode()
        if after != before:
            write_file(file, after)
        report.bytes_before += len(before)
        report.bytes_after += len(after)
    return report


def replace_images(page: str, change: Callable[[str], str]) -> str:
    """A page with each image data URL in an attribute that holds addresses replaced by `change(url)`."""
    parts, done = [], 0
    reader = _Tags(page)
    for start, tag, urls in reader.found:

        def changed(match: re.Match[str], urls: set[str] = urls) -> str:
            return change(match.group()) if match.group() in urls else match.group()

        parts += [page[done:start], _DATA_URL.sub(changed, tag)]
        done = start + len(tag)
    return "".join([*parts, page[done:]])


class _Tags(HTMLParser):
    """The start tags of a page that carry data URLs: (offset, source text, URLs)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[int, str, set[str]]] = []
        self._lines = [0, *accumulate(len(line) + 1 for line in page.split("\n"))]
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = [value for name, value in attrs if value and name in _URL_ATTRIBUTES]
        urls = {match.group() for value in values for match in _DATA_URL.finditer(value)}
        source = self.get_starttag_text()
        if urls and source:
            line, column = self.getpos()
            self.found.append((self._lines[line - 1] + column, source, urls))


def _add_file(site: Path, image: _Image, report: Optimized) -> None:
    path = f"assets/{image.name}"
    if path not in report.files:
        write_file(site / path, image.data)
        report.files.add(path)
        report.bytes_after += len(image.data)


def _image(url: str, quality: int, recompress: bool) -> _Image:
    encoded = url.partition(",")[2]
    if len(encoded) * 3 // 4 > MAX_BYTES:
        raise _UnusableError(f"it has more than {MAX_BYTES:,} bytes")
    try:
        data = base64.b64decode(encoded, validate=True)
        with Image.open(io.BytesIO(data), formats=list(_SUFFIXES)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise _UnusableError(f"it has {width} × {height} pixels, more than {MAX_PIXELS:,}")
            suffix = _SUFFIXES[str(image.format)]
            if recompress and not getattr(image, "is_animated", False):
                data = min([data, *_encodings(image, data, quality)], key=len)
    except _UnusableError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _UnusableError(f"it has far more than {MAX_PIXELS:,} pixels") from None
    except Exception as error:  # Pillow's decoders raise almost anything over a broken image
        raise _UnusableError(f"it cannot be read ({type(error).__name__})") from None
    return _Image(f"{sha256(data).hexdigest()[:16]}.{suffix}", data)


def _encodings(image: Image.Image, data: bytes, quality: int) -> list[bytes]:
    """The same image, written anew in its format without metadata, in each way that may be the smallest."""
    options: dict[str, list[dict[str, Any]]] = {
        "JPEG": [{"quality": quality, "optimize": True, "progressive": True}],
        "PNG": [{"optimize": True}],
        "GIF": [{"optimize": True}],
        "WEBP": [{"quality": quality, "lossless": b"VP8L" in data, "method": 4}],
    }
    kind = str(image.format)
    image.load()
    upright = image
    if image.getexif().get(_ORIENTATION, 1) != 1:
        upright = ImageOps.exif_transpose(image)
    elif kind == "JPEG":  # one that is coarser than `quality` keeps its own
        options[kind].append({"quality": "keep", "optimize": True, "progressive": True})
    upright.info = {key: value for key, value in image.info.items() if key in _COLOURS}
    return [_write(upright, kind, one) for one in options[kind]]


def _write(image: Image.Image, kind: str, options: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, icc_profile=image.info.get("icc_profile"), **options)
    return buffer.getvalue()
