"""The API against its own OpenAPI document: whatever is asked, the answer is one that the document knows.

Schemathesis makes up requests, right ones and wrong ones, with all of its checks on. This is the short run, a few for
each operation; the long one is `make schema`, which also covers each schema keyword by keyword and follows links.
"""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from automation.api import Services
from automation.settings import Settings
from tests.integration.api.serving import KEY, SECRET, Api, page_event, serve

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "tests" / "schemathesis.toml"
EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "0"))
"""Requests of each phase for each operation, in the long run."""
FEW = 3


@pytest.fixture
async def api(api: Api) -> AsyncIterator[Api]:
    """An API that lets one key ask as often as it likes, with something in it."""
    settings = Settings(api_key=SecretStr(KEY), studio_webhook_secret=SecretStr(SECRET), rate_limit=100_000)
    before = api.services
    async with serve(Services(settings, before.database, before.prefect, before.teller)) as served:
        for number in range(3):
            await served.post("events/", page_event(f"p{number}"))
        yield served


def command(url: str, key: str) -> list[str]:
    """The long run, if it is asked for."""
    short = ["--phases=examples,fuzzing", f"--max-examples={FEW}"]
    return [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={CONFIG}",
        "run",
        f"{url}openapi.json",
        "--exclude-path=/api/automation/logs/stream/",  # it never ends
        f"--header=Authorization: Bearer {key}",
        *([f"--max-examples={EXAMPLES}"] if EXAMPLES else short),
        "--checks=all",
        "--seed=1",
        "--no-color",
    ]


@pytest.mark.timeout(3600)
async def test_whatever_is_asked_the_answer_is_one_that_the_document_knows(api: Api, tmp_path: Path) -> None:
    body = {"name": "schemathesis", "scopes": ["manage"]}
    key = (await api.post("api-keys/", body)).json()["key"]

    done = await asyncio.to_thread(
        subprocess.run,
        command(api.url, key),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        check=False,
    )

    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-20_000:]
    print(said.partition("= SUMMARY =")[2])
    generated = sum(int(number) for number in re.findall(r"(\d+) generated", said))
    assert generated >= (3_000 if EXAMPLES else 150), said[-5_000:]
