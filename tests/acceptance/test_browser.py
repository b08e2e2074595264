"""The published site in a real browser. Collected where a Chromium is installed."""

import subprocess
import tempfile

from tests.acceptance.conftest import BROWSER, Installation
from tests.acceptance.studio import KINDS, created, event, hostile, page
from tests.unit.runtime.reading import active_content


def test_no_script_of_a_document_runs(installation: Installation) -> None:
    everything = [hostile(kind) for kind in KINDS]
    installation.send(created("browsed"), page("browsed", "all", *everything))
    [answer] = installation.send(event("project.published", "browsed"))
    assert installation.ended(answer["executions"][0]["id"])["status"] == "COMPLETED"

    dom = browse(f"{installation.sites}/browsed/all/")

    assert "<table" in dom
    assert "<title>owned" not in dom
    assert active_content(dom) == []


def browse(address: str) -> str:
    """The document as it stands after the page's scripts have run."""
    assert BROWSER
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
             "--virtual-time-budget=2000", "--dump-dom", address],
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
    return done.stdout
