"""Everything that is measured, as Prometheus reads it: names, labels, and the text.

Labels are names of our own (kinds of workflows, step types, error codes, neighbours, machines), so that their number is
bounded; projects are named only as far as AUTOMATION_METRICS_PROJECTS allows. What is counted comes from the database:
each service answers the same, and a restart forgets nothing. What a process counts by itself is in `OWN`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from automation.catalog import definitions
from automation.maintenance.sizes import folder_sizes, sizes
from automation.models import OPEN, Timing
from automation.monitoring.histogram import BOUNDS_MS, Histogram
from automation.monitoring.now import Now, Process, Queue, standing
from automation.settings import Settings

OWN = CollectorRegistry()
"""What this process counts by itself."""

ProcessCollector(registry=OWN)

WEBHOOK_REFUSALS = Counter(
    "automation_webhook_refusals",
    "Webhooks that this process refused, by the door (studio, trigger) and the status of the answer.",
    ["door", "status"],
    registry=OWN,
)

_BOUNDS_MS = tuple(bound for bound in BOUNDS_MS if f"{bound:e}".startswith(("1.000", "2.500", "5.000")))
"""Of our bounds those that a scrape shows: 1, 2.5 and 5 of each decade."""

_LE = (*(str(bound / 1000) for bound in _BOUNDS_MS), "+Inf")

Labels = tuple[str, ...]
Row = tuple[Labels, float]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a scrape shows. `timings` are histograms by measure, kind, name and status; sizes are in bytes, by name."""

    timings: dict[tuple[str, str, str, str], Histogram]
    now: Now
    tables: dict[str, int]
    folders: dict[str, int]


async def read(session: AsyncSession, settings: Settings) -> Reading:
    """Read all that is shown, in some milliseconds, however long the history is."""
    query = select(
        Timing.measure, Timing.kind, Timing.name, Timing.status, Timing.bucket, Timing.count, Timing.total_ms
    ).where(Timing.resolution == "ever")
    timings: dict[tuple[str, str, str, str], Histogram] = defaultdict(Histogram)
    for measure, kind, name, status, bucket, count, total_ms in (await session.execute(query)).tuples():
        timings[measure, kind, name, status].add(bucket, count, total_ms)
    tables = await sizes(session, settings.prefect_database_url)
    return Reading(timings, await standing(session), tables, await folder_sizes(settings.home))


def render(reading: Reading, projects: int) -> bytes:
    """The text (version 0.0.4), with what this process counts by itself.

    Args:
        projects: how many of those with most work waiting are named.
    """
    registry = CollectorRegistry()
    registry.register(_Reading([*_of_the_past(reading), *_of_now(reading.now, projects), *_of_sizes(reading)]))
    return generate_latest(registry) + generate_latest(OWN)


