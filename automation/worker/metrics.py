"""What a worker tells of itself: samples of what it and its children use, and, if it is asked to, a port for
Prometheus.

The port is off unless AUTOMATION_WORKER_METRICS_PORT names one. It takes no key, as it shows nothing but how busy the
processes are; so it listens where AUTOMATION_HOST says, by default on loopback.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from prefect.logging import get_logger
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from automation.engine import process_database
from automation.monitoring.resources import Sampler
from automation.settings import Settings
from automation.worker.children import Children

log = get_logger("worker.warm")


@asynccontextmanager
async def measured(settings: Settings, children: Children) -> AsyncIterator[None]:
    """Tell of this worker and its children as long as the context lasts."""
    sampler = Sampler(process_database(), "worker", settings.home, children.pids)
    sampling = asyncio.create_task(sampler.run())
    stop = _listen(settings.host, settings.worker_metrics_port, children) if settings.worker_metrics_port else None
    try:
        yield
    finally:
        sampling.cancel()
        if stop:
            await asyncio.to_thread(stop)


def _listen(host: str, port: int, children: Children) -> Callable[[], None] | None:
    """Answer Prometheus in a thread; a port that is taken is told of, and the worker works all the same."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_Reading(children))
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        log.error("AUTOMATION_WORKER_METRICS_PORT=%d cannot be listened on, so nothing answers there: %s", port, error)
        return None

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


class _Reading:
    """What the registry asks for the worker's metrics."""

    def __init__(self, children: Children) -> None:
        self._children = children

    def collect(self) -> Iterable[Metric]:
        states = GaugeMetricFamily("automation_worker_processes", "Processes of this worker.", labels=["state"])
        for state, number in self._children.states().items():
            states.add_metric([state], number)
        yield states
        runs = CounterMetricFamily(
            "automation_worker_runs", "Flow runs that left a process, by how.", labels=["outcome"]
        )
        for outcome, number in sorted(self._children.outcomes.items()):
            runs.add_metric([outcome], number)
        yield runs
