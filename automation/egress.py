"""Requests to addresses that people give: the one way out, which does not lead into our own network.

A name is resolved once, its addresses are checked, and the one that passed is the one connected to, under the name's
`Host` and certificate. So neither a name that changes its address between check and use, nor a redirect, nor an odd
spelling of an address reaches what `AUTOMATION_EGRESS_ALLOW` does not name.
"""

import asyncio
import gzip
import io
import logging
import re
import socket
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache

import httpx

from automation import tracing
from automation.addresses import Address, is_host_name, parse_address, parse_allowed, reason_against
from automation.errors import NetworkError, ValidationError
from automation.settings import Settings
from automation.steps import one_line

TIMEOUT = 30.0
"""Seconds that a request may take from its name's look-up to the last byte, redirects included."""

CONNECT_TIMEOUT = 5.0
"""Seconds for a connection to one address."""

MAX_BYTES = 5 * 1024 * 1024
"""Of an answer's body, before and after decompression."""

MAX_REDIRECTS = 5
MAX_RETRY_AFTER = timedelta(days=1)
SUCCESS = range(200, 300)

_ADDRESSES = 4  # of a name that are tried; a name may have hundreds
_SHOWN = 500  # characters of an answer that an error shows
_LATER = (408, 425, 429)
_METHOD = re.compile("GET|HEAD|OPTIONS|POST|PUT|PATCH|DELETE")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OURS = {
    "host", "connection", "keep-alive", "upgrade", "expect",
    "content-length", "transfer-encoding", "accept-encoding", "te", "trailer",
}  # fmt: skip
# All that another origin gets when it is redirected to: any other header may be what identifies us to the first one.
_HARMLESS = {"accept", "accept-language", "content-type", "idempotency-key", "user-agent"}

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

logging.getLogger("httpcore").setLevel(logging.INFO)  # below that it shows the headers of answers, secrets and all


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: headers by their names in lower case, the body decompressed, seconds from first to last."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    elapsed: float

    @property
    def host(self) -> str:
        """Who answered, as it may stand in a log: the rest of a URL can hold secrets."""
        return _host(httpx.URL(self.url))


@dataclass(frozen=True, slots=True)
class _Hop:
    """One request on the way to the answer."""

    method: str
    url: httpx.URL
    headers: Mapping[str, str]
    content: bytes


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a host by the system's resolver, which also reads odd spellings (`0x7f.1`) of an address.

    Raises:
        OSError: it has none, or the resolver does not answer.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def permitted_addresses(
    settings: Settings, host: str, port: int, *, resolve: Resolver = resolve
) -> Sequence[Address]:
    """The addresses of `host` that may be connected to, in the resolver's order.

    Raises:
        ValidationError: there is none that does not lead into our own network.
        NetworkError: the name cannot be resolved.
    """
    try:
        found = [parse_address(one) for one in await resolve(host, port)]
    except OSError as error:
        raise NetworkError(f"{host} has no address: {error.strerror or error}.") from None
    allowed = [parse_allowed(one) for one in settings.egress_allow]
    against = {address: reason_against(allowed, host, address, port) for address in found}
    permitted = [address for address, reason in against.items() if not reason]
    if not permitted:
        kinds = " and ".join(dict.fromkeys(against.values())) or "unknown"
        raise ValidationError(
            f"{host}, port {port}, is refused: its address is {kinds}, and requests go to the internet only. "
            f"An operator can name it in AUTOMATION_EGRESS_ALLOW."
        )
    return permitted


async def request(
    settings: Settings,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    content: bytes = b"",
    seconds: float = TIMEOUT,
    max_bytes: int = MAX_BYTES,
    follow_redirects: bool = False,
    resolve: Resolver = resolve,
) -> Answer:
    """Send a request to an address that somebody gave, and read the answer, whatever its status is.

    Args:
        seconds: for all of it.
        max_bytes: of the answer's body; more is an error.
        follow_redirects: at most five; another origin gets none of the headers that may identify us.

    Raises:
        ValidationError: the address is refused or wrong, so are method or headers, or the answer is too large.
        NetworkError: nothing, or no whole answer, came back in time.
    """
    first = _Hop(_checked_method(method), parse_url(url), checked_headers(headers or {}), content)
    with tracing.call(method, _host(first.url)) as called:
        answer = await _follow(
            settings,
            replace(first, headers={**called.headers, **first.headers}),
            seconds,
            max_bytes,
            MAX_REDIRECTS if follow_redirects else 0,
            resolve,
        )
        called.answered(answer.status)
    return answer


