from collections.abc import AsyncIterator

import pytest
from prefect.client.orchestration import get_client
from pydantic import SecretStr

from automation.api import Services
from automation.database import Database
from automation.intake.telling import Teller
from automation.settings import Settings
from tests.conftest import Postgres
from tests.integration.api.serving import KEY, SECRET, Api, serve


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(api_key=SecretStr(KEY), studio_webhook_secret=SecretStr(SECRET))


@pytest.fixture(scope="session")
async def served(postgres: Postgres, prefect_api: str, settings: Settings) -> AsyncIterator[Api]:
    """One API for all tests: starting it takes longer than most of them."""
    database = Database(postgres.url)
    async with (
        get_client() as prefect,
        serve(Services(settings, database, prefect, Teller(settings.decision_events_per_second))) as api,
    ):
        yield api
    await database.close()


@pytest.fixture
async def api(served: Api, database: Database) -> Api:
    """The API, on empty tables."""
    return served
