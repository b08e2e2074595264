"""Everything that is measured, as Prometheus reads it: names, labels, and the text.

Labels are names of our own (kinds of workflows, step types, error codes, neighbours, machines), so that their number is
bounded; projects are named only as far as AUTOMATION_METRICS_PROJECTS allows. What is counted comes from the database:
each service answers the same, and a restart forgets nothing. What a process counts by itself is in `OWN`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from automation.models import Timing
from automation.monitoring.histogram import BOUNDS_MS, Histogram
from automation.monitoring.now import Now, standing

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

_LE = (*(f"{bound / 1000:g}" for bound in _BOUNDS_MS), "+Inf")

Labels = tuple[str, ...]
Row = tuple[Labels, float]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a scrape shows. `timings` are histograms by measure, kind, name and status; `sizes` are in bytes."""

    timings: dict[tuple[str, str, str, str], Histogram]
    now: Now
    sizes: dict[str, int]


async def read(session: AsyncSession) -> Reading:
    """Read all that is shown, in some milliseconds, however long the history is."""
    query = select(
        Timing.measure, Timing.kind, Timing.name, Timing.status, Timing.bucket, Timing.count, Timing.total_ms
    ).where(Timing.resolution == "ever")
    timings: dict[tuple[str, str, str, str], Histogram] = defaultdict(Histogram)
    for measure, kind, name, status, bucket, count, total_ms in (await session.execute(query)).tuples():
        timings[measure, kind, name, status].add(bucket, count, total_ms)
    return Reading(timings, await standing(session), {})


def render(reading: Reading, projects: int) -> bytes:
    """The text (version 0.0.4), with what this process counts by itself.

    Args:
        projects: how many of those with most work waiting are named.
    """
    registry = CollectorRegistry()
    registry.register(_Reading([*_of_the_past(reading), *_of_now(reading.now, projects), *_of_sizes(reading.sizes)]))
    return generate_latest(registry) + generate_latest(OWN)


