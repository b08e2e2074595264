"""E-mail as it is composed; `tests/integration` sends it."""

from email import message_from_bytes
from email.policy import SMTP

import pytest

from automation.foundation.mail import compose, is_address

OPTIONS = {"sender": "Plateforme <automation@example.org>", "to": "owner@example.com", "body": "Été\n"}


@pytest.mark.parametrize(
    "subject",
    ["Shop\r\nBcc: a@example.com", "Shop\nBcc: a@example.com", "Shop\x00\x0b\x0c", "Shop\u2028X-Evil: 1"],
)
def test_a_subject_cannot_add_a_header(subject: str) -> None:
    message = compose(subject=subject, idempotency_key="k", **OPTIONS)
    read = message_from_bytes(message.as_bytes(), policy=SMTP)
    assert sorted(read.keys()) == sorted(message.keys())
    assert "Bcc" not in read
    assert "X-Evil" not in read
    assert str(read["Subject"]).startswith("Shop\\")


def test_the_same_key_gives_the_same_message_id_and_another_key_another() -> None:
    ids = [compose(subject="S", idempotency_key=key, **OPTIONS)["Message-ID"] for key in ("a", "a", "b")]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0].endswith("@example.org>")


def test_subject_and_body_survive_accents() -> None:
    subject = "« Château d'été » est en ligne"
    message = compose(subject=subject, idempotency_key="k", **OPTIONS)
    read = message_from_bytes(message.as_bytes(), policy=SMTP)
    assert read["Subject"] == subject
    assert read.get_content().replace("\r\n", "\n") == "Été\n"


@pytest.mark.parametrize("address", ["a@x.com", "first.last+tag@sub.example.org", "root@localhost"])
def test_plain_addresses_are_accepted(address: str) -> None:
    assert is_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "", "x", "@x.com", "a@", "a@x.com, b@y.com", "a@x.com\r\nBcc: b@y.com", "a@x.com\n", "Ann <a@x.com>",
        "a@x.com (note)", "a@x.com>,<b@y.com", "a b@x.com", "a@-x.com", "a@x..com", "a" * 320 + "@x.com",
        "a@x\x00.com",
    ],
)  # fmt: skip
def test_anything_but_one_plain_address_is_refused(address: str) -> None:
    assert not is_address(address)
