"""Requests to addresses that people give, against a real web server on this machine."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from cryptography import x509

from automation import egress
from automation.egress import Resolver, request
from automation.errors import NetworkError, ValidationError
from automation.settings import Settings
from tests.integration.certificates import certificate, server_context
from tests.integration.web import Web, response, serving

OPEN = Settings(egress_allow=("127.0.0.1",))
CLOSED = Settings()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with serving() as server:
        yield server


def names(**addresses: str) -> Resolver:
    """A resolver that knows `shop_example="127.0.0.1"` as shop.example, and any number of addresses of one name."""
    book = {name.replace("_", "."): found.split() for name, found in addresses.items()}

    async def look_up(host: str, port: int) -> Sequence[str]:
        return book[host] if host in book else await egress.resolve(host, port)

    return look_up


# --- where it goes ------------------------------------------------------------------------------------------


async def test_an_answer_is_handed_on_whatever_its_status_is(web: Web) -> None:
    web.answers["/x"] = response(418, b"short and stout", X_Kind="teapot")

    answer = await request(OPEN, "POST", web.url("/x?a=1"), headers={"X-Key": " k "}, content=b"hello")

    assert (answer.status, answer.body, answer.headers["x-kind"]) == (418, b"short and stout", "teapot")
    assert (answer.url, answer.host) == (web.url("/x?a=1"), "127.0.0.1")
    assert answer.elapsed > 0
    [seen] = web.seen
    assert (seen.method, seen.target, seen.body) == ("POST", "/x?a=1", b"hello")
    assert seen.headers["x-key"] == "k"
    assert seen.headers["host"] == f"127.0.0.1:{web.port}"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "localhost.",
        "127.1",
        "0x7f.1",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "0",
        "127。0。0。1",
    ],
)
async def test_this_machine_cannot_be_reached_unless_the_setting_names_it(web: Web, host: str) -> None:
    with pytest.raises(ValidationError, match="AUTOMATION_EGRESS_ALLOW"):
        await request(CLOSED, "GET", web.url(host=host))
    assert web.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost.", "127.1", "[::ffff:127.0.0.1]"])
async def test_this_machine_can_be_reached_if_the_setting_names_it(web: Web, host: str) -> None:
    assert (await request(OPEN, "GET", web.url(host=host))).status == 404
    with pytest.raises(ValidationError, match="AUTOMATION_EGRESS_ALLOW"):
        await request(Settings(egress_allow=(f"127.0.0.1:{web.port + 1}",)), "GET", web.url(host=host))
    assert web.connections == 1


async def test_a_name_that_changes_its_address_is_asked_for_it_once(web: Web) -> None:
    asked = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    web.answers["/"] = response(200, b"in")
    allowed = Settings(egress_allow=(f"127.0.0.1:{web.port}",))
    answer = await request(allowed, "GET", web.url(host="shop.example"), resolve=rebinding)

    assert (answer.body, asked) == (b"in", ["shop.example"])
    assert web.seen[0].headers["host"] == f"shop.example:{web.port}"

    asked.clear()

    async def first_outside(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["203.0.113.1"] if len(asked) == 1 else ["127.0.0.1"]

    with pytest.raises(ValidationError, match="documentation"):
        await request(allowed, "GET", web.url(host="shop.example"), resolve=first_outside)
    assert (asked, web.connections) == (["shop.example"], 1)


async def test_of_several_addresses_only_the_permitted_are_tried_until_one_answers(web: Web) -> None:
    book = names(shop_example="127.0.0.9 10.0.0.1 127.0.0.2 127.0.0.1")
    allowed = Settings(egress_allow=("127.0.0.1", "127.0.0.2"))

    assert (await request(allowed, "GET", web.url(host="shop.example"), resolve=book)).status == 404
    assert web.connections == 1


async def test_a_proxy_of_the_environment_is_not_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await request(OPEN, "GET", web.url())).status == 404


# --- redirects ----------------------------------------------------------------------------------------------


async def test_a_redirect_is_followed_only_on_demand(web: Web) -> None:
    web.answers |= {"/a": response(302, location="/b?x=1"), "/b": response(200, b"there")}

    assert (await request(OPEN, "GET", web.url("/a"))).status == 302
    answer = await request(OPEN, "GET", web.url("/a"), follow_redirects=True)
    assert (answer.status, answer.body, answer.url) == (200, b"there", web.url("/b?x=1"))


async def test_five_redirects_are_followed_and_no_sixth(web: Web) -> None:
    web.answers |= {f"/{n}": response(302, location=f"/{n + 1}") for n in range(6)} | {"/6": response(200)}

    assert (await request(OPEN, "GET", web.url("/1"), follow_redirects=True)).status == 200
    with pytest.raises(ValidationError, match="more than 5 times"):
        await request(OPEN, "GET", web.url("/0"), follow_redirects=True)


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("http://127.0.0.2:{port}/", "loopback"),
        ("//127.0.0.2:{port}/", "loopback"),
        ("http://2130706434:{port}/", "loopback"),
        ("http://169.254.169.254/latest/meta-data/", "link-local"),
        ("http://intranet.example/", "private"),
        ("http://me:hunter2@127.0.0.1:{port}/", "credentials"),
        ("file:///etc/passwd", "must begin with http"),
        ("http://[::1", "no URL"),
        ("http://a..b/", "no name"),
    ],
)
async def test_a_redirect_leads_nowhere_that_could_not_be_asked_for(web: Web, location: str, said: str) -> None:
    web.answers["/"] = response(302, location=location.format(port=web.port))
    book = names(intranet_example="10.1.2.3")

    with pytest.raises(ValidationError, match=said):
        await request(OPEN, "GET", web.url(), follow_redirects=True, resolve=book)
    assert web.connections == 1


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [
        (301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (303, "DELETE", "GET"), (303, "HEAD", "HEAD"),
        (307, "POST", "POST"), (308, "PUT", "PUT"), (302, "PUT", "PUT"),
    ],
)  # fmt: skip
async def test_a_redirect_keeps_the_method_and_body_where_browsers_do(
    web: Web, status: int, method: str, becomes: str
) -> None:
    web.answers |= {"/a": response(status, location="/b"), "/b": response(204)}

    await request(OPEN, method, web.url("/a"), content=b"x", headers={"Content-Type": "a/b"}, follow_redirects=True)

    last = web.seen[-1]
    assert last.method == becomes
    assert (last.body, last.headers.get("content-type")) == ((b"", None) if becomes != method else (b"x", "a/b"))


async def test_another_origin_gets_no_header_that_may_identify_us(web: Web) -> None:
    secret = dict.fromkeys(("Authorization", "Cookie", "X-Api-Key"), "hunter2")
    sent = secret | {"Accept": "text/html", "Idempotency-Key": "k"}
    async with serving() as other:
        web.answers |= {"/here": response(307, location="/there"), "/there": response(307, location=other.url("/far"))}
        await request(OPEN, "POST", web.url("/here"), headers=sent, content=b"x", follow_redirects=True)
        same, far = web.seen[1], other.seen[0]

    assert {same.headers.get(name.lower()) for name in secret} == {"hunter2"}
    assert "hunter2" not in far.headers.values()
    assert (far.headers["accept"], far.headers["idempotency-key"], far.body) == ("text/html", "k", b"x")


async def test_a_cookie_that_one_answer_sets_is_not_sent_with_the_next_request(web: Web) -> None:
    web.answers |= {"/a": response(302, location="/b", set_cookie="a=1; Path=/"), "/b": response(200)}
    await request(OPEN, "GET", web.url("/a"), follow_redirects=True)
    assert "cookie" not in web.seen[-1].headers


# --- what comes back ----------------------------------------------------------------------------------------


async def test_an_answer_may_be_as_large_as_the_limit_and_no_larger(web: Web) -> None:
    web.answers["/"] = response(200, b"x" * 1000)

    assert len((await request(OPEN, "GET", web.url(), max_bytes=1000)).body) == 1000
    with pytest.raises(ValidationError, match=r"127\.0\.0\.1 answered with more than 999 bytes"):
        await request(OPEN, "GET", web.url(), max_bytes=999)


async def test_an_answer_without_an_end_is_left_at_the_limit(web: Web) -> None:
    async def pour(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    web.answers["/"] = pour
    with pytest.raises(ValidationError, match=f"more than {egress.MAX_BYTES} bytes"):
        await request(OPEN, "GET", web.url())


async def test_a_compressed_answer_is_unpacked_no_further_than_the_limit(web: Web) -> None:
    web.answers |= {
        "/good": response(200, gzip.compress(b"hello") + gzip.compress(b" you"), content_encoding="gzip"),
        "/empty": response(204, content_encoding="gzip"),
        "/bomb": response(200, gzip.compress(bytes(200_000_000), 1), content_encoding="gzip"),
        "/members": response(200, gzip.compress(b"") * 100_000, content_encoding="gzip"),
        "/cut": response(200, gzip.compress(b"hello" * 100)[:-9], content_encoding="gzip"),
        "/none": response(200, b"hello", content_encoding="gzip"),
        "/twice": response(200, gzip.compress(gzip.compress(bytes(1000))), content_encoding="gzip, gzip"),
        "/other": response(200, b"hello", content_encoding="br"),
    }

    assert (await request(OPEN, "GET", web.url("/good"))).body == b"hello you"
    assert (await request(OPEN, "GET", web.url("/empty"))).body == b""
    assert (await request(OPEN, "GET", web.url("/members"))).body == b""
    with pytest.raises(ValidationError, match="more than"):
        await request(OPEN, "GET", web.url("/bomb"))
    for path in ("/cut", "/none"):
        with pytest.raises(NetworkError, match="damaged gzip"):
            await request(OPEN, "GET", web.url(path))
    for path in ("/twice", "/other"):
        with pytest.raises(ValidationError, match="in the encoding"):
            await request(OPEN, "GET", web.url(path))


async def test_an_answer_that_takes_too_long_is_given_up_however_it_comes(web: Web) -> None:
    ended = asyncio.Event()

    async def never(writer: asyncio.StreamWriter) -> None:
        await ended.wait()

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while not ended.is_set():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async def around(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(response(302, location="/around"))

    web.answers |= {"/never": never, "/drip": drip, "/around": around}
    for path in web.answers:
        with pytest.raises(NetworkError, match=r"127\.0\.0\.1 did not answer in full within 0\.3 s"):
            await request(OPEN, "GET", web.url(path), seconds=0.3, follow_redirects=True)
    ended.set()


@pytest.mark.parametrize(
    "said",
    [
        b"", b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
    ],
    ids=["nothing", "another protocol", "cut short", "huge headers"],
)  # fmt: skip
async def test_what_is_no_whole_answer_is_a_network_error(web: Web, said: bytes) -> None:
    web.answers["/"] = said
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1 did not answer in full") as caught:
        await request(OPEN, "GET", web.url())
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


async def test_a_port_where_nobody_listens_is_a_network_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(NetworkError, match=r"127\.0\.0\.1 cannot be connected to"):
            await request(OPEN, "GET", f"http://127.0.0.1:{taken.getsockname()[1]}/")


# --- TLS ----------------------------------------------------------------------------------------------------


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """A server's context for shop.example, by an authority that SSL_CERT_FILE names."""
    pem = certificate(tmp_path, x509.DNSName("shop.example"))
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    egress._tls.cache_clear()
    yield server_context(pem)
    egress._tls.cache_clear()


async def test_the_certificate_must_be_that_of_the_name_and_not_of_the_address(certified: ssl.SSLContext) -> None:
    asked_for: list[str | None] = []
    certified.sni_callback = lambda connection, name, context: asked_for.append(name)
    book = names(shop_example="127.0.0.1", evil_example="127.0.0.1")
    async with serving(certified) as web:
        assert (await request(OPEN, "GET", web.url(host="shop.example."), resolve=book)).status == 404
        assert web.seen[0].headers["host"] == f"shop.example:{web.port}"
        for host in ("evil.example", "127.0.0.1"):
            with pytest.raises(NetworkError, match=f"{host} cannot be connected to: .*CERTIFICATE_VERIFY_FAILED"):
                await request(OPEN, "GET", web.url(host=host), resolve=book)
    assert asked_for == ["shop.example", "evil.example", None]
    assert len(web.seen) == 1


async def test_a_certificate_of_an_authority_that_nobody_knows_is_refused(
    certified: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    async with serving(certified) as web:
        with pytest.raises(NetworkError, match="CERTIFICATE_VERIFY_FAILED"):
            await request(OPEN, "GET", web.url(host="shop.example"), resolve=names(shop_example="127.0.0.1"))
    assert web.seen == []
