import re
from pathlib import Path
from string import Formatter

import pytest

from automation.intake.decide import Outcome
from automation.models import AlertState, Status
from automation.ops.history import ROLES, WINDOWS
from automation.ops.texts import LANGUAGES, Texts, catalogue, language_of

OPS = Path(__file__).parents[3] / "automation" / "ops"
TEMPLATES = "\n".join(one.read_text() for one in (OPS / "templates").glob("*.html"))
CODE = "\n".join(one.read_text() for one in OPS.glob("*.py"))
USED = set(re.findall(r"""\bt\(["'](\w+[a-z0-9])["']""", TEMPLATES))
GROUPS = ("status_", "outcome_", "severity_", "state_", "role_", "wait_", "error_", "window_", "only_", "done_")


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_every_text_is_there_in_every_language_with_the_same_blanks() -> None:
    for name, texts in catalogue().items():
        assert set(texts) == set(LANGUAGES), name
        assert all(text.strip() for text in texts.values()), name
        assert len({frozenset(fields(text)) for text in texts.values()}) == 1, name


def test_every_text_that_a_page_asks_for_is_there() -> None:
    named = USED | set(re.findall(r'"(figure_\w+)"', CODE))

    assert named - catalogue().keys() == set()


def test_no_text_is_there_that_no_page_asks_for() -> None:
    left = {name for name in catalogue() if not name.startswith(GROUPS)} - USED

    assert {name for name in left if f'"{name}"' not in CODE + TEMPLATES} == set()


def test_what_the_engine_says_in_one_word_has_a_word() -> None:
    assert {f"status_{one}" for one in Status} <= catalogue().keys()
    assert {f"outcome_{one}" for one in Outcome} <= catalogue().keys()
    assert {f"window_{one}" for one in WINDOWS} <= catalogue().keys()


def test_what_the_pages_say_of_waits_deliveries_alerts_and_buttons_has_a_word() -> None:
    for status in ("WAITING", "RESOLVED", "TIMED_OUT", "REJECTED", "CANCELLED", "DELIVERED", "OWED", "REFUSED"):
        assert f"status_{status}" in catalogue()
    assert {f"state_{one}" for one in AlertState} <= catalogue().keys()
    assert {f"role_{one}" for one in ROLES} <= catalogue().keys()
    done = set(re.findall(r"done=(\w+)", CODE)) | set(re.findall(r'_back\(id, "(\w+)"\)', CODE))
    assert len(done) == 7
    assert {f"done_{one}" for one in done} <= catalogue().keys()


def test_a_name_without_a_word_of_ours_stays_as_it_is() -> None:
    assert Texts("fr").of("status", "COMPLETED") == "réussie"
    assert Texts("fr").of("status", "SOMETHING_NEW") == "SOMETHING_NEW"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "fr"), ("en-GB,en;q=0.9,fr;q=0.8", "en"), ("fr-CA", "fr"), ("de,en;q=0.3", "en"), ("de", "fr"),
        ("en;q=0.2,fr;q=0.9", "fr"), ("en;q=0", "fr"), ("en;q=nonsense", "fr"), ("*", "fr"), (";;,,", "fr"),
    ],
)  # fmt: skip
def test_the_language_is_the_one_that_the_browser_likes_best_of_ours(accepted: str, language: str) -> None:
    assert language_of(accepted, "fr") == language
