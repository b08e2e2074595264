"""A Prefect server that holds our deployments, and its client."""

from collections.abc import AsyncIterator

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.logging.handlers import APILogHandler

from automation.engine.work import process_database
from automation.settings import get_settings
from deployments.__main__ import apply
from tests.conftest import Postgres


@pytest.fixture(scope="session")
async def deployed(postgres: Postgres, prefect_api: str) -> AsyncIterator[None]:
    """`automation deploy`, once for the whole run."""
    get_settings.cache_clear()  # the database's address came after the first reading
    process_database.cache_clear()
    await apply()
    yield
    await APILogHandler.aflush()  # what runs here have logged, before the server ends
    await process_database().close()


@pytest.fixture
async def prefect(prefect_api: str) -> AsyncIterator[PrefectClient]:
    async with get_client() as client:
        yield client
