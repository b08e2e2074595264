import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from automation.errors import BadSignatureError, RefusedError
from automation.triggers.signatures import Delivery, Scheme, check_secret, make_secret, verify

SCHEMES: tuple[Scheme, ...] = ("standard", "github", "stripe")

# --- what the three publish ---------------------------------------------------------------------------------

GITHUB_SECRET = "It's a Secret to Everybody"
GITHUB_BODY = b"Hello, World!"
GITHUB_HEADERS = {
    "X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
    "X-GitHub-Event": "issues",
}

STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_BODY = b'{"test": 2432232314}'
STANDARD_HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
STANDARD_TIME = datetime.fromtimestamp(1614265330, UTC)

# of Stripe's own .NET library: src/StripeTests/Resources/event_test_signature.json
STRIPE_SECRET = "webhook_secret"
STRIPE_BODY = b"""{
  "id": "evt_123",
  "object": "event",
  "account": "acct_123",
  "api_version": "2017-05-25",
  "created": 1533204620,
  "data": {
    "object": {
      "id": "cus_123",
      "object": "customer",
      "created": 123456789,
      "email": "test@stripe.com",
      "livemode": false,
      "metadata": {}
    }
  },
  "livemode": false,
  "pending_webhooks": 1,
  "request": {
    "id": "req_123",
    "idempotency_key": "idempotency-key-123"
  },
  "type": "customer.created"
}
"""
STRIPE_HEADERS = {
    "Stripe-Signature": "t=1533204620,v1=2220f87ef101a04665f11cdf770523143f875572008577fa0f20882ddb9cc3c7,"
    "v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef"
}
STRIPE_TIME = datetime.fromtimestamp(1533204620, UTC)

Signed = tuple[bytes, Mapping[str, str], str, datetime]
PUBLISHED: dict[Scheme, Signed] = {
    "standard": (STANDARD_BODY, STANDARD_HEADERS, STANDARD_SECRET, STANDARD_TIME),
    "github": (GITHUB_BODY, GITHUB_HEADERS, GITHUB_SECRET, STANDARD_TIME),
    "stripe": (STRIPE_BODY, STRIPE_HEADERS, STRIPE_SECRET, STRIPE_TIME),
}


@pytest.mark.parametrize(
    ("scheme", "delivery"),
    [
        ("standard", Delivery("msg_p5jXN8AQM9LWM0D4loKWxJek", "")),
        ("github", Delivery("72d3162e-cc78-11e3-81ab-4c9367dc0958", "issues")),
        ("stripe", Delivery("evt_123", "customer.created")),
    ],
)
def test_the_published_examples_pass_and_name_their_delivery(scheme: Scheme, delivery: Delivery) -> None:
    body, headers, secret, now = PUBLISHED[scheme]

    assert verify(scheme, body, headers, [secret], now) == delivery


def test_what_the_package_of_standard_webhooks_signs_passes_and_the_type_in_the_body_is_the_event() -> None:
    secret, body = make_secret("standard"), b'{"type": "invoice.paid", "data": {}}'
    signature = Webhook(secret).sign("msg_1", STANDARD_TIME, body.decode())
    headers = {"Webhook-Id": "msg_1", "Webhook-Timestamp": "1614265330", "Webhook-Signature": signature}

    assert verify("standard", body, headers, [secret], STANDARD_TIME) == Delivery("msg_1", "invoice.paid")


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_another_body_another_secret_and_no_secret_are_refused(scheme: Scheme) -> None:
    body, headers, secret, now = PUBLISHED[scheme]

    for changed, secrets in ((body + b" ", [secret]), (body, [make_secret(scheme)]), (body, [])):
        with pytest.raises(BadSignatureError):
            verify(scheme, changed, headers, secrets, now)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_header_that_is_missing_empty_or_no_ascii_is_refused(scheme: Scheme) -> None:
    body, headers, secret, now = PUBLISHED[scheme]
    needed = [name for name in headers if not name.startswith("X-GitHub")]

    for name in needed:
        for value in ("", "é", "v1,é", "sha256=é", "\ud800"):
            with pytest.raises(BadSignatureError):
                verify(scheme, body, {**headers, name: value}, [secret], now)
        with pytest.raises(BadSignatureError):
            verify(scheme, body, {key: headers[key] for key in headers if key != name}, [secret], now)


