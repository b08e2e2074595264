"""`automation.client.django` in a Django project of its own process, before our API."""

import asyncio
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from automation.models import Event, Execution, Project, Workflow
from tests.integration.api.serving import KEY, Api
from tests.integration.client.commands import Studio
from tests.integration.client.doors import Door


def ran(result: "subprocess.CompletedProcess[str]") -> "subprocess.CompletedProcess[str]":
    assert result.returncode == 0, result.stderr
    return result


async def events(api: Api) -> list[Event]:
    """The events that have arrived, by the time at which they happened."""
    async with api.database.transaction() as session:
        return list((await session.scalars(select(Event).order_by(Event.occurred_at))).all())


async def rows(api: Api, model: Any) -> list[Any]:
    async with api.database.transaction() as session:
        return list((await session.scalars(select(model))).all())


async def test_a_project_and_a_page_made_in_studio_are_known_to_automation(api: Api, studio: Studio) -> None:
    code = """
        owner = User.objects.create(username="ana", email="ana@example.org")
        project = Project.objects.create(name="Boutique", owner=owner)
        page = Page.objects.create(project=project, name="Accueil", route="/", config={"components": []})
        page.config["components"].append({"id": "title"})
        page.version = 2
        page.save()
        print(project.pk, page.pk, owner.pk)
    """
    result = ran(await asyncio.to_thread(studio, code, api.url))
    project_id, page_id, owner_id = result.stdout.split()

    [project] = await rows(api, Project)
    assert (project.id, project.name) == (project_id, "Boutique")
    assert (project.owner_id, project.owner_email) == (owner_id, "ana@example.org")
    assert "Auto-save Boutique" in {one.name for one in await rows(api, Workflow)}
    assert [one.type for one in await events(api)] == ["project.created", "page.created", "page.updated"]
    [execution] = await rows(api, Execution)
    assert (execution.key, execution.version, execution.event_count) == (page_id, 2, 2)
    assert execution.trigger_data["page"] == {
        "id": page_id, "name": "Accueil", "route": "/", "version": 2, "config": {"components": [{"id": "title"}]},
    }  # fmt: skip
    assert result.stderr == ""


async def test_an_event_shows_the_page_as_it_was_when_it_was_saved(api: Api, studio: Studio) -> None:
    code = """
        with transaction.atomic():
            page = Page.objects.create(project=Project.objects.create(name="P"), config={"n": 1})
            page.config["n"] = 2  # never saved
            page.project.name = "never saved"
    """
    ran(await asyncio.to_thread(studio, code, api.url))

    created, page = await events(api)
    assert (created.data["project"]["name"], page.data["page"]["config"]) == ("P", {"n": 1})


async def test_what_is_rolled_back_is_not_told_and_what_is_committed_is(api: Api, studio: Studio) -> None:
    code = """
        with transaction.atomic():
            kept = Project.objects.create(name="kept")
            try:
                with transaction.atomic():
                    Project.objects.create(name="inner")
                    raise LookupError
            except LookupError:
                pass
        try:
            with transaction.atomic():
                Project.objects.create(name="outer")
                raise LookupError
        except LookupError:
            pass
    """
    ran(await asyncio.to_thread(studio, code, api.url))

    assert [one.data["project"]["name"] for one in await events(api)] == ["kept"]


async def test_nothing_is_told_before_the_commit(api: Api, studio: Studio) -> None:
    code = f"""
        import httpx
        def known():
            answer = httpx.get({api.url!r} + "workflows/", headers={{"Authorization": "Bearer {KEY}"}})
            return len(answer.json()["results"])
        with transaction.atomic():
            Project.objects.create(name="P")
            assert flush(5)
            print(known())
        assert flush(5)
        print(known())
    """
    assert ran(await asyncio.to_thread(studio, code, api.url)).stdout.split() == ["0", "3"]


async def test_deleted_pages_are_told_those_of_a_deleted_project_too(api: Api, studio: Studio) -> None:
    code = """
        project = Project.objects.create(name="P")
        one, two, three = [Page.objects.create(project=project, name=str(n)) for n in range(3)]
        print(one.pk, two.pk, three.pk)
        one.delete()
        Page.objects.filter(pk=two.pk).delete()
        project.delete()
    """
    result = ran(await asyncio.to_thread(studio, code, api.url))

    deleted = [one.data["page"]["id"] for one in await events(api) if one.type == "page.deleted"]
    assert deleted == result.stdout.split()


async def test_studio_can_tell_what_no_model_shows(api: Api, studio: Studio) -> None:
    code = """
        with transaction.atomic():
            send("project.published", {"project_id": "shop", "user_id": "u1"})
    """
    ran(await asyncio.to_thread(studio, code, api.url))

    [event] = await events(api)
    assert (event.type, event.data) == ("project.published", {"project_id": "shop", "user_id": "u1"})
    assert [one.kind for one in await rows(api, Execution)] == ["generate"]


