"""The few things that Prefect keeps to itself and that the warm worker needs; everything else is public.

tests/integration/worker/test_adapter.py fails when Prefect changes them.
"""

from collections.abc import Callable
from typing import Any

from prefect.client.schemas.objects import FlowRun
from prefect.logging.handlers import set_api_log_sink
from prefect.types._datetime import now
from prefect.workers.base import BaseWorker

AnyWorker = BaseWorker[Any, Any, Any]

PAYLOAD_SIZE = "__payload_size__"
"""Key that Prefect adds to a log line for its own use; it is no field of the API."""


def is_synced(worker: AnyWorker) -> bool:
    """Whether the worker has read its work pool."""
    return worker._has_successfully_synced


def note_poll(worker: AnyWorker) -> None:
    """The worker polls: what `prefect worker start --with-healthcheck` answers from."""
    worker._last_polled_time = now("UTC")


async def submit(worker: AnyWorker, run: FlowRun) -> None:
    """Run a flow run as Prefect's own worker does, with a call of `run`; returns when that has begun or failed."""
    worker._submitting_flow_run_ids.add(run.id)
    await worker._submit_run(run)


def take_logs(sink: Callable[[dict[str, Any]], None]) -> None:
    """Give `sink` the log lines of this process' flow runs, which Prefect would send from a thread every 2 s."""
    set_api_log_sink(sink)
