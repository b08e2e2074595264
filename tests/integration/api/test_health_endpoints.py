from dataclasses import replace

import pytest
from httpx import AsyncClient
from prefect.client.orchestration import PrefectClient

from automation.database import Database
from tests.integration.api.serving import Api, serve


async def test_health_needs_no_key(api: Api) -> None:
    async with AsyncClient(base_url=api.url) as client:
        live, ready = await client.get("health/live/"), await client.get("health/ready/")

    assert (live.status_code, live.json()) == (200, {"status": "live"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize("missing", [["database"], ["prefect"], ["database", "prefect"]])
async def test_not_ready_says_which_part_is_missing_and_is_alive_all_the_same(api: Api, missing: list[str]) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    services = api.services
    if "database" in missing:
        services = replace(services, database=away)
    async with PrefectClient("http://127.0.0.1:1/api") as nowhere:
        if "prefect" in missing:
            services = replace(services, prefect=nowhere)
        async with serve(services) as broken:
            ready, live = await broken.get("health/ready/"), await broken.get("health/live/")
    await away.close()

    assert ready.status_code == 503
    assert ready.json()["missing"] == missing
    assert ready.headers["retry-after"]
    assert live.status_code == 200
