"""Which addresses a request that people ask for may go to; nothing here connects anywhere."""

import inspect
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from automation.addresses import parse_address, parse_allowed, special_kind
from automation.egress import Answer, permitted_addresses, request, require_status, resolve, retry_after
from automation.errors import NetworkError, ValidationError
from automation.settings import Settings

NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "app.localhost": ["127.0.0.1"],
    "ip6-localhost": ["::1"],
    "intranet.example": ["10.1.2.3"],
    "metadata.google.internal": ["169.254.169.254"],
    "hidden.example": ["::ffff:192.168.0.1"],
    "both.example": ["10.1.2.3", "1.1.1.1"],
    "public.example": ["1.1.1.1", "2606:4700::1111"],
    "scoped.example": ["fe80::1%eth0"],
}


async def known(host: str, port: int) -> Sequence[str]:
    """The names above; all else must be an address, which the real resolver reads without asking anybody."""
    return NAMES[host] if host in NAMES else await resolve(host, port)


def settings(allow: str = "") -> Settings:
    return Settings(egress_allow=tuple(allow.split()))


# --- what is refused ----------------------------------------------------------------------------------------

INSIDE = [
    "127.0.0.1", "127.0.0.1.", "127.1", "127.0.1", "127.255.255.254", "0x7f.1", "0x7f000001", "0X7F.0.0.1",
    "2130706433", "017700000001", "0", "0.0.0.0", "0.1.2.3", "localhost", "localhost.", "LOCALHOST", "app.localhost",
    "ip6-localhost", "127。0。0。1", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a00:1]", "[64:ff9b:1::1.1.1.1]",
    "[2002:7f00:1::]", "[2002:101:101::]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "10.0.0.1", "10.255.255.255",
    "172.16.0.1", "172.31.255.255", "192.168.1.1", "0xc0.0xa8.1.1", "3232235777", "100.64.0.1", "100.127.255.255",
    "100.100.100.200", "169.254.169.254", "0xa9fea9fe", "2852039166", "169.254.170.2", "[fe80::1]", "[fec0::1]",
    "[fd00:ec2::254]", "[fc00::1]", "[::ffff:169.254.169.254]", "168.63.129.16", "metadata.google.internal",
    "192.0.0.192", "192.0.2.1", "198.51.100.7", "203.0.113.9", "198.18.0.1", "192.88.99.1", "224.0.0.1",
    "239.255.255.250", "[ff02::1]", "[ff0e::1]", "240.0.0.1", "255.255.255.255", "[2001:db8::1]", "[3fff::1]",
    "[100::1]", "[5f00::1]", "[4000::1]", "intranet.example", "hidden.example", "scoped.example",
]  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
async def test_nothing_is_sent_to_an_address_that_is_not_of_the_internet(host: str) -> None:
    for url in (f"http://{host}/", f"https://{host}:8443/x?token=hunter2"):
        with pytest.raises(ValidationError, match=r"is refused.*AUTOMATION_EGRESS_ALLOW") as caught:
            await request(settings(), "GET", url, resolve=known)
        assert "hunter2" not in str(caught.value)


WRONG = [
    ("ftp://public.example/", "must begin with http"),
    ("file:///etc/passwd", "must begin with http"),
    ("gopher://127.0.0.1:6379/_x", "must begin with http"),
    ("unix:/var/run/docker.sock", "must begin with http"),
    ("http+unix://%2Fvar%2Frun%2Fdocker.sock/", "must begin with http"),
    ("//public.example/", "must begin with http"),
    ("public.example", "must begin with http"),
    ("", "must begin with http"),
    ("http://", "no name and no address"),
    ("http:///path", "no name and no address"),
    ("http://%31%32%37.0.0.1/", "no name and no address"),
    ("http://a..b/", "no name and no address"),
    ("http://.", "no name and no address"),
    ("http://a b/", "no name and no address"),
    (f"http://{'a' * 64}.example/", "no name and no address"),
    (f"http://{'a.' * 130}example/", "no name and no address"),
    ("http://[fe80::1%25eth0]/", "no name and no address"),
    ("http://[fe80::1%eth0]/", "no name and no address"),
    ("http://me:hunter2@public.example/", "credentials"),
    ("http://public.example@127.0.0.1/", "credentials"),
    ("http://public.example:80@127.0.0.1/", "credentials"),
    ("http://public.example\\@127.0.0.1/", "credentials"),
    ("http://0177.0.0.1/", "cannot be read"),
    ("http://１２７.0.0.1/", "cannot be read"),
    ("http://①②⑦.0.0.1/", "cannot be read"),
    ("http://ⓛocalhost/", "cannot be read"),
    ("http://loc\u00adalhost/", "cannot be read"),
    ("http://[127.0.0.1]/", "cannot be read"),
    ("http://[::1", "cannot be read"),
    ("http://127.0.0.1\t/", "cannot be read"),
    ("http://public.example\r\nHost: localhost/", "cannot be read"),
    ("http://public.example/\0", "cannot be read"),
    ("http://public.example:eighty/", "cannot be read"),
    ("http://public.example:0/", "0 is no port"),
    ("http://public.example:65536/", "65536 is no port"),
]


