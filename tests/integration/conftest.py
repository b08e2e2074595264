"""A Prefect server that holds our deployments, and its client."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.logging.handlers import APILogHandler

from automation import catalog
from automation.engine.work import process_database
from automation.steps import Result, StepContext, StepType, Waiting, step
from deployments.__main__ import apply
from tests.conftest import Postgres
from tests.integration.making import AnyConfig, Body, MakeStep, ran


@pytest.fixture(scope="session")
async def deployed(postgres: Postgres, prefect_api: str) -> AsyncIterator[None]:
    """`automation deploy`, once for the whole run."""
    process_database.cache_clear()
    await apply()
    yield
    await APILogHandler.aflush()  # what runs here have logged, before the server ends
    await process_database().close()


@pytest.fixture
async def prefect(prefect_api: str) -> AsyncIterator[PrefectClient]:
    async with get_client() as client:
        yield client


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeStep]:
    """Make step types that are known for the length of a test; they note in `ran` that they ran."""

    def make_step(name: str, body: Body | None = None, **options: Any) -> StepType:
        async def function(step: StepContext, config: AnyConfig) -> Result | Waiting:
            ran.append(name)
            return await body(step) if body else {"word": config.word}

        made = step(name, **{"retry_delay_seconds": [0.01], "retries": 1} | options)(function)
        monkeypatch.setitem(catalog.step_types(), name, made)
        return made

    ran.clear()
    yield make_step
    ran.clear()