@pytest.mark.parametrize("scheme", ["standard", "stripe"])
def test_a_time_more_than_five_minutes_off_either_way_is_refused(scheme: Scheme) -> None:
    body, headers, secret, now = PUBLISHED[scheme]

    for seconds in (-300, 300):
        verify(scheme, body, headers, [secret], now + timedelta(seconds=seconds))
    for seconds in (-301, 301):
        with pytest.raises(BadSignatureError, match="300 s off"):
            verify(scheme, body, headers, [secret], now + timedelta(seconds=seconds))


def test_githubs_has_no_time_and_stays_good() -> None:
    verify("github", GITHUB_BODY, GITHUB_HEADERS, [GITHUB_SECRET], datetime(2100, 1, 1, tzinfo=UTC))


def test_a_time_that_was_changed_within_the_window_is_refused() -> None:
    headers = {**STANDARD_HEADERS, "webhook-timestamp": "1614265331"}
    with pytest.raises(BadSignatureError):
        verify("standard", STANDARD_BODY, headers, [STANDARD_SECRET], STANDARD_TIME)
    moved = STRIPE_HEADERS["Stripe-Signature"].replace("1533204620", "1533204621")
    with pytest.raises(BadSignatureError):
        verify("stripe", STRIPE_BODY, {"Stripe-Signature": moved}, [STRIPE_SECRET], STRIPE_TIME)


def test_an_id_that_was_changed_is_refused() -> None:
    with pytest.raises(BadSignatureError):
        verify("standard", STANDARD_BODY, {**STANDARD_HEADERS, "webhook-id": "x"}, [STANDARD_SECRET], STANDARD_TIME)


@pytest.mark.parametrize("prefix", ["v1a,", "v2,", "", "V1,", "v1", "v1=", " v1,"])
def test_a_standard_signature_of_another_version_is_refused(prefix: str) -> None:
    bare = STANDARD_HEADERS["webhook-signature"].removeprefix("v1,")
    headers = {**STANDARD_HEADERS, "webhook-signature": prefix + bare}
    if prefix == " v1,":  # an empty one before it
        verify("standard", STANDARD_BODY, headers, [STANDARD_SECRET], STANDARD_TIME)
        return
    with pytest.raises(BadSignatureError):
        verify("standard", STANDARD_BODY, headers, [STANDARD_SECRET], STANDARD_TIME)


@pytest.mark.parametrize("prefix", ["sha1=", "", "SHA256=", "sha256:", "v1="])
def test_a_github_signature_of_another_kind_is_refused(prefix: str) -> None:
    digest = GITHUB_HEADERS["X-Hub-Signature-256"].removeprefix("sha256=")
    with pytest.raises(BadSignatureError):
        verify("github", GITHUB_BODY, {"X-Hub-Signature-256": prefix + digest}, [GITHUB_SECRET], STANDARD_TIME)


def test_githubs_old_sha1_header_is_no_signature() -> None:
    digest = hmac.digest(GITHUB_SECRET.encode(), GITHUB_BODY, "sha1").hex()
    with pytest.raises(BadSignatureError):
        verify("github", GITHUB_BODY, {"X-Hub-Signature": f"sha1={digest}"}, [GITHUB_SECRET], STANDARD_TIME)


def test_stripes_test_signature_v0_alone_is_refused() -> None:
    signature = STRIPE_HEADERS["Stripe-Signature"].replace("v1=", "v0=")
    with pytest.raises(BadSignatureError):
        verify("stripe", STRIPE_BODY, {"Stripe-Signature": signature}, [STRIPE_SECRET], STRIPE_TIME)


def test_of_two_times_in_stripes_header_none_counts() -> None:
    signature = "t=1," + STRIPE_HEADERS["Stripe-Signature"]
    with pytest.raises(BadSignatureError):
        verify("stripe", STRIPE_BODY, {"Stripe-Signature": signature}, [STRIPE_SECRET], STRIPE_TIME)


# --- several secrets, several signatures --------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_while_a_secret_is_replaced_both_are_good(scheme: Scheme) -> None:
    body, headers, secret, now = PUBLISHED[scheme]

    verify(scheme, body, headers, [make_secret(scheme), secret], now)
    verify(scheme, body, headers, [secret, make_secret(scheme)], now)


