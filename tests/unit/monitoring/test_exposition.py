"""What Prometheus is shown: well-formed, bounded, and safe whatever stands in a label."""

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_strictly
from prometheus_client.parser import text_string_to_metric_families

from automation.monitoring.exposition import Reading, render
from automation.monitoring.histogram import Histogram
from automation.monitoring.now import Connections, Machine, Now, Process, Queue

AT = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
HOSTILE = 'x"} 1\nautomation_forged 1\n\\ é 💥 {a="b"} # HELP'
PROMTOOL = shutil.which("promtool")
NAME = r"[a-z][a-z0-9_]*"
NOT_BASE_UNITS = {"ms", "milliseconds", "minutes", "hours", "kb", "mb", "kilobytes", "megabytes", "percent"}


class Holding(CollectorRegistry):
    """A registry of metrics as they were read back."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        super().__init__()
        self.metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self.metrics


def reading(name: str = "auto-save", project: str = "p1") -> Reading:
    runs = Histogram(Counter({-1: 2, 10: 3, 60: 1}), 10_123.0)
    now = Now(
        at=AT, by_status={"PENDING": 3, "RUNNING": 1}, running={name: 1}, scheduled=1,
        queues=[Queue(name, 3, 12.5)], projects=[Queue(project, 2, 12.5), Queue("p2", 1, 1.0)], approvals=2,
        dead_letters={name: 4}, deliveries=5, owed={name: 6}, mirror_lag=1.5, schedules_missed=0,
        runs_without_heartbeat=0, batch_runs=1, flow_runs=3,
        processes=[Process("child", name, pid, 1, AT, 0.25, 1000) for pid in (2, 3)],
        machines=[Machine(name, AT, 0.5, 2000, 0.25, 0.75)], connections=Connections(7, 0.07),
    )  # fmt: skip
    timings = {
        ("run", name, "", "COMPLETED"): runs,
        ("done", name, "", ""): runs,
        ("stop", name, "", ""): Histogram(),
        ("step", name, name, "FAILED"): runs,
        ("retry", name, "NETWORK_ERROR", ""): Histogram(Counter({-1: 9})),
        ("failure", name, name, ""): Histogram(Counter({-1: 8})),
    }
    return Reading(timings, now, {name: 4096}, {"runtime": 8192})


def shown(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample, by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_counters_gauges_and_histograms_show_what_was_read() -> None:
    found = shown(render(reading(), projects=0))
    kind = ("kind", "auto-save")
    completed = (kind, ("status", "COMPLETED"))

    assert found["automation_executions_total", completed] == 6
    assert found["automation_execution_duration_seconds_count", completed] == 4  # two have no duration
    assert found["automation_execution_duration_seconds_sum", completed] == pytest.approx(10.123)
    assert found["automation_retries_total", (("error_code", "NETWORK_ERROR"), kind)] == 9
    assert found["automation_queue_age_seconds", (kind,)] == 12.5
    assert found["automation_executions_open", (("status", "WAITING"),)] == 0
    assert found["automation_processes_cpu_ratio", (("host", "auto-save"), ("role", "child"))] == 0.5
    assert found["automation_table_bytes", (("table", "auto-save"),)] == 4096
    assert found["automation_database_connections", ()] == 7


def test_the_buckets_of_a_histogram_rise_and_end_with_all() -> None:
    found = shown(render(reading(), projects=0))
    buckets = [
        value
        for (name, labels), value in found.items()
        if name == "automation_event_to_done_seconds_bucket" and dict(labels)["kind"] == "auto-save"
    ]
    assert len(buckets) == 23
    assert buckets == sorted(buckets)
    assert (buckets[0], buckets[-1]) == (0, 4)


def test_a_queue_without_work_is_shown_as_empty() -> None:
    found = shown(render(reading(), projects=0))
    assert found["automation_queue_length", (("kind", "publish"),)] == 0


def test_projects_are_named_only_as_far_as_the_setting_allows() -> None:
    assert b"p1" not in render(reading(), projects=0)
    found = shown(render(reading(), projects=1))
    named = {labels for name, labels in found if name == "automation_project_queue_length"}
    assert named == {(("project", "p1"),)}


def test_hostile_text_in_every_label_stays_in_its_label() -> None:
    found = shown(render(reading(HOSTILE, HOSTILE), projects=20))

    assert found["automation_queue_length", (("kind", HOSTILE),)] == 3
    assert found["automation_project_queue_length", (("project", HOSTILE),)] == 2
    assert not [name for name, _ in found if "forged" in name]


@pytest.mark.parametrize("name", ["auto-save", HOSTILE])
def test_the_text_keeps_every_rule_of_its_format(name: str) -> None:
    text = render(reading(name, name), projects=20)
    # counters that have counted have a family beside them for when they began
    families = [one for one in text_string_to_metric_families(text.decode()) if not one.name.endswith("_created")]

    # the stricter sibling of the format has a parser that looks at histograms and at what belongs together
    [*strict] = parse_strictly(generate_latest(Holding(families)).decode())  # type: ignore[no-untyped-call]
    assert {one.name for one in strict} == {one.name for one in families}
    types = Counter(line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE "))
    assert max(types.values()) == 1
    for one in families:
        assert one.documentation, one.name
        assert not set(one.name.split("_")) & NOT_BASE_UNITS, one.name
        assert not one.name.endswith("_total"), one.name
        assert all(re.fullmatch(NAME, label) for sample in one.samples for label in (one.name, *sample.labels))
        series = Counter((sample.name, *sorted(sample.labels.items())) for sample in one.samples)
        assert max(series.values(), default=1) == 1, one.name
    if PROMTOOL:  # which looks at names more closely; `.ci/run` installs it
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
