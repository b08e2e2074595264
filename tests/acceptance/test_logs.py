"""What the parts of an installation log, as whoever collects their output sees it."""

import json
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.acceptance.conftest import Installation, Json, until
from tests.acceptance.studio import page, text

KEYS = {
    "timestamp", "execution_id", "workflow_id", "project_id", "step", "level", "message", "duration_ms", "metadata",
}  # fmt: skip
PARTS = ("deployments", "migrations", "prefect-server", "service", "sites", "worker")


def lines(installation: Installation, part: str) -> Iterator[Json]:
    file = installation.home / "logs" / f"{part}.log"
    for line in file.read_text().splitlines():
        yield json.loads(line)


@pytest.fixture(scope="module")
def saved(installation: Installation) -> tuple[str, str]:
    """An execution, and the request that it goes back to."""
    request = f"req-{uuid4()}"
    trace = f"00-{uuid4().hex}-{'b' * 16}-01"
    headers = {"X-Request-ID": request, "traceparent": trace}
    sent = page("logged", "home", text("Hello"))
    answer = installation.studio.post("events/", json=sent, headers=headers)
    assert answer.status_code == 202, answer.text
    id_ = str(answer.json()["events"][0]["executions"][0]["id"])
    found = installation.ended(id_)
    assert (found["status"], found["request_id"], found["trace_id"]) == ("COMPLETED", request, trace[3:35])
    return id_, request


@pytest.mark.parametrize("part", PARTS)
def test_each_line_of_each_part_has_the_platforms_form(
    installation: Installation, saved: tuple[str, str], part: str
) -> None:
    found = list(lines(installation, part))

    assert found or part == "sites"
    for one in found:
        assert set(one) == KEYS, one
        assert one["level"] in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
        assert one["metadata"]["process"] > 0


def test_what_up_itself_says_has_it_too(installation: Installation) -> None:
    said = [json.loads(line) for line in (installation.home.parent / "said").read_text().splitlines()]

    assert {one["metadata"]["part"] for one in said} == {"up"}
    assert any(one["message"].startswith("Ready in ") for one in said)


def test_a_request_is_found_in_the_service_the_worker_and_the_log_of_its_execution(
    installation: Installation, saved: tuple[str, str]
) -> None:
    id_, request = saved

    asked = [one for one in lines(installation, "service") if one["metadata"].get("request_id") == request]
    assert [one["message"].partition(" in ")[0] for one in asked] == ["POST /api/automation/events/: 202"], asked
    until(lambda: any(one["execution_id"] == id_ for one in lines(installation, "worker")))
    done = [one for one in lines(installation, "worker") if one["execution_id"] == id_]
    assert {"VALIDATE_PAGE", "SAVE_TO_RUNTIME", "LOG_ACTIVITY"} <= {one["step"] for one in done}
    assert {one["metadata"]["request_id"] for one in done} == {request}
    assert {one["project_id"] for one in done} == {"logged"}
    stored = installation.studio.get(f"executions/{id_}/logs/").json()["results"]
    assert {one["metadata"]["request_id"] for one in stored} == {request}


def test_the_command_shows_and_follows_what_was_logged(installation: Installation, saved: tuple[str, str]) -> None:
    id_, _ = saved

    shown = installation.run("logs", "--execution", id_, "--json")
    followed = installation.run("logs", "--follow", "--execution", id_, "--json", "--level", "INFO")

    assert (shown.returncode, followed.returncode) == (0, 0), shown.stderr + followed.stderr
    found = [json.loads(line) for line in shown.stdout.splitlines()]
    assert {one["execution_id"] for one in found} == {id_}
    again = [json.loads(line) for line in followed.stdout.splitlines()]
    assert again[: len(found)] == found  # what Prefect logs may come between
    nothing = installation.run("logs", "--project", "nobody", "--level", "ERROR")
    assert (nothing.returncode, nothing.stdout) == (0, "")


def test_no_part_has_logged_a_secret(installation: Installation, saved: tuple[str, str]) -> None:
    key = (installation.home / "api.key").read_text().strip()

    for part in PARTS:
        assert key not in (installation.home / "logs" / f"{part}.log").read_text()