async def test_other_models_are_told_by_functions_of_their_own(api: Api, studio: Studio) -> None:
    code = """
        space = Space.objects.create(slug="shop", title="Shop")
        Screen.objects.create(space=space, slug="home", document={"components": []})
        Project.objects.create(name="not told")
    """
    settings = {
        "AUTOMATION_PROJECT_MODEL": "studio.Space",
        "AUTOMATION_PAGE_MODEL": "studio.Screen",
        "AUTOMATION_PROJECT_DATA": "studio.models.space_data",
        "AUTOMATION_PAGE_DATA": "studio.models.screen_data",
    }
    ran(await asyncio.to_thread(studio, code, api.url, **settings))

    space, screen = await events(api)
    assert space.data == {"project_id": "shop", "project": {"id": "shop", "name": "Shop"}}
    assert screen.data == {
        "project_id": "shop", "page": {"id": "home", "config": {"components": []}}, "user_id": "somebody",
    }  # fmt: skip


async def test_many_saves_are_few_requests(door: Door, studio: Studio) -> None:
    code = """
        project = Project.objects.create(name="P")
        with transaction.atomic():
            for number in range(300):
                Page.objects.create(project=project, name=str(number))
    """
    ran(await asyncio.to_thread(studio, code, door.url))

    assert len(door.taken) == 301
    assert len(door.posts) < 30


def test_while_automation_is_away_studio_saves_as_ever_and_tells_it_later(door: Door, studio: Studio) -> None:
    door.statuses.extend([503, 502, 401])
    door.delay = 1
    code = """
        began = time.monotonic()
        project = Project.objects.create(name="P")
        for number in range(20):
            Page.objects.create(project=project, name=str(number))
        print(time.monotonic() - began, Page.objects.count())
        assert flush(40)
    """
    seconds, saved = ran(studio(code, door.url)).stdout.split()

    assert float(seconds) < 10  # 21 requests of a second each, if it waited
    assert saved == "20"
    assert len(door.taken) == 21


def test_a_process_that_ends_while_automation_is_away_ends_soon_and_names_what_is_lost(studio: Studio) -> None:
    began = time.monotonic()
    result = ran(studio("Project.objects.create(name='P')", "http://127.0.0.1:1"))

    assert time.monotonic() - began < 20
    assert "may be lost: 'project.created' of project" in result.stderr


def test_a_forked_process_sends_its_own_events_and_not_its_parents(door: Door, studio: Studio) -> None:
    door.delay = 0.3
    code = """
        send("a.parent", {"project_id": "p"})
        send("another.parent", {"project_id": "p"})
        if os.fork() == 0:
            send("a.child", {"project_id": "p"})
            sys.exit(0)
        os.wait()
    """
    ran(studio(code, door.url))

    assert sorted(one["type"] for one in door.taken) == ["a.child", "a.parent", "another.parent"]


def test_a_page_that_cannot_be_sent_is_saved_all_the_same(door: Door, studio: Studio) -> None:
    code = """
        project = Project.objects.create(name="P")
        Page.objects.create(project=project, name="too large", config={"note": "x" * 8_000_000})
        print(Page.objects.count())
    """
    result = ran(studio(code, door.url))

    assert result.stdout.strip() == "1"
    assert "page.created of studio.Page 1 is not sent" in result.stderr
    assert [one["type"] for one in door.taken] == ["project.created"]


def test_fixtures_are_not_told(door: Door, studio: Studio, tmp_path: Path) -> None:
    fixture = tmp_path / "spaces.json"
    saved = {"pk": "00000000-0000-0000-0000-000000000007", "fields": {"updated_at": "2026-01-15T10:30:00Z"}}
    fixture.write_text(json.dumps([{"model": "studio.project", **saved}]))
    code = f"""
        call_command("loaddata", {str(fixture)!r}, verbosity=0)
        print(Project.objects.count())
    """

    assert ran(studio(code, door.url)).stdout.strip() == "1"
    assert door.taken == []


def test_an_empty_address_switches_it_off_and_says_so(door: Door, studio: Studio) -> None:
    code = "Project.objects.create(name='P'); send('x', {'project_id': 'p'}); print(flush())"
    result = ran(studio(code, ""))

    assert result.stdout.strip() == "True"
    assert "AUTOMATION_API_URL is empty" in result.stderr


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("AUTOMATION_API_URL", "automation:8000", "http(s)://host:port"),
        ("AUTOMATION_API_KEY", "", "The key of Automation"),
        ("AUTOMATION_PROJECT_MODEL", "studio.Nothing", "AUTOMATION_PROJECT_MODEL = 'studio.Nothing'"),
        ("AUTOMATION_PAGE_MODEL", "Page", "AUTOMATION_PAGE_MODEL = 'Page'"),
        ("AUTOMATION_PAGE_DATA", "studio.nowhere", "AUTOMATION_PAGE_DATA = 'studio.nowhere'"),
    ],
)
def test_a_wrong_setting_stops_studio_at_its_start_by_name(studio: Studio, setting: str, value: str, said: str) -> None:
    result = studio("", "http://127.0.0.1:1", **{setting: value})

    assert result.returncode == 1
    assert "ImproperlyConfigured" in result.stderr
    assert said in result.stderr