async def _follow(
    settings: Settings, hop: _Hop, seconds: float, max_bytes: int, redirects: int, resolve: Resolver
) -> Answer:
    """Send it, and again to where it is redirected to, so often at most; 0: a redirect is an answer like others."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(seconds):
            for _ in range(redirects + 1):
                status, answered, body = await _send(settings, hop, max_bytes, resolve)
                following = _redirected(hop, status, answered) if redirects else None
                if following is None:
                    return Answer(status, answered, body, str(hop.url), time.perf_counter() - began)
                hop = following
    except TimeoutError:
        raise NetworkError(f"{_host(hop.url)} did not answer in full within {seconds:g} s.") from None
    raise ValidationError(f"{_host(hop.url)}: redirected more than {redirects} times.")


def require_status(answer: Answer, expected: Container[int] = SUCCESS) -> None:
    """Turn an answer that was not hoped for into the error that says whether to ask again.

    Raises:
        NetworkError: it may be better later (5xx, 408, 425, 429); `retry_after` is what the answer asks for.
        ValidationError: it will be the same again.
    """
    if answer.status in expected:
        return
    said = one_line(answer.body[: 4 * _SHOWN].decode(errors="replace").strip()[:_SHOWN])
    text = f"{answer.host} answered {answer.status}{f': {said}' if said else '.'}"
    if answer.status >= 500 or answer.status in _LATER:
        raise NetworkError(text, retry_after=retry_after(answer.headers.get("retry-after", ""), datetime.now(UTC)))
    raise ValidationError(text)


def retry_after(value: str, now: datetime) -> float | None:
    """The header Retry-After, a number or a date, as seconds from `now`, at most a day; None if it is neither."""
    longest = MAX_RETRY_AFTER.total_seconds()
    if re.fullmatch("[0-9]{1,18}", value):
        return min(float(value), longest)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()), longest)


# --- what is sent -------------------------------------------------------------------------------------------


def parse_url(url: str) -> httpx.URL:
    """An address that can be asked; its host in lower case, without the dot that may end it.

    Raises:
        ValidationError: it is none; the text shows no more of it than its host.
    """
    try:
        parsed = httpx.URL(url)
        host = parsed.raw_host.decode("ascii").removesuffix(".")
    except (httpx.InvalidURL, ValueError) as error:
        raise ValidationError(f"The URL cannot be read: {one_line(str(error))[:200]}.") from None
    if parsed.scheme not in ("http", "https"):
        raise ValidationError(f"The URL must begin with http:// or https://, not {one_line(parsed.scheme)[:20]!r}.")
    if parsed.userinfo:
        raise ValidationError(f"{one_line(host)}: a URL must not have credentials in it; put them into a header.")
    if not (is_host_name(host) or _is_ipv6(host)):
        raise ValidationError(f"The URL's host {one_line(host)[:100]!r} is no name and no address.")
    if parsed.port is not None and not 1 <= parsed.port <= 65535:
        raise ValidationError(f"{host}: {parsed.port} is no port.")
    return parsed.copy_with(host=host)


def _is_ipv6(host: str) -> bool:
    try:
        return parse_address(host) is not None and "%" not in host  # a zone names one of our own interfaces
    except ValueError:
        return False


def _checked_method(method: str) -> str:
    if not _METHOD.fullmatch(method):
        raise ValidationError(
            f"The method {one_line(method)[:20]!r} is not one of {_METHOD.pattern.replace('|', ', ')}."
        )
    return method


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers as they are sent, by their names in lower case.

    Raises:
        ValidationError: one is wrong, or not for the sender to set; the text never shows a value.
    """
    stripped = {name: value.strip() for name, value in headers.items()}
    for name, value in stripped.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower().startswith("proxy-"):
            raise ValidationError(f"A header cannot be named {one_line(name)[:100]!r}.")
        if name.lower() in _OURS:
            raise ValidationError(f"The header {name} is not for you to set; it follows from the request.")
        if not _HEADER_VALUE.fullmatch(value):
            raise ValidationError(f"The header {name} has characters other than those of ASCII that are printed.")
    return {"user-agent": "Automation", "accept": "*/*"} | {name.lower(): value for name, value in stripped.items()}


