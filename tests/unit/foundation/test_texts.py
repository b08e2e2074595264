"""What people are told, in both languages."""

import pytest

from automation.foundation.texts import incident, text

VERSION = "20260115T103000000Z-1f0c9a2b"
VALUES = {"project": "Boutique", "version": VERSION, "environment": "production", "path": "/shop/"}


@pytest.mark.parametrize("event", ["published", "promoted", "rolled_back"])
@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_message_names_project_version_and_address(language: str, event: str) -> None:
    subject, body = text(language, event, **VALUES)
    assert "Boutique" in subject
    assert VERSION in body
    assert "/shop/" in body
    assert "{" not in subject + body


def test_the_languages_differ() -> None:
    assert text("fr", "published", **VALUES)[0] == "« Boutique » est en ligne"
    assert text("en", "published", **VALUES)[0] == "“Boutique” is live"


def test_a_hostile_name_is_neither_a_template_nor_a_line_of_its_own() -> None:
    subject, body = text("en", "published", **VALUES | {"project": "{version.__class__}\nAddress: http://evil"})
    assert "{version.__class__}" in subject
    assert "\nAddress: http://evil" not in body


def test_a_long_name_is_cut_in_the_subject_and_whole_in_the_body() -> None:
    name = "Boutique " * 22
    subject, body = text("fr", "published", **VALUES | {"project": name})
    assert len(subject) < 80
    assert name in body


@pytest.mark.parametrize("language", ["fr", "en"])
@pytest.mark.parametrize("over", [False, True])
def test_an_owner_reads_what_fails_and_that_it_works_again_in_one_line_each(language: str, over: bool) -> None:
    subject, body = incident(language, over=over, project="Shop\nBcc: all", workflow="Pub\x1b[2Jlish", count=3)
    assert "\n" not in subject
    assert "Shop\\nBcc: all" in subject
    assert "Pub\\x1b[2Jlish" in body
    assert ("3" in body) is not over
