"""A real API, and commands that reach it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from pydantic import SecretStr

from automation.api import Services
from automation.database import Database
from automation.intake.telling import Teller
from automation.settings import Settings
from tests.integration.api.serving import KEY, Api, serve
from tests.integration.cli.commands import Ran, Run


@pytest.fixture
async def api(database: Database, prefect_api: str) -> AsyncIterator[Api]:
    settings = Settings(api_key=SecretStr(KEY), studio_callback_url="http://127.0.0.1:9/")
    async with (
        get_client() as prefect,
        serve(Services(settings, database, prefect, Teller(settings.decision_events_per_second))) as api,
    ):
        yield api


@pytest.fixture
def run(api: Api, tmp_path: Path) -> Run:
    """A command in a process of its own; a variable that is empty is not set."""

    async def run(*words: object, stdin: str = "", **variables: str) -> Ran:
        env = os.environ | {"AUTOMATION_HOME": str(tmp_path / "home"), "AUTOMATION_API_KEY": KEY}
        env |= {"AUTOMATION_API_URL": api.url, **variables}
        command = [sys.executable, "-m", "automation.cli", *map(str, words)]
        return await asyncio.to_thread(
            subprocess.run,
            command,
            env={name: value for name, value in env.items() if value},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run