def _redirected(hop: _Hop, status: int, headers: Mapping[str, str]) -> _Hop | None:
    """The request that an answer redirects to, if it does."""
    location = headers.get("location")
    if status not in (301, 302, 303, 307, 308) or not location:
        return None
    try:
        url = parse_url(str(hop.url.join(location)))
    except httpx.InvalidURL:
        raise ValidationError(f"{_host(hop.url)} redirects to what is no URL.") from None
    method, kept, content = hop.method, dict(hop.headers), hop.content
    if (status == 303 and method not in ("GET", "HEAD")) or (status in (301, 302) and method == "POST"):
        method, content = "GET", b""
        kept.pop("content-type", None)
    if _origin(url) != _origin(hop.url):
        kept = {name: value for name, value in kept.items() if name in _HARMLESS}
    return _Hop(method, url, kept, content)


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, _host(url), _port(url)


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")


def _port(url: httpx.URL) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


# --- sending it ---------------------------------------------------------------------------------------------


async def _send(
    settings: Settings, hop: _Hop, max_bytes: int, resolve: Resolver
) -> tuple[int, Mapping[str, str], bytes]:
    """One request to the first address that can be connected to; status, headers and body of its answer."""
    host = _host(hop.url)
    addresses = (await permitted_addresses(settings, host, _port(hop.url), resolve=resolve))[:_ADDRESSES]
    ours = {"host": hop.url.netloc.decode("ascii"), "accept-encoding": "gzip", "connection": "close"}
    limits = httpx.Timeout(None, connect=CONNECT_TIMEOUT).as_dict()  # request() bounds the whole
    # no client: it knows proxies, cookies and redirects; and one transport each, as a kept connection is another name's
    async with httpx.AsyncHTTPTransport(verify=_tls(), trust_env=False) as transport:
        for address in addresses:
            sent = httpx.Request(
                hop.method,
                hop.url.copy_with(host=str(address)),
                headers={**hop.headers, **ours},
                content=hop.content,
                extensions={"sni_hostname": host, "timeout": limits},
            )
            try:
                return await _answer(transport, sent, host, max_bytes)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:  # nothing was sent yet
                if address == addresses[-1]:
                    raise NetworkError(f"{host} cannot be connected to: {_told(error)}.") from None
            except httpx.HTTPError as error:
                raise NetworkError(f"{host} did not answer in full: {_told(error)}.") from None
    raise AssertionError("permitted_addresses returns at least one")


async def _answer(
    transport: httpx.AsyncHTTPTransport, sent: httpx.Request, host: str, max_bytes: int
) -> tuple[int, Mapping[str, str], bytes]:
    response = await transport.handle_async_request(sent)
    try:
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > max_bytes:
                raise _too_large(host, max_bytes)
    finally:
        await response.aclose()
    headers = dict(response.headers.items())
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if not body or encoding == "identity":
        return response.status_code, headers, bytes(body)
    if encoding not in ("gzip", "x-gzip"):
        raise ValidationError(
            f"{host} answered in the encoding {one_line(encoding)[:50]!r}, which it was not asked for."
        )
    return response.status_code, headers, await asyncio.to_thread(_unzipped, bytes(body), host, max_bytes)


def _unzipped(body: bytes, host: str, max_bytes: int) -> bytes:
    """A compressed body, read no further than the limit: a few kB can stand for gigabytes."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            unzipped = file.read(max_bytes + 1)
    except (OSError, EOFError, zlib.error):
        raise NetworkError(f"{host} answered with a damaged gzip body.") from None
    if len(unzipped) > max_bytes:
        raise _too_large(host, max_bytes)
    return unzipped


def _too_large(host: str, max_bytes: int) -> ValidationError:
    return ValidationError(f"{host} answered with more than {max_bytes} bytes.")


def _told(error: httpx.HTTPError) -> str:
    return one_line(str(error) or type(error).__name__)[:200].rstrip(".")


@lru_cache
def _tls() -> ssl.SSLContext:
    """Certificates are checked against certifi's authorities, or those of SSL_CERT_FILE. Reading them takes a while."""
    return httpx.create_ssl_context()
