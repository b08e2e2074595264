"""Which network addresses belong to the internet, and which others `AUTOMATION_EGRESS_ALLOW` names. Pure.

The table is IANA's of special-purpose addresses, with what else answers only inside a network. It stands here rather
than in `ipaddress.is_global`, whose answers changed between patch versions of Python.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_SPECIAL: tuple[tuple[IPv4Network | IPv6Network, str], ...] = tuple(
    (ip_network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared behind a carrier's NAT"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's metadata service"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("fe80::/10", "link-local"),
        ("fc00::/7", "private"),
        ("ff00::/8", "multicast"),
        ("2001::/32", "a Teredo tunnel"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "a 6to4 tunnel"),
        ("3fff::/20", "for documentation"),
    )
)
_IPV6_INTERNET = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMBER = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)")
_HOST_AND_PORT = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::(\d{1,5}))?")


def parse_address(text: str) -> Address:
    """An address as it is connected to: IPv4 that is written as IPv6 (`::ffff:127.0.0.1`) is IPv4.

    Raises:
        ValueError: it is none.
    """
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address


def special_kind(address: Address) -> str:
    """What an address is that does not belong to the internet (`loopback`, `private`, …), or nothing if it does."""
    if address in _NAT64:
        return special_kind(IPv4Address(int(address) & 0xFFFFFFFF))
    for network, kind in _SPECIAL:
        if address in network:
            return kind
    return "" if isinstance(address, IPv4Address) or address in _IPV6_INTERNET else "reserved"


def is_host_name(text: str) -> bool:
    """Whether `text`, in lower case, can be the name of a host."""
    return len(text) <= 253 and _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Allowed:
    """What one entry of `AUTOMATION_EGRESS_ALLOW` names: a network or a host, on one port or, with None, on any."""

    target: IPv4Network | IPv6Network | str
    port: int | None = None

    def covers(self, host: str, address: Address, port: int) -> bool:
        """Whether this entry names `host`, which is at `address`, or that address."""
        named = self.target == host if isinstance(self.target, str) else address in self.target
        return named and self.port in (None, port)


def parse_allowed(text: str) -> Allowed:
    """An entry: `10.0.0.0/8`, `10.1.2.3`, `::1`, `intranet.example`; all but a network may have a port.

    Raises:
        ValueError: it is none of these.
    """
    text = text.lower()
    try:
        if "/" in text:
            return Allowed(ip_network(text))
        if text.count(":") > 1 and not text.startswith("["):
            return Allowed(ip_network(parse_address(text)))
    except ValueError as error:
        raise ValueError(f"{text!r} is no address and no network: {error}") from None
    if match := _HOST_AND_PORT.fullmatch(text):
        literal, name, digits = match.groups()
        port = int(digits) if digits else None
        if port is None or 1 <= port <= 65535:
            try:
                return Allowed(ip_network(parse_address(literal or name)), port)
            except ValueError:
                host = (name or "").removesuffix(".")
                # what looks like a number is an address to a resolver, and here most likely a slip
                if is_host_name(host) and not _NUMBER.fullmatch(host):
                    return Allowed(host, port)
    raise ValueError(f"{text!r} is no address, network (10.0.0.0/8), host name or host:port")


def reason_against(allowed: Iterable[Allowed], host: str, address: Address, port: int) -> str:
    """Why nothing may be sent to `host` at `address`, or nothing if it may: what kind of address that is."""
    kind = special_kind(address)
    return "" if not kind or any(one.covers(host, address, port) for one in allowed) else kind
