"""Keeping the schedules that people made in Prefect's UI or CLI.

Prefect replaces all schedules of a deployment by those of the file when one of them has no slug, and neither
its UI nor its CLI gives any.
"""

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

from automation.settings import WORK_POOL

_PAGE = 200


async def name_schedules(client: PrefectClient) -> None:
    """Give every schedule in the pool that has no slug its id as one."""
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[WORK_POOL]))
    offset = 0
    while page := await client.read_deployments(work_pool_filter=pool, limit=_PAGE, offset=offset):
        for deployment in page:
            for schedule in deployment.schedules:
                if schedule.slug is None:
                    path = f"/deployments/{deployment.id}/schedules/{schedule.id}"
                    await client.request("PATCH", path, json={"slug": str(schedule.id)})  # type: ignore[arg-type]
        offset += _PAGE
