"""Signed webhooks: whether a request comes from who has the secret, and which delivery it is.

standard    Standard Webhooks: `webhook-id`, `webhook-timestamp`, `webhook-signature`; five minutes
github      `X-Hub-Signature-256` over the body; it carries no time, so only the id guards against a repeat
stripe      `Stripe-Signature: t=…,v1=…` over time and body; five minutes; id and name stand in the body
"""

import base64
import hashlib
import hmac
import re
import secrets as random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson

from automation.errors import BadSignatureError, RefusedError

Scheme = Literal["standard", "github", "stripe"]

WINDOW = timedelta(minutes=5)
"""How far a signed time may be from ours, either way; what Standard Webhooks and Stripe recommend."""

_PREFIX = "whsec_"
_SECRET_BYTES = 32
_BASE64 = re.compile("(?:whsec_)?(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2,3}={0,2})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a webhook: the id that makes a repeat harmless, and the sender's name of the event, or ""."""

    id: str
    event: str


def verify(scheme: Scheme, body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: datetime) -> Delivery:
    """Check a request's signature; one that fits any of the secrets is good.

    Args:
        body: as it came in, byte for byte.
        headers: in any spelling of their names.

    Raises:
        BadSignatureError: it is missing, wrong, or too old.
    """
    given = {name.lower(): value for name, value in headers.items()}
    return _SCHEMES[scheme](body, given, secrets, now)


def make_secret(scheme: Scheme) -> str:
    """A new secret of 256 bits, as senders of that scheme are used to."""
    if scheme == "github":
        return random.token_urlsafe(_SECRET_BYTES)
    return _PREFIX + base64.b64encode(random.token_bytes(_SECRET_BYTES)).decode()


def check_secret(scheme: Scheme, secret: str, field: str) -> None:
    """Whether a secret that somebody chose can be used.

    Raises:
        RefusedError: it is too short or too long, or no `whsec_…`; the text does not repeat it.
    """
    if scheme == "standard":
        if not (_BASE64.fullmatch(secret) and 24 <= len(standard_key(secret)) <= 64):
            raise RefusedError(f"{field}: expected whsec_ and base64 of 24 to 64 bytes", field)
    elif not 8 <= len(secret) <= 255 or _CONTROL.search(secret):
        raise RefusedError(f"{field}: expected 8 to 255 characters, none of them a control character", field)


def standard_key(secret: str) -> bytes:
    """The bytes that a Standard Webhooks secret stands for.

    Raises:
        ValueError: nothing of it is base64.
    """
    # as lenient as the package that senders use, so that both sides have the same key
    key = base64.b64decode(secret.removeprefix(_PREFIX) + "==")
    if not key:
        raise ValueError("an empty secret")
    return key


def _standard(body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: datetime) -> Delivery:
    id_ = _header(headers, "webhook-id")
    timestamp = _in_window(_header(headers, "webhook-timestamp"), now)
    signatures = _header(headers, "webhook-signature").split(" ")
    keys = []
    for secret in secrets:
        with suppress(ValueError):  # one of the trigger's former scheme, beside the new one
            keys.append(standard_key(secret))
    signed = f"{id_}.{timestamp}.".encode() + body
    expected = ["v1," + base64.b64encode(_digest(key, signed)).decode() for key in keys]
    _require_match(signatures, expected)
    return Delivery(id_, _text(_fields(body), "type"))


def _github(body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: datetime) -> Delivery:
    signature = _header(headers, "x-hub-signature-256")
    _require_match([signature], ["sha256=" + _digest(secret.encode(), body).hex() for secret in secrets])
    id_ = headers.get("x-github-delivery") or hashlib.sha256(body).hexdigest()
    return Delivery(id_, headers.get("x-github-event", ""))


def _stripe(body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: datetime) -> Delivery:
    parts = [part.strip().partition("=") for part in _header(headers, "stripe-signature").split(",")]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1:
        raise _refused("stripe-signature has no t=")
    signed = f"{_in_window(times[0], now)}.".encode() + body
    signatures = [value for name, _, value in parts if name == "v1"]  # others are weaker, or for tests
    _require_match(signatures, [_digest(secret.encode(), signed).hex() for secret in secrets])
    fields = _fields(body)
    return Delivery(_text(fields, "id") or hashlib.sha256(body).hexdigest(), _text(fields, "type"))


_SCHEMES: dict[str, Callable[[bytes, Mapping[str, str], Sequence[str], datetime], Delivery]] = {
    "standard": _standard,
    "github": _github,
    "stripe": _stripe,
}


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value:
        raise _refused(f"the header {name} is missing")
    if not value.isascii():
        raise _refused(f"the header {name} cannot be read")
    return value


def _in_window(timestamp: str, now: datetime) -> str:
    """`timestamp` (seconds since 1970), if it is close enough to our clock."""
    if not re.fullmatch("[0-9]{1,12}", timestamp):
        raise _refused("its time is no number of seconds")
    if abs(int(timestamp) - now.timestamp()) > WINDOW.total_seconds():
        raise _refused(f"its time is more than {WINDOW.total_seconds():.0f} s off ours")
    return timestamp


def _digest(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def _require_match(given: Sequence[str], expected: Sequence[str]) -> None:
    """Whether any given signature is one of the expected; each pair is compared, so that time tells nothing."""
    pairs = [hmac.compare_digest(one.encode(), other.encode()) for one in given for other in expected]
    if not any(pairs):
        raise _refused("no signature fits")


def _fields(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _refused(reason: str) -> BadSignatureError:
    return BadSignatureError(f"The webhook's signature was refused: {reason}.")
