"""Secrets that somebody else repeats are taken out."""

import pytest

from automation.errors import NetworkError, StepError, ValidationError
from automation.integrations.scrub import scrubbed, scrubbed_error

SECRETS = ["hunter2hunter2", "hunter2"]


def test_a_secret_goes_wherever_it_stands() -> None:
    said = {"a": ["x hunter2hunter2 y", {"hunter2": 5}], "n": None, "f": 1.5, "b": True}
    assert scrubbed(said, SECRETS) == {
        "a": ["x [redacted] y", {"[redacted]": 5}], "n": None, "f": 1.5, "b": True
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("it said: hunter2hunt", "it said: [redacted]"),
        ("it said: hunt", "it said: [redacted]"),
        ("it said: hun", "it said: hun"),
        ("hunter2hunt was said", "[redacted]hunt was said"),
    ],
)
def test_where_a_text_was_cut_the_beginning_of_a_secret_goes_too(text: str, left: str) -> None:
    assert scrubbed({"a": text}, SECRETS) == {"a": left}


@pytest.mark.timeout(60)
def test_many_texts_are_looked_through_for_long_secrets_in_a_moment() -> None:
    secrets = [letter * 4096 for letter in "abcdefgh"]
    scrubbed(["x" * 5000] * 10_000, secrets)  # every beginning of every secret would be minutes


@pytest.mark.parametrize(
    ("error", "kind", "after"),
    [
        (NetworkError("no hunter2", retry_after=9), NetworkError, 9),
        (ValidationError("no hunter2"), ValidationError, None),
        (ConnectionResetError("no hunter2"), NetworkError, None),
    ],
)
def test_an_error_keeps_its_class_and_loses_the_secret(
    error: Exception, kind: type[StepError], after: float | None
) -> None:
    error.__cause__ = ValueError("hunter2")
    clean = scrubbed_error(error, SECRETS)
    assert (type(clean), clean.retry_after, clean.__cause__) == (kind, after, None)
    assert "hunter2" not in str(clean)
    assert "[redacted]" in str(clean)
