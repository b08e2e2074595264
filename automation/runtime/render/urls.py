"""Addresses in a generated site: which are allowed, and how pages link to each other under any base path.

A page lies at `<route>/index.html`, and nobody knows under which path the site will be served, so all links
between pages are relative.
"""

import html
import re

_SCHEMES = frozenset({"http", "https", "mailto", "tel"})
_SCHEME = re.compile(r"([^/?#]*?):")
_IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}", re.IGNORECASE)
# What browsers drop or ignore inside an address, and what may hide its true beginning.
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\xa0\xad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")

_ENCODED = str.maketrans({character: f"%{ord(character):02X}" for character in " <>\"'`"})


def safe_url(value: object, *, image: bool = False) -> str | None:
    """`value` if it is an address that cannot run anything, else None.

    Allowed are http, https, mailto, tel and relative ones, and with `image` also
    `data:image/(png|jpeg|gif|webp);base64,…`.
    """
    if not isinstance(value, str):
        return None
    url = _INVISIBLE.sub("", value).strip()
    if not url or "\\" in url:
        return None
    if url[:5].lower() == "data:":
        url = url.replace(" ", "")
        return url if image and _IMAGE.fullmatch(url) else None
    for spelling in (url, html.unescape(url)):
        scheme = _SCHEME.match(spelling)
        if scheme and scheme.group(1).lower() not in _SCHEMES:
            return None
    return url.translate(_ENCODED)


def relative_link(from_route: str, to_route: str) -> str:
    """The way between two pages: `/` → `/about` is `about/`, `/about` → `/contact` is `../contact/`."""
    target = to_route.strip("/")
    return to_root(from_route) + f"{target}/" if target else to_root(from_route) or "./"


def to_root(route: str) -> str:
    """The way from a page to the site's own folder: empty for `/`, `../` for `/about`."""
    return "../" * len([name for name in route.split("/") if name])


def split_route(url: str) -> tuple[str, str]:
    """`/about/?a=1#b` → (`/about`, `?a=1#b`)."""
    path, rest = re.fullmatch(r"([^?#]*)(.*)", url, re.DOTALL).groups()  # type: ignore[union-attr]
    return (path.rstrip("/") or "/") if path.startswith("/") else path, rest
