from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient
from prefect.client.orchestration import get_client
from pydantic import SecretStr

from automation.api import Services
from automation.database import Database
from automation.intake.telling import Teller
from automation.settings import Settings
from tests.conftest import Postgres
from tests.integration.api.serving import KEY, Api, serve
from tests.integration.ops.visiting import Visitor


@pytest.fixture(scope="session")
async def served(postgres: Postgres) -> AsyncIterator[Api]:
    """One service with its pages for all tests; no page asks Prefect anything."""
    database = Database(postgres.url)
    services = Services(Settings(api_key=SecretStr(KEY), language="en"), database, get_client(), Teller(0))
    async with serve(services, with_pages=True) as api:
        yield api
    await database.close()


@pytest.fixture
async def api(served: Api, database: Database) -> Api:
    """The API, on empty tables."""
    return served


@pytest.fixture
async def stranger(api: Api) -> AsyncIterator[Visitor]:
    """Somebody who is not signed in."""
    async with AsyncClient() as client:
        yield Visitor(api, client)


@pytest.fixture
async def operator(stranger: Visitor) -> Visitor:
    """Somebody who is signed in with the key in AUTOMATION_API_KEY."""
    assert (await stranger.sign_in(KEY)).status_code == 303
    return stranger
