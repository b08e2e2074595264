"""The export of docs/change-over.md, run in Studio, and imported."""

import asyncio
import re
from pathlib import Path

from sqlalchemy import select

from automation.models import Event, Execution, Project
from tests.integration.api.serving import Api
from tests.integration.client.commands import Import, Studio

PAGE = Path(__file__).parents[3] / "docs" / "change-over.md"
BEFORE = """
project = Project.objects.create(name="Boutique", owner=User.objects.create(username="ana", email="ana@example.org"))
for number in range(3):
    Page.objects.create(project=project, name=f"Page {number}", route=f"/{number}", config={"components": []})
"""
EDIT = """
page = Page.objects.get(name="Page 0")
page.name, page.version = "Accueil", 2
page.save()
"""


def example(holding: str) -> str:
    """The example in the docs that holds this text."""
    [code] = [one for one in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if holding in one]
    return str(code)


async def names_of_pages(api: Api) -> list[str]:
    async with api.database.transaction() as session:
        rows = (await session.scalars(select(Execution).where(Execution.kind == "auto-save"))).all()
    return sorted(one.trigger_data["page"]["name"] for one in rows)


async def test_what_studio_had_before_is_exported_imported_and_published_as_the_docs_say(
    api: Api, studio: Studio, import_: Import
) -> None:
    export = example("pages.jsonl")
    await asyncio.to_thread(studio, BEFORE + export, "")

    projects = await import_("projects", None, api.url)
    pages = await import_("pages", None, api.url)
    published = await asyncio.to_thread(studio, example('project.published", {"project_id": str(one.pk)'), api.url)

    assert projects.stdout == "projects: 1 taken in, 0 known already, 0 bad\n"
    assert pages.stdout == "pages: 3 taken in, 0 known already, 0 bad\n"
    assert published.stdout == "sent\n"
    async with api.database.transaction() as session:
        [project] = (await session.scalars(select(Project))).all()
        types = (await session.scalars(select(Event.type).order_by(Event.received_at))).all()
    assert (project.name, project.owner_email) == ("Boutique", "ana@example.org")
    assert types[-1] == "project.published"
    assert await names_of_pages(api) == ["Page 0", "Page 1", "Page 2"]


async def test_an_edit_after_the_export_is_not_undone_by_its_import(api: Api, studio: Studio, import_: Import) -> None:
    await asyncio.to_thread(studio, BEFORE + example("pages.jsonl"), "")
    await asyncio.to_thread(studio, EDIT, api.url)
    await import_("pages", None, api.url)

    assert await names_of_pages(api) == ["Accueil", "Page 1", "Page 2"]


async def test_an_edit_whose_event_was_lost_comes_with_the_next_import(
    api: Api, studio: Studio, import_: Import
) -> None:
    export = example("pages.jsonl")
    await asyncio.to_thread(studio, BEFORE, api.url)
    await asyncio.to_thread(studio, EDIT + export, "")

    pages = await import_("pages", None, api.url)

    assert "3 taken in" in pages.stdout
    assert await names_of_pages(api) == ["Accueil", "Page 1", "Page 2"]
