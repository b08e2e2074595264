"""Credentials whose row is gone do not stay."""

from datetime import timedelta
from uuid import uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from sqlalchemy import delete

from automation.database import Database
from automation.errors import NotFoundError
from automation.integrations import credentials
from automation.integrations.sweep import sweep
from automation.integrations.types import parse_config, parse_credentials
from automation.models import Project
from tests.integration.integrations.conftest import Make

LOGIN = {"username": "u", "password": "hunter2hunter2"}
SQL = {"host": "db.example", "database": "crm"}
NOW = timedelta(0)


async def test_the_credentials_of_a_row_that_is_gone_are_removed(
    database: Database, prefect: PrefectClient, make: Make
) -> None:
    await sweep(database, prefect, NOW)  # what other tests have left
    kept = await make("sql", SQL, LOGIN, project_id=None)
    gone = await make("sql", SQL, LOGIN)
    lone = uuid4()
    config = parse_config("http", {"base_url": "https://a.example", "auth": "bearer"})
    token = parse_credentials(config, {"token": "t"})
    assert token
    await credentials.store(prefect, lone, config, token)
    async with database.transaction() as session:
        await session.execute(delete(Project).where(Project.id == "p1"))

    assert await sweep(database, prefect) == 0  # too young: its row may be about to be committed
    assert await sweep(database, prefect, NOW) == 2
    assert await sweep(database, prefect, NOW) == 0

    assert await credentials.load(prefect, kept.id, parse_config("sql", SQL))
    with pytest.raises(NotFoundError):
        await credentials.load(prefect, gone.id, parse_config("sql", SQL))
    with pytest.raises(NotFoundError):
        await credentials.load(prefect, lone, config)
