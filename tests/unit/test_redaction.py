"""What of an object, or of a text, is not for everybody who may read it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.conditions import holds
from automation.errors import NetworkError, RefusedError
from automation.redaction import REDACTED, redact, redact_error, redact_text, restored

HIDDEN = "hunter2"
NAMES = [
    "password", "Password", "db_password", "passwd", "secret", "client-secret", "SECRET_KEY", "token", "accessToken",
    "Authorization", "Proxy-Authorization", "api_key", "apiKey", "X-Api-Key", "API-KEY", "aws_access_key", "privateKey",
    "credentials", "Cookie", "Set-Cookie",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [HIDDEN, 1234, [HIDDEN], {"value": HIDDEN}])
def test_a_value_under_such_a_name_is_hidden_however_the_name_is_spelled(name: str, value: Any) -> None:
    assert redact({"a": [{"b": {name: value}}]}) == {"a": [{"b": {name: REDACTED}}]}


@pytest.mark.parametrize("value", [None, True, False, "", [], {}])
def test_that_there_is_nothing_may_be_seen(value: Any) -> None:
    assert redact({"password": value}) == {"password": value}


def test_everything_else_stays_as_it_is_and_what_was_given_is_not_changed() -> None:
    given = {"page": {"name": "Accueil", "authors": ["a"], "keys": 3}, "password": HIDDEN}

    assert redact(given) == {"page": {"name": "Accueil", "authors": ["a"], "keys": 3}, "password": REDACTED}
    assert given["password"] == HIDDEN


def test_credentials_in_an_address_are_hidden_whatever_its_field_is_called() -> None:
    assert redact({"url": f"https://me:{HIDDEN}@host/x?y=1"}) == {"url": f"https://{REDACTED}@host/x?y=1"}
    assert redact({"url": "https://host/@me"}) == {"url": "https://host/@me"}


def test_an_installation_hides_what_it_says() -> None:
    assert redact({"iban": "FR76", "password": "x"}, ("iban",)) == {"iban": REDACTED, "password": "x"}
    assert redact({"password": "x"}, ()) == {"password": "x"}


@pytest.mark.parametrize(
    "text",
    [
        f"password={HIDDEN}", f"PASSWORD = {HIDDEN}", f"login failed (password: {HIDDEN})", f'{{"token": "{HIDDEN}"}}',
        f"{{'client_secret': '{HIDDEN} x'}}", f"Authorization: Bearer {HIDDEN}", f"authorization: basic {HIDDEN}",
        f"GET /x?api_key={HIDDEN}&y=1", f"postgresql://me:{HIDDEN}@db/automation", f"X-Api-Key: {HIDDEN}",
        f'"password": "a\\"{HIDDEN}"', f"apikey={HIDDEN}",
    ],
)  # fmt: skip
def test_text_tells_no_secret(text: str) -> None:
    assert HIDDEN not in redact_text(text)
    assert REDACTED in redact_text(text)


def test_text_without_secrets_stays_as_it_is() -> None:
    text = "SAVE_TO_RUNTIME: page 'home' version 7 is older than the saved version 9; no token was needed"

    assert redact_text(text) == text


@pytest.mark.parametrize("part", ["token", "token=", "token ", "://", 'token:"\\', "a", "token:bearer "])
def test_hostile_text_takes_time_in_proportion_to_its_length(part: str) -> None:
    redact_text(part * (2_000_000 // len(part)))  # the square of it would be hours


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "token"]), inner, max_size=2),
    max_leaves=20,
)


@given(stored=st.dictionaries(st.sampled_from(["a", "password", "c"]), json, max_size=3))
def test_what_was_answered_and_is_sent_back_is_what_was_stored(stored: dict[str, Any]) -> None:
    assert restored(redact(stored), stored, "config") == stored


def test_a_new_secret_replaces_the_stored_one_and_a_field_that_is_left_out_is_gone() -> None:
    stored = {"secret": "old", "headers": {"Authorization": "old"}, "url": "https://a"}

    given = {"secret": "new", "headers": {"Authorization": REDACTED}}
    assert restored(given, stored, "config") == {"secret": "new", "headers": {"Authorization": "old"}}


@pytest.mark.parametrize(
    ("given", "field"),
    [({"secret": REDACTED}, "config.secret"), ({"headers": {"Cookie": REDACTED}}, "config.headers.Cookie")],
)
def test_where_nothing_is_stored_the_placeholder_is_refused_rather_than_stored(given: Any, field: str) -> None:
    with pytest.raises(RefusedError) as caught:
        restored(given, {"headers": {}}, "config")

    assert caught.value.field == field


def test_an_error_tells_no_secret_and_neither_does_what_it_came_from() -> None:
    error = NetworkError(f"401 for token={HIDDEN}", retry_after=9)
    error.__cause__ = ValueError(HIDDEN)
    clean = redact_error(error)
    assert (str(clean), clean.retry_after, clean.__cause__) == (f"401 for token={REDACTED}", 9, None)

    kept = NetworkError("away")
    kept.__cause__ = OSError("no route")
    assert redact_error(kept).__cause__ is not None
    kept.__cause__ = OSError(f"https://me:{HIDDEN}@host")
    assert redact_error(kept).__cause__ is None
    kept.__cause__ = ExceptionGroup("two at once", [OSError("no route"), OSError(f"https://me:{HIDDEN}@host")])
    assert redact_error(kept).__cause__ is None


@pytest.mark.timeout(10)
def test_an_error_that_was_raised_from_itself_is_looked_at_once() -> None:
    error = NetworkError("away")
    error.__cause__ = error
    assert redact_error(error) is error


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("data.user.password", HIDDEN), ("data.tokens.0", HIDDEN), ("data.user", {"name": "a", "password": HIDDEN}),
        ("data.all", [{"password": HIDDEN}]), ("data.url", f"https://me:{HIDDEN}@host/"),
    ],
)  # fmt: skip
def test_why_a_condition_does_not_hold_is_said_without_a_secret(field: str, found: Any) -> None:
    root: Any = found
    for part in reversed(field.split(".")):
        root = [root] if part == "0" else {part: root}

    verdict = holds({"field": field, "operator": "==", "value": 1}, root)

    assert not verdict.holds
    assert REDACTED in verdict.reason
    assert HIDDEN not in verdict.reason
    secret = {"field": "data.user.password", "operator": "==", "value": HIDDEN}
    assert HIDDEN not in holds(secret, {}).reason