class _Reading:
    """What a registry asks for its metrics."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _of_the_past(reading: Reading) -> Iterable[Metric]:
    by_measure: dict[str, dict[Labels, Histogram]] = defaultdict(lambda: defaultdict(Histogram))
    for (measure, kind, name, status), histogram in reading.timings.items():
        by_measure[measure][_labels(measure, kind, name, status)].include(histogram)
    yield _counter(
        "automation_executions",
        "Executions that ended, by kind of workflow and how; success rate is COMPLETED of COMPLETED and FAILED.",
        ("kind", "status"),
        _counts(by_measure["run"]),
    )
    yield _histogram(
        "automation_execution_duration_seconds",
        "Execution time of workflows: from the first step's begin to the end.",
        ("kind", "status"),
        by_measure["run"],
    )
    yield _histogram(
        "automation_event_to_done_seconds",
        "From the acceptance of an event to the end of its execution, of those that completed.",
        ("kind",),
        by_measure["done"],
    )
    yield _histogram(
        "automation_cancel_to_stopped_seconds",
        "From the request to cancel an execution that runs to its end.",
        ("kind",),
        by_measure["stop"],
    )
    yield _histogram(
        "automation_step_duration_seconds",
        "Duration of steps, by type and how they ended; each try counts.",
        ("step_type", "status"),
        by_measure["step"],
    )
    yield _counter(
        "automation_failures",
        "Executions that failed for good, by class of error.",
        ("kind", "error_code"),
        _counts(by_measure["failure"]),
    )
    yield _counter(
        "automation_retries",
        "Tries that failed and that the retry policy repeated, by class of error.",
        ("kind", "error_code"),
        _counts(by_measure["retry"]),
    )


def _labels(measure: str, kind: str, name: str, status: str) -> Labels:
    if measure == "run":
        return (kind, status)
    if measure == "step":
        return (name, status)
    return (kind,) if measure in ("done", "stop") else (kind, name)


def _of_now(now: Now, projects: int) -> Iterable[Metric]:
    queues = now.queues
    yield _gauge(
        "automation_queue_length", "Work that is due and not begun.", ("kind",), [((q.name,), q.length) for q in queues]
    )
    yield _gauge(
        "automation_queue_age_seconds",
        "How long the oldest of it has been due.",
        ("kind",),
        [((q.name,), q.age_seconds) for q in queues],
    )
    if projects:
        busiest = now.projects[:projects]
        yield _gauge(
            "automation_project_queue_length",
            "The same, of the projects with most of it.",
            ("project",),
            [((q.name,), q.length) for q in busiest],
        )
        yield _gauge(
            "automation_project_queue_age_seconds",
            "How long the oldest of it has been due.",
            ("project",),
            [((q.name,), q.age_seconds) for q in busiest],
        )
    yield _gauge("automation_executions_open", "Executions that have not ended.", ("status",), _by(now.by_status))
    yield _gauge("automation_executions_running", "Executions that run.", ("kind",), _by(now.running))
    yield _gauge(
        "automation_executions_scheduled",
        "Executions that wait for their time, as between two tries.",
        (),
        [((), now.scheduled)],
    )
    yield _gauge("automation_approvals_open", "Approvals that wait for somebody.", (), [((), now.approvals)])
    yield _gauge(
        "automation_dead_letters_open",
        "Executions that failed for good and were not redriven.",
        ("error_code",),
        _by(now.dead_letters),
    )
    yield _gauge("automation_deliveries_owed", "Webhooks to Studio that are not delivered.", (), [((), now.deliveries)])
    yield _gauge("automation_effects_owed", "Effects that are owed to a neighbour.", ("neighbour",), _by(now.owed))
    if now.mirror_lag is not None:
        yield _gauge(
            "automation_mirror_lag_seconds",
            "Since the mirror had read all of Prefect's runs.",
            (),
            [((), now.mirror_lag)],
        )
    yield _gauge(
        "automation_schedules_missed",
        "Schedules with a slot that is past and undecided.",
        (),
        [((), now.schedules_missed)],
    )
    yield _gauge(
        "automation_runs_without_heartbeat",
        "Flow runs whose lease is over and that nobody has ended.",
        (),
        [((), now.runs_without_heartbeat)],
    )
    yield _gauge(
        "automation_flow_runs_running",
        "Flow runs that have begun and not ended.",
        ("mode",),
        [(("batch",), now.batch_runs), (("single",), now.flow_runs - now.batch_runs)],
    )
    yield from _of_processes(now)


def _of_processes(now: Now) -> Iterable[Metric]:
    groups: dict[Labels, list[tuple[float, int]]] = defaultdict(list)
    for one in now.processes:
        groups[one.role, one.host].append((one.cpu or 0.0, one.memory_bytes))
    labels = ("role", "host")
    yield _gauge(
        "automation_processes",
        "Services, workers and their children that were heard of lately.",
        labels,
        [(key, len(several)) for key, several in groups.items()],
    )
    yield _gauge(
        "automation_processes_cpu_ratio",
        "What they use of one core, together.",
        labels,
        [(key, sum(cpu for cpu, _ in several)) for key, several in groups.items()],
    )
    yield _gauge(
        "automation_processes_memory_bytes",
        "Their resident memory, together.",
        labels,
        [(key, sum(memory for _, memory in several)) for key, several in groups.items()],
    )
    yield _gauge(
        "automation_host_cpu_ratio",
        "What is used of all cores of a machine.",
        ("host",),
        [((m.host,), m.cpu) for m in now.machines if m.cpu is not None],
    )
    yield _gauge(
        "automation_host_memory_used_bytes",
        "Memory in use on a machine.",
        ("host",),
        [((m.host,), m.memory_bytes) for m in now.machines],
    )
    yield _gauge(
        "automation_host_memory_used_ratio",
        "The same, of what there is.",
        ("host",),
        [((m.host,), m.memory_share) for m in now.machines],
    )
    yield _gauge(
        "automation_host_disk_used_ratio",
        "What is used of the disk with AUTOMATION_HOME.",
        ("host",),
        [((m.host,), m.disk_share) for m in now.machines],
    )
    if now.connections:
        yield _gauge(
            "automation_database_connections", "Connections to our database.", (), [((), now.connections.ours)]
        )
        yield _gauge(
            "automation_database_connections_used_ratio",
            "All connections to its server, of what that allows.",
            (),
            [((), now.connections.share)],
        )


def _of_sizes(sizes: dict[str, int]) -> Iterable[Metric]:
    yield _gauge("automation_size_bytes", "Size of our tables with their indexes, and of folders.", ("of",), _by(sizes))


def _by(values: dict[str, int]) -> list[Row]:
    return [((name,), value) for name, value in sorted(values.items())]


def _counts(by_labels: dict[Labels, Histogram]) -> list[Row]:
    return [(labels, one.count) for labels, one in sorted(by_labels.items())]


def _gauge(name: str, text: str, labels: Labels, rows: Sequence[Row]) -> Metric:
    metric = GaugeMetricFamily(name, text, labels=labels)
    for values, value in rows:
        metric.add_metric(values, value)
    return metric


def _counter(name: str, text: str, labels: Labels, rows: Sequence[Row]) -> Metric:
    metric = CounterMetricFamily(name, text, labels=labels)
    for values, value in rows:
        metric.add_metric(values, value)
    return metric


def _histogram(name: str, text: str, labels: Labels, by_labels: dict[Labels, Histogram]) -> Metric:
    metric = HistogramMetricFamily(name, text, labels=labels)
    for values, one in sorted(by_labels.items()):
        sums = [*one.cumulated(_BOUNDS_MS), one.timed]
        metric.add_metric(values, list(zip(_LE, sums, strict=True)), one.total_ms / 1000)
    return metric
