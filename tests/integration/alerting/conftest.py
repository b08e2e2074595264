from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from automation.alerting.rules import load
from automation.database import Database
from automation.settings import Settings
from tests.integration.alerting.watching import Watch
from tests.integration.neighbours import Neighbour

MakeWatch = Callable[..., Watch]


@pytest.fixture
def pager() -> Iterator[Neighbour]:
    """Where administrators are told."""
    server = Neighbour()
    yield server
    server.go()


@pytest.fixture
def other() -> Iterator[Neighbour]:
    """Somebody else who is told."""
    server = Neighbour()
    yield server
    server.go()


@pytest.fixture
def watch(database: Database, pager: Neighbour, tmp_path: Path) -> MakeWatch:
    """Make an alerting that watches these rules alone, as an operator would: by a file of its own.

    `rules`: what differs, by name; `more`: other keys of the file; `settings`: of the installation.
    """

    def make(rules: dict[str, dict[str, Any]], settings: dict[str, Any] | None = None, **more: Any) -> Watch:
        off = {name: {"enabled": False} for name in load().rules if name not in rules}
        file = tmp_path / f"alerts-{len(list(tmp_path.iterdir()))}.yaml"
        file.write_bytes(orjson.dumps({"rules": {**off, **rules}, **more}))  # JSON is YAML
        own = {"admin_notify_urls": (pager.apprise_url,), "alerts_file": file, **(settings or {})}
        return Watch(database, Settings(**own), pager)

    return make
