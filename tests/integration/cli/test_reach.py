"""The command line reaches all of the API."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client
from pydantic import SecretStr
from typer.testing import CliRunner

from automation.api import Services
from automation.cli import app
from automation.cli.exits import CommandError
from automation.database import Database
from automation.intake.telling import Teller
from automation.settings import Settings
from tests.integration.api.serving import KEY, Api, serve

ID = str(uuid4())
COMMANDS = f"""
workflows list | workflows show {ID} | workflows create FILE | workflows update {ID} FILE
workflows update {ID} FILE --replace | workflows delete {ID} | workflows execute {ID} | workflows versions {ID}
steps list {ID} | steps show {ID} | steps add {ID} FILE | steps update {ID} FILE | steps update {ID} FILE --replace
steps delete {ID} | steps execute {ID}
triggers list | triggers show {ID} | triggers create FILE | triggers update {ID} FILE
triggers update {ID} FILE --replace | triggers delete {ID} | triggers secret {ID} | triggers test {ID} FILE
triggers replay {ID} --since 1h --until 5m --dry-run
executions list | executions show {ID} | executions items {ID} --step each | executions logs {ID}
executions watch {ID} | executions retry {ID} --from-start | executions retry --status FAILED | executions cancel {ID}
executions approve {ID} | queue purge --yes
events list | events show e1 | events send FILE
dead-letters list | dead-letters redrive {ID} | dead-letters redrive --all
deliveries list | deliveries redeliver {ID} | alerts list | alerts show {ID} | alerts acknowledge {ID}
alerts silence {ID} --for 1h | alerts rules | silences list | silences create --for 1h | silences delete {ID}
insights workflows | insights steps | insights errors | insights resources
logs | logs --execution {ID} | logs --follow --execution {ID}
integrations list | integrations show {ID} | integrations create FILE | integrations update {ID} FILE
integrations update {ID} FILE --replace | integrations delete {ID} | integrations test {ID}
projects list | projects show p1 | projects publish p1 | projects delete p1 --yes
keys list | keys create --name k --scope read | keys revoke {ID} | audit list
step-types | trigger-types | health
"""
OTHERS = {"studio_webhook", "receive_webhook", "live", "get_metrics", "stream_all_logs"}
"""What is signed by somebody else, what only a supervisor or Prometheus asks, and what has no end (`logs --follow`)."""


@pytest.fixture
async def api(database: Database, prefect_api: str) -> AsyncIterator[Api]:
    settings = Settings(api_key=SecretStr(KEY))
    async with get_client() as prefect, serve(Services(settings, database, prefect, Teller(0))) as served:
        yield served


async def test_every_operation_of_the_api_has_a_command(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AUTOMATION_API_URL", api.url)
    monkeypatch.setenv("AUTOMATION_API_KEY", KEY)
    (tmp_path / "file.json").write_text("{}")
    document = (await api.client.get("openapi.json")).json()
    caplog.clear()

    with caplog.at_level(logging.INFO, logger="automation.api.middleware"):
        for line in re.split(r"[|\n]", COMMANDS.strip()):
            words = [str(tmp_path / "file.json") if word == "FILE" else word for word in line.split()]
            done = await asyncio.to_thread(CliRunner().invoke, app, words)
            assert done.exit_code != 2, f"{line}: {done.output}"
            assert isinstance(done.exception, CommandError | SystemExit | None), f"{line}: {done.exception!r}"

    asked = [re.match(r"([A-Z]+) (\S+): ", record.getMessage()) for record in caplog.records]
    seen = {
        operation["operationId"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for one in asked
        if one and one[1] == method.upper() and re.fullmatch(re.sub(r"\{.+?\}", "[^/]+", path), one[2])
    }
    every = {one["operationId"] for methods in document["paths"].values() for one in methods.values()}
    assert every - seen == OTHERS
