"""The work pool, its queues and the limits of what the flows share."""

from dataclasses import dataclass

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

from automation.settings import WORK_POOL, Settings
from automation.worker import WarmWorker
from deployments import upgrade

POOL_TYPE = WarmWorker.type
"""Prefect's worker type that runs our flows; a pool of another type is replaced."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A work queue: what a person waits for goes first (1 is the highest priority)."""

    name: str
    priority: int


QUEUES = (
    Queue("publish", 1),
    Queue("generate", 2),
    Queue("auto-save", 3),
    Queue("custom", 4),
    Queue("maintenance", 5),
)

TAG_LIMITS = {"runtime-deploy": 4, "image-optimisation": 2}
"""Task runs of a tag at once: switching releases is I/O on one folder tree, re-encoding images is CPU."""


async def apply_pool(client: PrefectClient, settings: Settings) -> None:
    """Create or update the work pool and its queues.

    Raises:
        UnavailableError: the pool has another type, and runs that are under way keep it from being replaced.
    """
    limit = settings.max_concurrent_workflows
    try:
        if (await client.read_work_pool(WORK_POOL)).type != POOL_TYPE:
            await upgrade.clear_away(client, settings, POOL_TYPE)
        await client.update_work_pool(WORK_POOL, WorkPoolUpdate(concurrency_limit=limit))
    except ObjectNotFound:
        await client.create_work_pool(
            WorkPoolCreate(
                name=WORK_POOL,
                type=POOL_TYPE,
                description="Runs the workflows of Automation.",
                concurrency_limit=limit,
                base_job_template=WarmWorker.get_default_base_job_template(),
            )
        )
    await upgrade.take_back(client)
    existing = {queue.name: queue for queue in await client.read_work_queues(work_pool_name=WORK_POOL)}
    for queue in QUEUES:
        if queue.name not in existing:
            await client.create_work_queue(name=queue.name, priority=queue.priority, work_pool_name=WORK_POOL)


async def apply_limits(client: PrefectClient) -> None:
    """Create the limits of task tags; those that exist keep what an operator has set."""
    for tag, limit in TAG_LIMITS.items():
        name = f"tag:{tag}"
        try:
            await client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            await client.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(name=name, limit=limit, active=True)
            )
