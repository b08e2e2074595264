import base64
import logging
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from automation.api.webhooks import verify
from automation.errors import BadSignatureError

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes....").decode()
BODY = b'{"type": "page.updated"}'


def headers(body: bytes = BODY, *, age: float = 0, secret: str = SECRET) -> dict[str, str]:
    at = datetime.now(UTC) - timedelta(seconds=age)
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", at, body.decode()),
    }


def test_a_good_signature_passes() -> None:
    verify(BODY, headers(), SecretStr(SECRET))


def test_one_good_signature_among_several_passes() -> None:
    signed = headers()
    signed["webhook-signature"] = "v2,AAAA v1,AAAA " + signed["webhook-signature"]

    verify(BODY, signed, SecretStr(SECRET))


@pytest.mark.parametrize("age", [301 + 5, -(301 + 5)])
def test_a_signature_more_than_five_minutes_off_is_refused(age: float) -> None:
    with pytest.raises(BadSignatureError):
        verify(BODY, headers(age=age), SecretStr(SECRET))


def test_a_signature_for_another_body_or_by_another_secret_is_refused() -> None:
    with pytest.raises(BadSignatureError):
        verify(BODY + b" ", headers(), SecretStr(SECRET))
    with pytest.raises(BadSignatureError):
        verify(BODY, headers(secret="whsec_" + base64.b64encode(b"another").decode()), SecretStr(SECRET))


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_signature_without_one_of_its_headers_is_refused(name: str) -> None:
    signed = headers()
    del signed[name]

    with pytest.raises(BadSignatureError):
        verify(BODY, signed, SecretStr(SECRET))


@pytest.mark.parametrize("rubbish", ["", " ", "v1", "v1,", "v1,a", "v1,é", ",", "v1,a,b", "v1," + "A" * 9999])
def test_rubbish_in_place_of_a_signature_is_refused(rubbish: str) -> None:
    with pytest.raises(BadSignatureError):
        verify(BODY, headers() | {"webhook-signature": rubbish}, SecretStr(SECRET))


@pytest.mark.parametrize("rubbish", ["", "now", "nan", "inf", "1e400", "-1", "9" * 400])
def test_rubbish_in_place_of_the_time_is_refused(rubbish: str) -> None:
    with pytest.raises(BadSignatureError):
        verify(BODY, headers() | {"webhook-timestamp": rubbish}, SecretStr(SECRET))


def test_a_body_that_is_no_text_is_refused() -> None:
    with pytest.raises(BadSignatureError):
        verify(b"\xff\xfe", headers(), SecretStr(SECRET))


@pytest.mark.parametrize("secret", [None, SecretStr(""), SecretStr("whsec_"), SecretStr("whsec_!")])
def test_without_a_usable_secret_everything_is_refused_and_the_log_says_why(
    secret: SecretStr | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(BadSignatureError):
        verify(BODY, headers(), secret)

    assert "AUTOMATION_STUDIO_WEBHOOK_SECRET" in caplog.text