def test_a_secret_of_the_schemes_before_does_not_stand_in_the_way_of_the_new_one() -> None:
    for former in ("!", "", GITHUB_SECRET):
        verify("standard", STANDARD_BODY, STANDARD_HEADERS, [former, STANDARD_SECRET], STANDARD_TIME)


def test_one_good_signature_among_several_is_enough() -> None:
    several = "v1,AAAA v2,BBBB " + STANDARD_HEADERS["webhook-signature"]
    headers = {**STANDARD_HEADERS, "webhook-signature": several}
    verify("standard", STANDARD_BODY, headers, [STANDARD_SECRET], STANDARD_TIME)

    several = STRIPE_HEADERS["Stripe-Signature"].replace(",v1=", ", v1=00, v1=")
    verify("stripe", STRIPE_BODY, {"Stripe-Signature": several}, [STRIPE_SECRET], STRIPE_TIME)


# --- deliveries ---------------------------------------------------------------------------------------------


def test_a_delivery_without_an_id_is_known_by_its_body() -> None:
    headers = {"X-Hub-Signature-256": GITHUB_HEADERS["X-Hub-Signature-256"]}
    delivery = verify("github", GITHUB_BODY, headers, [GITHUB_SECRET], STANDARD_TIME)
    assert delivery == Delivery(hashlib.sha256(GITHUB_BODY).hexdigest(), "")

    for body in (b"[]", b"no json", b'{"id": 7, "type": null}', b"\xff"):
        digest = hmac.digest(b"a secret", b"1533204620." + body, "sha256").hex()
        headers = {"Stripe-Signature": f"t=1533204620,v1={digest}"}
        delivery = verify("stripe", body, headers, ["a secret"], STRIPE_TIME)
        assert delivery == Delivery(hashlib.sha256(body).hexdigest(), "")


# --- secrets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_new_secret_has_256_bits_is_another_each_time_and_passes_its_own_check(scheme: Scheme) -> None:
    one, other = make_secret(scheme), make_secret(scheme)

    assert one != other
    check_secret(scheme, one, "secret")
    text = one.removeprefix("whsec_")
    assert len(base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_") + "==")) == 32
    assert one.startswith("whsec_") == (scheme != "github")


@pytest.mark.parametrize(
    ("scheme", "secret"),
    [
        ("standard", ""),
        ("standard", "whsec_"),
        ("standard", "whsec_!not-base64-and-long-enough-for-all-of-it!"),
        ("standard", "whsec_" + base64.b64encode(b"x" * 23).decode()),
        ("standard", "whsec_" + base64.b64encode(b"x" * 65).decode()),
        ("standard", "whsec_é" + "A" * 40),
        ("github", ""),
        ("github", "short"),
        ("github", "x" * 256),
        ("github", "a line\nand another"),
        ("github", "half a pair \ud800"),
        ("stripe", "whsec_\0" + "A" * 40),
    ],
)
def test_a_secret_that_cannot_be_used_is_refused_without_being_repeated(scheme: Scheme, secret: str) -> None:
    with pytest.raises(RefusedError) as caught:
        check_secret(scheme, secret, "secret")

    assert caught.value.field == "secret"
    assert not secret or secret == "whsec_" or secret not in str(caught.value)


def test_the_published_secrets_can_be_used() -> None:
    for scheme, (_, _, secret, _) in PUBLISHED.items():
        check_secret(scheme, secret, "secret")


# --- rubbish ------------------------------------------------------------------------------------------------

_rubbish = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["v1,", "t=1533204620,v1=", "sha256=", "1533204620", "t=١٥٣,v1=x", "9" * 5000, "v1," * 999]),
)


@given(
    scheme=st.sampled_from(SCHEMES),
    values=st.tuples(_rubbish, _rubbish, _rubbish),
    body=st.binary(max_size=30),
    secret=st.sampled_from([STANDARD_SECRET, "", "whsec_", "é", "\0"]),
)
def test_whatever_the_headers_hold_the_answer_is_a_refused_signature(
    scheme: Scheme, values: tuple[str, str, str], body: bytes, secret: str
) -> None:
    names = {
        "standard": ("webhook-id", "webhook-timestamp", "webhook-signature"),
        "github": ("x-hub-signature-256", "x-github-delivery", "x-github-event"),
        "stripe": ("stripe-signature", "", "x"),
    }[scheme]

    with pytest.raises(BadSignatureError):
        verify(scheme, body, dict(zip(names, values, strict=True)), [secret], STRIPE_TIME)
