"""What SECURITY.md claims is shown by tests that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()


def test_every_claim_names_a_test_and_every_test_that_is_named_exists() -> None:
    known = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    tables = re.findall(r"^\| claim \| shown by \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    rows = [row for table in tables for row in table.splitlines()]

    assert len(rows) > 40
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row)
        assert named, f"shown by nothing: {row}"
        assert set(named) <= known, f"not there: {sorted(set(named) - known)}"


def test_what_is_not_protected_is_said() -> None:
    assert "## What is not protected" in PAGE
    assert "**Reporting.**" in PAGE
