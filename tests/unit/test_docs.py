"""What README and docs/ say is so: settings, endpoints, links, and the example package, which is run."""

import importlib
import re
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest
from prefect.client.orchestration import get_client

from automation import catalog
from automation.api import Services, create_app
from automation.database import Database
from automation.errors import NetworkError, ValidationError
from automation.intake.telling import Teller
from automation.models import Activity, utc_now
from automation.settings import Settings
from automation.steps import ProjectInfo, Result, StepBatch, StepContext, StepItem, StepType

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md")))


# --- settings -----------------------------------------------------------------------------------------------


def variable_of(name: str) -> str:
    alias = Settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"AUTOMATION_{name.upper()}"


def shown(default: object) -> str:
    if isinstance(default, tuple):
        default = " ".join(map(str, default))
    return "none" if default in (None, "") else f"`{default}`"


def test_the_table_of_settings_has_each_setting_with_its_default_and_no_other() -> None:
    text = (ROOT / "docs" / "run.md").read_text()
    section = text.split("## Settings")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| .+? \| (.+?) \| .*\|$", section, re.MULTILINE)

    expected = {variable_of(name): shown(field.default) for name, field in Settings.model_fields.items()}
    assert len(rows) == len(dict(rows))
    assert dict(rows) == expected


# --- endpoints ----------------------------------------------------------------------------------------------


async def test_the_table_of_endpoints_is_what_the_api_serves() -> None:
    rows = re.findall(r"^\| `([A-Z]+) (/\S+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    database = Database("postgresql://nobody@127.0.0.1:9/nowhere")
    app = create_app(Services(settings=Settings(), database=database, prefect=get_client(), teller=Teller(0)))

    served = {
        (method.upper(), path.removeprefix("/api/automation"))
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    assert set(rows) == served


# --- links --------------------------------------------------------------------------------------------------


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_page_and_a_heading_that_are_there(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors_of(there), f"{page.name} links to {target}#{anchor}"


# --- the example of docs/step-types.md ----------------------------------------------------------------------


class Cdn(HTTPServer):
    """A CDN that answers with `status` and remembers the keys of the purges."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Purges)
        self.keys: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/purge"


class _Purges(BaseHTTPRequestHandler):
    server: Cdn

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.keys.append(self.headers["Idempotency-Key"])
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def cdn() -> Iterator[Cdn]:
    server = Cdn()
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def purge_cdn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StepType]:
    """The step type of the page, from a package that is installed as its pyproject.toml says."""
    text = (ROOT / "docs" / "step-types.md").read_text()
    project = tomllib.loads(_block(text, "toml"))
    (module,) = project["tool"]["setuptools"]["py-modules"]
    (tmp_path / f"{module}.py").write_text(_block(text, "python"))
    installed = tmp_path / "acme_cdn-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-cdn\nVersion: 1.0\n")
    groups = project["project"]["entry-points"].items()
    lines = [f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in entries.items()) for group, entries in groups]
    (installed / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    catalog.step_types.cache_clear()
    yield catalog.step_type("PURGE_CDN")
    catalog.step_types.cache_clear()


def _block(text: str, language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return str(block)


def item(results: dict[str, Result], **config: object) -> StepItem:
    context = StepContext(
        execution_id=uuid4(),
        workflow_id=uuid4(),
        workflow_name="Generate Application",
        identifier="purge-cdn",
        project=ProjectInfo("shop"),
        trigger_type="ON_PUBLISH",
        event_type="project.published",
        trigger_data={"project_id": "shop"},
        occurred_at=utc_now(),
        results=results,
        attempt=1,
        settings=Settings(),
        database=Database("postgresql://nobody@127.0.0.1:9/nowhere"),
    )
    return StepItem(context, dict(config), soft_limit=5)


LIVE: dict[str, Result] = {"deploy-to-runtime": {"deployed": True, "version": "v1"}}


async def test_the_example_does_what_the_page_says(purge_cdn: StepType, cdn: Cdn) -> None:
    one = item(LIVE, url=cdn.url)

    await purge_cdn.task.fn(StepBatch([one]))

    assert one.result == {"purged": "/shop/", "version": "v1"}
    assert cdn.keys == [one.context.idempotency_key]
    (row,) = one.context.rows
    assert isinstance(row, Activity)
    assert (row.project_id, row.type, row.changes) == ("shop", "cdn.purged", {"version": "v1"})
    (line,) = one.context.lines
    assert (line.message, line.details) == ("The CDN forgot /shop/.", {"status": 200})


@pytest.mark.parametrize(
    ("results", "config", "error", "said"),
    [
        ({}, {}, ValidationError, "no release went live"),
        (LIVE, {"ulr": "x"}, ValidationError, "PURGE_CDN: config is wrong: ulr"),
        (LIVE, {}, NetworkError, "503"),
    ],
)
async def test_the_example_fails_as_the_page_says(
    purge_cdn: StepType,
    cdn: Cdn,
    results: dict[str, Result],
    config: dict[str, object],
    error: type[Exception],
    said: str,
) -> None:
    cdn.status = 503
    one = item(results, url=cdn.url, **config)

    with pytest.raises(error, match=said):
        await purge_cdn.task.fn(StepBatch([one]))

    assert isinstance(one.error, error)
    assert one.context.rows == []
