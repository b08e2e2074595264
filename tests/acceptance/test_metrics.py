"""500 edits with known failures, before and after: the figures of a whole installation say exactly that."""

from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.conftest import Installation, until
from tests.acceptance.studio import page, text

SAMPLES = {
    "completed": ("automation_executions_total", {"kind": "auto-save", "status": "COMPLETED"}),
    "failed": ("automation_executions_total", {"kind": "auto-save", "status": "FAILED"}),
    "wrong": ("automation_failures_total", {"kind": "auto-save", "error_code": "VALIDATION_ERROR"}),
    "timed": ("automation_execution_duration_seconds_count", {"kind": "auto-save", "status": "COMPLETED"}),
    "in seconds": ("automation_execution_duration_seconds_sum", {"kind": "auto-save", "status": "COMPLETED"}),
    "answered": ("automation_event_to_done_seconds_count", {"kind": "auto-save"}),
    "saved": ("automation_step_duration_seconds_count", {"step_type": "SAVE_TO_RUNTIME", "status": "COMPLETED"}),
    "refused": ("automation_step_duration_seconds_count", {"step_type": "VALIDATE_PAGE", "status": "FAILED"}),
    "dead": ("automation_dead_letters_open", {"error_code": "VALIDATION_ERROR"}),
}

WRONG = {"id": "x", "type": "Nonsense"}


def scraped(installation: Installation) -> dict[str, float]:
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(installation.studio.get("metrics/").raise_for_status().text)
        for sample in family.samples
    }
    return {key: found.get((name, tuple(sorted(labels.items()))), 0) for key, (name, labels) in SAMPLES.items()}


def await_the_figures_of_all_that_has_ended(installation: Installation) -> None:
    """What ends is counted in its order, some seconds later: once a failure is, everything before it is, too."""
    [event] = installation.send(page("measured-before", "page-0", WRONG))
    [execution] = event["executions"]

    def examples() -> set[str]:
        errors = installation.studio.get("insights/errors/", params={"limit": 200}).json()["results"]
        return {one["execution_id"] for one in errors}

    until(lambda: execution["id"] in examples(), 30, examples)


def test_five_hundred_edits_are_in_the_figures_and_nothing_else_is(installation: Installation) -> None:
    await_the_figures_of_all_that_has_ended(installation)
    before = scraped(installation)
    edits = [page("measured", f"page-{n}", WRONG if n % 10 == 7 else text(f"text {n}")) for n in range(500)]
    installation.send(*edits)
    ended = installation.all_ended(project_id="measured")
    assert len(ended) == 500

    def more() -> dict[str, float]:
        return {key: value - before[key] for key, value in scraped(installation).items()}

    expected = {"completed": 450, "failed": 50, "wrong": 50, "timed": 450, "answered": 450, "saved": 450}
    expected |= {"refused": 50, "dead": 50}
    until(lambda: more() | {"in seconds": 0} == expected | {"in seconds": 0}, 30, more)
    assert 0 < more()["in seconds"] < 450 * 60

    insights = installation.studio.get("insights/workflows/", params={"project_id": "measured"}).json()
    [save] = insights["results"]
    assert (save["kind"], save["completed"], save["failed"], save["success_rate"]) == ("auto-save", 450, 50, 0.9)
    assert 0 < save["p50_ms"] <= save["p95_ms"] <= save["p99_ms"]
    errors = installation.studio.get("insights/errors/", params={"project_id": "measured"}).json()["results"]
    assert [one["count"] for one in errors] == [50]

    def roles() -> set[str]:
        return {one["role"] for one in installation.studio.get("insights/resources/").json()["results"]}

    until(lambda: roles() == {"service", "worker", "child", "host", "database"}, 40, roles)
    assert "auto-save" in installation.run("insights", "workflows").stdout
