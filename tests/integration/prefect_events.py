"""What Prefect has been told of."""

import asyncio
from datetime import timedelta
from typing import Any

from prefect.client.orchestration import PrefectClient

from automation.models import Json, utc_now


async def events_of(prefect: PrefectClient, name: str, resource: str) -> list[Json]:
    """Prefect's events of this name that happened to a resource or involved it, oldest first."""
    chosen: dict[str, Any] = {
        "event": {"name": [name]},
        "any_resource": {"id": [resource]},
        "occurred": {"since": (utc_now() - timedelta(hours=1)).isoformat()},
        "order": "ASC",
    }
    answer = await prefect.request("POST", "/events/filter", json={"filter": chosen, "limit": 50})
    found: list[Json] = answer.json()["events"]
    return found


async def told(prefect: PrefectClient, name: str, resource: str, count: int = 1) -> list[Json]:
    """The same, once there are so many."""
    async with asyncio.timeout(30):
        while len(found := await events_of(prefect, name, resource)) < count:
            await asyncio.sleep(0.1)
    return found


def roles(event: Json) -> dict[str, str]:
    """The resources that an event involves, by their roles."""
    return {one["prefect.resource.role"]: one["prefect.resource.id"] for one in event["related"]}
