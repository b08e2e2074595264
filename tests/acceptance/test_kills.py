"""Nothing is lost when a part is killed in the middle of a burst."""

import json

import httpx
import pytest

from tests.acceptance.conftest import Installation, Json, until
from tests.acceptance.studio import event, page, text

PAGES = 8

PARTS = {
    "service": ("automation.cli", "serve"),
    "worker": ("worker", "start"),
    "prefect-server": ("server", "start"),
}


@pytest.mark.parametrize("part", PARTS)
def test_everything_that_was_accepted_is_done_although_a_part_was_killed(installation: Installation, part: str) -> None:
    project = f"killed-{part}"
    for version in range(1, 7):
        if version == 3:
            installation.kill(*PARTS[part])
        for number in range(PAGES):
            name = f"page-{number}"
            deliver(installation, page(project, name, text("x"), version=version, id=f"{project}-{name}-{version}"))
    deliver(installation, event("project.published", project, id=f"{project}-publish"))

    done = installation.all_ended(100, project_id=project)

    assert {one["status"] for one in done} <= {"COMPLETED", "CANCELLED"}
    for number in range(PAGES):
        saved = json.loads((installation.home / f"runtime/{project}/pages/page-{number}.json").read_text())
        assert saved["version"] == 6
        assert installation.site(project, f"page-{number}").status_code == 200


def deliver(installation: Installation, one: Json) -> None:
    """As Studio's outbox does: the same event again until it is accepted."""
    until(lambda: installation.studio.post("events/", json=one).status_code == httpx.codes.ACCEPTED, 60)


def test_after_all_that_the_mirror_is_true(installation: Installation) -> None:
    installation.all_ended()

    done = installation.run("mirror", "verify")

    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(line.split() for line in done.stdout.splitlines())
    assert {counts[name] for name in counts if name != "crashed_after_commit"} == {"0"}
