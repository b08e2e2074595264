"""What the commands make of their arguments."""

import pytest
from typer.testing import CliRunner

from automation.cli import app


@pytest.mark.parametrize("since", ["yesterday", "12", "-3h", "99999999999d", "2026-13-01"])
def test_a_since_that_is_no_time_is_wrong_usage_and_not_a_traceback(since: str) -> None:
    result = CliRunner().invoke(app, ["mirror", "verify", f"--since={since}"])
    assert result.exit_code == 2
    assert "is neither a time" in result.output
