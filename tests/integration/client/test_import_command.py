"""`automation import` as an operator runs it, before our API."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import func, select

from automation.models import Event, Execution, Project, Workflow
from tests.integration.api.serving import KEY, Api, page_event
from tests.integration.client.commands import Import
from tests.integration.client.doors import Door


def project(id_: str, **more: Any) -> dict[str, Any]:
    return {"id": id_, "name": id_.title(), "owner": {"id": "u1", "email": "u1@example.org"}, **more}


def page(number: int, project_id: str = "shop", **more: Any) -> dict[str, Any]:
    document = {"id": f"page-{number}", "name": "Page", "route": f"/{number}", "config": {"components": []}}
    return {"project_id": project_id, "page": document | more}


async def rows(api: Api, model: Any) -> list[Any]:
    async with api.database.transaction() as session:
        return list((await session.scalars(select(model))).all())


async def count(api: Api, model: type) -> int:
    async with api.database.transaction() as session:
        return await session.scalar(select(func.count()).select_from(model)) or 0


async def test_projects_of_before_get_their_name_owner_and_workflows(api: Api, import_: Import) -> None:
    result = await import_("projects", [project("shop"), project("blog")], api.url)

    assert (result.returncode, result.stdout) == (0, "projects: 2 taken in, 0 known already, 0 bad\n")
    assert result.stderr == ""
    assert {(one.id, one.name, one.owner_email) for one in await rows(api, Project)} == {
        ("shop", "Shop", "u1@example.org"),
        ("blog", "Blog", "u1@example.org"),
    }
    assert await count(api, Workflow) == 6
    assert await count(api, Execution) == 0


async def test_pages_of_before_are_saved_one_execution_each_and_a_repeat_changes_nothing(
    api: Api, import_: Import
) -> None:
    lines = [page(number) for number in range(1203)]

    first = await import_("pages", lines, api.url)
    second = await import_("pages", lines, api.url)

    assert first.stdout == "pages: 1203 taken in, 0 known already, 0 bad\n"
    assert second.stdout == "pages: 0 taken in, 1203 known already, 0 bad\n"
    assert await count(api, Event) == 1203
    executions = await rows(api, Execution)
    assert {one.key for one in executions} == {f"page-{number}" for number in range(1203)}
    assert {one.event_count for one in executions} == {1}


async def test_bad_lines_are_named_by_their_number_and_the_rest_goes_on(api: Api, import_: Import) -> None:
    good = [json.dumps(page(number)).encode() for number in range(3)]
    bad = [
        b"{ rubbish \x1b[31m", b"[]", b'{"project_id": "shop"}', json.dumps(page(7, "../shop")).encode(),
        json.dumps({**page(8), "updated_at": "yesterday"}).encode(),
    ]  # fmt: skip
    result = await import_("pages", b"\n".join([good[0], b"", *bad, *good[1:]]), api.url)

    assert (result.returncode, result.stdout) == (1, "pages: 3 taken in, 0 known already, 5 bad\n")
    numbers = [int(line.split(".jsonl:")[1].split(":")[0]) for line in result.stderr.splitlines()]
    assert sorted(numbers) == [3, 4, 5, 6, 7]
    assert "page: expected an object, got nothing" in result.stderr
    assert "data.project_id: '../shop' is no plain name" in result.stderr
    assert "timestamp" in result.stderr
    assert "\x1b" not in result.stderr
    assert {one.key for one in await rows(api, Execution)} == {"page-0", "page-1", "page-2"}


async def test_a_list_of_nothing_but_refused_lines_ends(api: Api, import_: Import) -> None:
    result = await import_("projects", [project("../x", n=number) for number in range(20)], api.url)

    assert (result.returncode, result.stdout) == (1, "projects: 0 taken in, 0 known already, 20 bad\n")


async def test_an_import_never_replaces_what_studio_has_said_itself(api: Api, import_: Import) -> None:
    await api.post("events/", page_event("shop", "page-1"))
    project_event = {"project_id": "shop", "project": {"id": "shop", "name": "By Studio"}}
    await api.post("events/", {"type": "project.updated", "data": project_event})

    await import_("projects", [project("shop"), project("blog", updated_at="2020-01-01T00:00:00Z")], api.url)
    await import_("pages", [page(1, name="old")], api.url)

    assert {one.name for one in await rows(api, Project)} == {"By Studio", "Blog"}
    [execution] = await rows(api, Execution)
    assert execution.trigger_data["page"]["name"] == "Accueil"


async def test_a_line_that_says_when_it_was_true_repairs_what_was_lost(api: Api, import_: Import) -> None:
    lost = {**page_event("shop", "page-1"), "timestamp": "2026-01-01T00:00:00Z"}
    await api.post("events/", lost)

    await import_("pages", [{**page(1, name="later"), "updated_at": "2026-01-02T00:00:00+01:00"}], api.url)

    [execution] = await rows(api, Execution)
    assert execution.trigger_data["page"]["name"] == "later"


async def test_standard_input_is_read_as_a_file_is(api: Api, import_: Import) -> None:
    result = await import_("projects", [project("shop")], api.url, stdin=True)

    assert result.stdout == "projects: 1 taken in, 0 known already, 0 bad\n"


async def test_without_an_address_the_local_installation_is_meant(api: Api, import_: Import, tmp_path: Path) -> None:
    port = str(urlsplit(api.url).port)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "api.key").write_text(KEY)

    result = await import_("projects", [project("shop")], None, AUTOMATION_API_PORT=port, AUTOMATION_API_KEY="")

    assert (result.returncode, result.stdout) == (0, "projects: 1 taken in, 0 known already, 0 bad\n")


async def test_an_import_that_is_cut_short_says_where_and_how_to_go_on(door: Door, import_: Import) -> None:
    door.statuses.extend([202, 401])

    result = await import_("pages", [page(number) for number in range(600)], door.url)

    assert result.returncode == 2  # as of every command whose key is wrong
    assert "does not accept the key" in result.stderr
    assert "Stopped at line 501; the lines before are in." in result.stderr
    assert len(door.taken) == 500


async def test_an_address_without_a_key_or_with_nonsense_is_a_wrong_setting(import_: Import) -> None:
    no_key = await import_("pages", [page(1)], "http://127.0.0.1:1", AUTOMATION_API_KEY="")
    nonsense = await import_("pages", [page(1)], "127.0.0.1:8000")

    assert (no_key.returncode, nonsense.returncode) == (2, 2)
    assert "AUTOMATION_API_KEY" in no_key.stderr
    assert "AUTOMATION_API_URL" in nonsense.stderr


async def test_without_an_address_and_with_nothing_running_it_says_what_to_start(import_: Import) -> None:
    result = await import_("pages", [page(1)], None, AUTOMATION_DATABASE_URL="", PREFECT_API_URL="")

    assert result.returncode == 5
    assert "start it with `automation up`" in result.stderr


async def test_empty_files_are_fine(api: Api, import_: Import) -> None:
    result = await import_("pages", b"\n\n", api.url)

    assert (result.returncode, result.stdout) == (0, "pages: 0 taken in, 0 known already, 0 bad\n")