@pytest.mark.parametrize(("url", "said"), WRONG)
async def test_a_url_that_is_none_is_refused_and_its_secrets_are_not_repeated(url: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        await request(settings("0.0.0.0/0 ::/0"), "GET", url, resolve=known)
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=60))
async def test_no_text_as_a_url_does_anything_but_be_refused(text: str) -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    for url in (text, f"http://{text}"):
        with pytest.raises(ValidationError):
            await request(settings(), "GET", url, resolve=nowhere)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "localhost"),
        ("content-length", "5"),
        ("Transfer-Encoding", "chunked"),
        ("Proxy-Authorization", "hunter2"),
        ("Accept-Encoding", "br"),
        ("X-Key\r\nX", "hunter2"),
        ("", "hunter2"),
        ("X Key", "hunter2"),
        ("X-Key", "hunter2\r\nX-Other: 1"),
        ("X-Key", "hunter2\0"),
        ("X-Key", "hunter2é"),
    ],
)
async def test_a_header_that_would_change_the_request_itself_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=r"[Hh]eader") as caught:
        await request(settings(), "GET", "http://public.example/", headers={name: value}, resolve=known)
    assert "hunter2" not in str(caught.value)


def test_a_request_has_thirty_seconds_and_five_megabytes() -> None:
    """What steps use, which give no limits of their own; that limits hold, tests/integration/test_egress.py shows."""
    defaults = inspect.signature(request).parameters
    assert (defaults["seconds"].default, defaults["max_bytes"].default) == (30, 5 * 1024 * 1024)


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "get", "GET / HTTP/1.1\r\n", ""])
async def test_a_method_other_than_the_usual_is_refused(method: str) -> None:
    with pytest.raises(ValidationError, match="method"):
        await request(settings(), method, "http://public.example/", resolve=known)


# --- what may be reached ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allow", "host", "port", "reached"),
    [
        ("", "public.example", 443, ["1.1.1.1", "2606:4700::1111"]),
        ("", "public.example", 22, ["1.1.1.1", "2606:4700::1111"]),
        ("", "::ffff:1.1.1.1", 80, ["1.1.1.1"]),
        ("", "64:ff9b::101:101", 80, ["64:ff9b::101:101"]),
        ("", "both.example", 80, ["1.1.1.1"]),
        ("10.0.0.0/8", "both.example", 80, ["10.1.2.3", "1.1.1.1"]),
        ("10.0.0.0/8", "intranet.example", 80, ["10.1.2.3"]),
        ("10.1.2.3", "intranet.example", 80, ["10.1.2.3"]),
        ("10.1.2.3:8080", "intranet.example", 8080, ["10.1.2.3"]),
        ("10.1.2.3:8080", "intranet.example", 80, None),
        ("10.1.2.4", "intranet.example", 80, None),
        ("11.0.0.0/8", "intranet.example", 80, None),
        ("intranet.example", "intranet.example", 80, ["10.1.2.3"]),
        ("Intranet.Example.", "intranet.example", 80, ["10.1.2.3"]),
        ("intranet.example:8443", "intranet.example", 8443, ["10.1.2.3"]),
        ("intranet.example:8443", "intranet.example", 443, None),
        ("intranet.example", "10.1.2.3", 80, None),
        ("example", "intranet.example", 80, None),
        ("127.0.0.1", "localhost", 80, ["127.0.0.1"]),
        ("::1", "localhost", 80, ["::1"]),
        ("[::1]:8000", "localhost", 8000, ["::1"]),
        ("[::1]:8000", "localhost", 8001, None),
        ("localhost", "localhost", 80, ["127.0.0.1", "::1"]),
        ("localhost", "127.0.0.1", 80, None),
        ("127.0.0.0/8", "0x7f.1", 80, ["127.0.0.1"]),
        ("127.0.0.0/8", "::ffff:127.0.0.1", 80, ["127.0.0.1"]),
        ("::ffff:127.0.0.1", "127.0.0.1", 80, ["127.0.0.1"]),
        ("127.0.0.0/8", "64:ff9b::7f00:1", 80, None),
        ("fd00::/8", "fd00:ec2::254", 80, ["fd00:ec2::254"]),
        ("fd00::/8 169.254.169.254", "metadata.google.internal", 80, ["169.254.169.254"]),
        ("0.0.0.0/0", "127.0.0.1", 80, ["127.0.0.1"]),
        ("0.0.0.0/0", "::1", 80, None),
    ],
)
async def test_what_is_inside_is_reached_only_where_the_setting_names_it(
    allow: str, host: str, port: int, reached: list[str] | None
) -> None:
    found = permitted_addresses(settings(allow), host, port, resolve=known)
    if reached is None:
        with pytest.raises(ValidationError, match="AUTOMATION_EGRESS_ALLOW"):
            await found
    else:
        assert [str(one) for one in await found] == reached


