"""Studio and `automation import`, each in a process of its own."""

import asyncio
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.integration.api.serving import KEY

PROJECT = Path(__file__).parent / "django_project"
BEGIN = """
import os, sys, time
import django
from django.conf import settings
{settings}
django.setup()
from django.core.management import call_command
from django.db import transaction
call_command("migrate", run_syncdb=True, verbosity=0)
from django.contrib.auth.models import User
from studio.models import Page, Project, Screen, Space
from automation.client.django import flush, send
"""

Ran = subprocess.CompletedProcess[str]


class Studio:
    """Runs code in Studio, a Django project with a database in `folder`, which is also where it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, code: str, url: str, **settings: object) -> Ran:
        """Run code; the settings know Automation at `url`, and more by name."""
        env = os.environ | {
            "PYTHONPATH": str(PROJECT),
            "DJANGO_SETTINGS_MODULE": "studio_settings",
            "STUDIO_DATABASE": str(self.folder / "studio.sqlite3"),
            "AUTOMATION_API_URL": url,
            "AUTOMATION_API_KEY": KEY,
        }
        lines = "\n".join(f"settings.{name} = {value!r}" for name, value in settings.items())
        command = [sys.executable, "-c", BEGIN.format(settings=lines) + textwrap.dedent(code)]
        return subprocess.run(command, env=env, cwd=self.folder, capture_output=True, text=True, timeout=60)


class Import:
    """Runs `automation import` for an operator whose home is `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def __call__(
        self,
        noun: str,
        lines: bytes | Iterable[Any] | None,
        url: str | None,
        *,
        stdin: bool = False,
        **variables: str,
    ) -> Ran:
        """Import a file with these lines, or the one that is there already; a variable that is empty is not set."""
        file = self.folder / f"{noun}.jsonl"
        if lines is not None:
            file.write_bytes(lines if isinstance(lines, bytes) else jsonl(lines))
        env = os.environ | {"AUTOMATION_HOME": str(self.folder / "home"), "AUTOMATION_API_KEY": KEY, **variables}
        env["AUTOMATION_API_URL"] = url or ""
        env = {name: value for name, value in env.items() if value}
        command = [sys.executable, "-m", "automation.cli", "import", noun, "-" if stdin else str(file)]
        given = file.read_text() if stdin else ""
        return await asyncio.to_thread(
            subprocess.run, command, env=env, input=given, capture_output=True, text=True, timeout=60
        )


def jsonl(lines: Iterable[Any]) -> bytes:
    return "".join(json.dumps(one) + "\n" for one in lines).encode()
