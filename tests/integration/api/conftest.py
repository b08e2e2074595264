from collections.abc import AsyncIterator

import pytest
from prefect.client.orchestration import get_client
from pydantic import SecretStr

from automation.api import Services
from automation.database import Database
from automation.settings import Settings
from tests.integration.api.serving import KEY, SECRET, Api, serve


@pytest.fixture
def settings() -> Settings:
    return Settings(api_key=SecretStr(KEY), studio_webhook_secret=SecretStr(SECRET))


@pytest.fixture
async def api(database: Database, prefect_api: str, settings: Settings) -> AsyncIterator[Api]:
    async with get_client() as prefect, serve(Services(settings, database, prefect)) as api:
        yield api
