from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from pydantic import SecretStr

from automation.api import Services
from automation.client import delivery
from automation.database import Database
from automation.intake.telling import Teller
from automation.settings import Settings
from tests.integration.api.serving import KEY, Api, serve
from tests.integration.client.commands import Import, Studio
from tests.integration.client.doors import Door


@pytest.fixture
async def api(database: Database, prefect_api: str) -> AsyncIterator[Api]:
    """Our API on a free port, with PostgreSQL and Prefect behind it."""
    settings = Settings(api_key=SecretStr(KEY))
    async with (
        get_client() as prefect,
        serve(Services(settings, database, prefect, Teller(settings.decision_events_per_second))) as api,
    ):
        yield api


@pytest.fixture
def door() -> Iterator[Door]:
    """Something before the API that answers as it is told."""
    with Door() as door:
        yield door


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_PAUSE", 0.01)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def import_(tmp_path: Path) -> Import:
    return Import(tmp_path)