async def test_a_name_without_an_address_may_have_one_later() -> None:
    async def nobody(host: str, port: int) -> Sequence[str]:
        raise OSError(-2, "Name or service not known")

    with pytest.raises(NetworkError, match=r"gone\.example has no address: Name or service not known"):
        await permitted_addresses(settings(), "gone.example", 80, resolve=nobody)


@pytest.mark.parametrize(
    "entry",
    [
        "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8:80", "*.example", "http://intranet.example", "a b", "", "/", ":",
        ":80", "intranet.example:", "intranet.example:0", "intranet.example:65536", "intranet.example:http", "127.1",
        "2130706433", "0x7f.1", "[::1", "[::1]:x", "::1::2", "[intranet.example]", "héhé.example", "256.1.1.1",
        "me@intranet.example",
    ],
)  # fmt: skip
def test_an_entry_of_the_setting_that_names_nothing_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        parse_allowed(entry)


def test_the_setting_is_separated_by_blanks_or_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATION_EGRESS_ALLOW", " 10.0.0.0/8, intranet.example:80\n[::1]:8000 ,")

    assert Settings().egress_allow == ("10.0.0.0/8", "intranet.example:80", "[::1]:8000")


# --- against what Python knows ------------------------------------------------------------------------------

# What we refuse although Python, or some version of it, counts it to the internet.
_BEYOND_V4 = [IPv4Network(one) for one in ("168.63.129.16", "192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4")]
_BEYOND_V6 = [IPv6Network(one) for one in ("2001::/23", "2002::/16", "3fff::/20")]
_INTERNET_V6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


@given(st.ip_addresses(v=4))
@example(IPv4Address("172.32.0.0"))
@example(IPv4Address("100.128.0.0"))
def test_an_ipv4_address_is_of_the_internet_if_python_says_so_and_no_range_beyond_has_it(address: IPv4Address) -> None:
    beyond = any(address in one for one in _BEYOND_V4)
    assert (special_kind(address) == "") is (address.is_global and not beyond)


@given(st.ip_addresses(v=6) | st.ip_addresses(v=6, network="2000::/3") | st.ip_addresses(v=6, network="2001::/16"))
def test_an_ipv6_address_is_of_the_internet_if_python_says_so_and_it_is_global_unicast(address: IPv6Address) -> None:
    assume(address not in _NAT64)  # an IPv4 address in disguise, which the next test is about
    beyond = any(address in one for one in _BEYOND_V6) or address not in _INTERNET_V6
    assert (special_kind(address) == "") is (address.is_global and not beyond)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_inside_an_ipv6_address_counts_as_itself(address: IPv4Address) -> None:
    assert parse_address(f"::ffff:{address}") == address
    assert special_kind(parse_address(f"64:ff9b::{address}")) == special_kind(address)
    for tunnel in (f"::{address}", f"::ffff:0:{address}", f"64:ff9b:1::{address}"):
        assert special_kind(parse_address(tunnel))


# --- what an answer means -----------------------------------------------------------------------------------

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("99999999999", 86_400),
        (format_datetime(NOON + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOON - timedelta(hours=1), usegmt=True), 0),
        (format_datetime(NOON + timedelta(days=400), usegmt=True), 86_400),
        ("Thu, 15 Jan 2026 12:00:10 -0000", 10),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_a_day(value: str, seconds: float | None) -> None:
    assert retry_after(value, NOON) == seconds


@given(st.text())
def test_retry_after_can_be_any_text(value: str) -> None:
    seconds = retry_after(value, NOON)
    assert seconds is None or 0 <= seconds <= 86_400


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, headers, body, "https://api.example/x?token=hunter2", 0.1)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_an_answer_that_may_be_another_later_is_a_network_error_with_the_wait_it_asks_for(status: int) -> None:
    with pytest.raises(NetworkError, match=f"api.example answered {status}") as caught:
        require_status(answer(status, **{"retry-after": "17"}))
    assert caught.value.retry_after == 17
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("status", [204, 301, 400, 401, 404, 410, 422])
def test_any_other_answer_that_was_not_expected_stays_as_it_is(status: int) -> None:
    with pytest.raises(ValidationError, match=f"api.example answered {status}: no\\\\n\\\\x1b") as caught:
        require_status(answer(status, b"no\n\x1b[31m" + b"x" * 1000), {200})
    assert len(str(caught.value)) < 600
    require_status(answer(status), {status})