class _Reading:
    """What a registry asks for its metrics."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _of_the_past(reading: Reading) -> Iterable[Metric]:
    for make, measure, name, text, labels in _PAST:
        by_labels: dict[Labels, Histogram] = defaultdict(Histogram)
        for (of, kind, detail, status), histogram in reading.timings.items():
            if of == measure:
                value = {"kind": kind, "step_type": detail, "error_code": detail, "status": status}
                by_labels[tuple(value[label] for label in labels)].include(histogram)
        yield make(name, text, labels, by_labels)


def _of_now(now: Now, projects: int) -> Iterable[Metric]:
    kinds = {kind: Queue(kind, 0, 0.0) for kind in definitions()} | {one.name: one for one in now.queues}
    now = replace(now, queues=list(kinds.values()), projects=now.projects[:projects])
    for name, text, labels, rows in _GAUGES:
        if labels != ("project",) or projects:
            yield _gauge(name, text, labels, rows(now))


def _one(value: float | None) -> list[Row]:
    return [] if value is None else [((), value)]


def _by(values: Mapping[str, float]) -> list[Row]:
    return [((name,), value) for name, value in sorted(values.items())]


def _together(now: Now, value: Callable[[Process], float]) -> list[Row]:
    """Sums over the processes of a role on a machine."""
    sums: dict[Labels, float] = defaultdict(float)
    for one in now.processes:
        sums[one.role, one.host] += value(one)
    return sorted(sums.items())


_KIND, _PROJECT, _HOST, _ROLE = ("kind",), ("project",), ("host",), ("role", "host")

_GAUGES: tuple[tuple[str, str, Labels, Callable[[Now], list[Row]]], ...] = (
    ("automation_queue_length", "Work that is due and that nobody has begun, by kind of workflow.",
        _KIND, lambda now: _by({one.name: one.length for one in now.queues})),
    ("automation_queue_age_seconds", "How long the oldest of it has been due.",
        _KIND, lambda now: _by({one.name: one.age_seconds for one in now.queues})),
    ("automation_project_queue_length", "The same of the projects with most of it.",
        _PROJECT, lambda now: _by({one.name: one.length for one in now.projects})),
    ("automation_project_queue_age_seconds", "How long the oldest of it has been due.",
        _PROJECT, lambda now: _by({one.name: one.age_seconds for one in now.projects})),
    ("automation_executions_open", "Executions that have not ended.",
        ("status",), lambda now: _by({one: now.by_status.get(one, 0) for one in OPEN})),
    ("automation_executions_running", "Executions that run.", _KIND, lambda now: _by(now.running)),
    ("automation_executions_scheduled", "Executions that wait for their time, as between two tries.",
        (), lambda now: _one(now.scheduled)),
    ("automation_approvals_open", "Approvals that wait for somebody.", (), lambda now: _one(now.approvals)),
    ("automation_dead_letters_open", "Executions that failed for good and were not redriven.",
        ("error_code",), lambda now: _by(now.dead_letters)),
    ("automation_deliveries_owed", "Webhooks to Studio that are not delivered.", (), lambda now: _one(now.deliveries)),
    ("automation_effects_owed", "Effects that are owed to a neighbour.", ("neighbour",), lambda now: _by(now.owed)),
    ("automation_mirror_lag_seconds", "Since the mirror had read all of Prefect's runs.",
        (), lambda now: _one(now.mirror_lag)),
    ("automation_schedules_missed", "Schedules with a slot that is past and undecided.",
        (), lambda now: _one(now.schedules_missed)),
    ("automation_runs_without_heartbeat", "Flow runs whose lease is over and that nobody has ended.",
        (), lambda now: _one(now.runs_without_heartbeat)),
    ("automation_flow_runs_running", "Flow runs that have begun and not ended.",
        ("mode",), lambda now: _by({"batch": now.batch_runs, "single": now.flow_runs - now.batch_runs})),
    ("automation_processes", "Services, workers and their children that were heard of lately.",
        _ROLE, lambda now: _together(now, lambda one: 1)),
    ("automation_processes_cpu_ratio", "What they use of one core, together.",
        _ROLE, lambda now: _together(now, lambda one: one.cpu or 0.0)),
    ("automation_processes_memory_bytes", "Their resident memory, together.",
        _ROLE, lambda now: _together(now, lambda one: one.memory_bytes)),
    ("automation_host_cpu_ratio", "What is used of all cores of a machine.",
        _HOST, lambda now: _by({one.host: one.cpu for one in now.machines if one.cpu is not None})),
    ("automation_host_memory_used_bytes", "Memory in use on a machine.",
        _HOST, lambda now: _by({one.host: one.memory_bytes for one in now.machines})),
    ("automation_host_memory_used_ratio", "The same, of what there is.",
        _HOST, lambda now: _by({one.host: one.memory_share for one in now.machines})),
    ("automation_host_disk_used_ratio", "What is used of the disk that holds AUTOMATION_HOME.",
        _HOST, lambda now: _by({one.host: one.disk_share for one in now.machines})),
    ("automation_database_connections", "Connections to our database.",
        (), lambda now: _one(now.connections.ours if now.connections else None)),
    ("automation_database_connections_used_ratio", "All connections to its server, of what that allows.",
        (), lambda now: _one(now.connections.share if now.connections else None)),
)  # fmt: skip
"""Name, text, labels, and what each shows."""


def _of_sizes(reading: Reading) -> Iterable[Metric]:
    text = "Our tables with their indexes, and Prefect's database."
    yield _gauge("automation_table_bytes", text, ("table",), _by(reading.tables))
    yield _gauge("automation_folder_bytes", "Folders of AUTOMATION_HOME.", ("folder",), _by(reading.folders))


def _gauge(name: str, text: str, labels: Labels, rows: Sequence[Row]) -> Metric:
    metric = GaugeMetricFamily(name, text, labels=labels)
    for values, value in rows:
        metric.add_metric(values, value)
    return metric


def _counter(name: str, text: str, labels: Labels, by_labels: dict[Labels, Histogram]) -> Metric:
    metric = CounterMetricFamily(name, text, labels=labels)
    for values, one in sorted(by_labels.items()):
        metric.add_metric(values, one.count)
    return metric


def _histogram(name: str, text: str, labels: Labels, by_labels: dict[Labels, Histogram]) -> Metric:
    metric = HistogramMetricFamily(name, text, labels=labels)
    for values, one in sorted(by_labels.items()):
        sums = [*one.cumulated(_BOUNDS_MS), one.timed]
        metric.add_metric(values, list(zip(_LE, sums, strict=True)), one.total_ms / 1000)
    return metric


_PAST: tuple[tuple[Callable[[str, str, Labels, dict[Labels, Histogram]], Metric], str, str, str, Labels], ...] = (
    (_counter, "run", "automation_executions",
        "Executions that ended, by kind of workflow and how; success rate is COMPLETED of COMPLETED and FAILED.",
        ("kind", "status")),
    (_histogram, "run", "automation_execution_duration_seconds",
        "Execution time of workflows: from the first step's begin to the end.", ("kind", "status")),
    (_histogram, "done", "automation_event_to_done_seconds",
        "From the acceptance of an event to the end of its execution, of those that completed.", _KIND),
    (_histogram, "stop", "automation_cancel_to_stopped_seconds",
        "From the request to cancel an execution that runs to its end.", _KIND),
    (_histogram, "step", "automation_step_duration_seconds",
        "Duration of steps, by type and how they ended; each try counts.", ("step_type", "status")),
    (_counter, "failure", "automation_failures", "Executions that failed for good, by class of error.",
        ("kind", "error_code")),
    (_counter, "retry", "automation_retries",
        "Tries that failed and that the retry policy repeated, by class of error.", ("kind", "error_code")),
)  # fmt: skip
"""What each is, the measure that it shows, name, text, and labels."""
