"""Taking saves and deployments back, on a real disk: only what is still ours, and as often as one likes."""

import json
from pathlib import Path
from typing import Any

import pytest

from automation.errors import ValidationError
from automation.runtime import releases, store
from tasks.assets import optimize_assets
from tasks.pages import compile_pages, save_to_runtime
from tasks.runtime import deploy_to_runtime, generate_structure, verify_release
from tests.unit.tasks.site_steps import Json, Project, component, page

HOME = page("home", "/", component("Header", "top", title="Welcome"))


def event(title: str, version: int | None = None) -> Json:
    """The page with another title; what an event of its change carries."""
    more: Json = {} if version is None else {"version": version}
    return {"page": HOME | {"name": title} | more}


def saved(project: Project) -> str | None:
    """The title of the page as it is saved; None if it is not, or deleted."""
    found = store.read_page(project.root, "shop", "home")
    return found["name"] if found else None


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


# --- pages ----------------------------------------------------------------------------------------------------


async def test_a_saved_page_gets_its_backup_back_and_later_saves_go_on_from_there(project: Project) -> None:
    await project.run(save_to_runtime, event("one", 1))
    other = project.execution()
    await other.run(save_to_runtime, event("two", 2), minute=1)

    assert await other.take_back(save_to_runtime, event("two", 2), minute=1) == {"restored": True, "page": "home"}
    assert saved(project) == "one"

    again = await project.execution().run(save_to_runtime, event("two again", 2), minute=2)
    assert (again["saved"], saved(project)) == (True, "two again")


async def test_taken_back_twice_a_save_changes_nothing_the_second_time(project: Project) -> None:
    await project.run(save_to_runtime, event("one"))
    await project.execution().run(save_to_runtime, event("two"), minute=1)
    last = project.execution()
    await last.run(save_to_runtime, event("three"), minute=2)

    await last.take_back(save_to_runtime, event("three"), minute=2)
    answer = await last.take_back(save_to_runtime, event("three"), minute=2)

    assert answer["restored"] is False
    assert saved(project) == "two"


async def test_a_page_that_was_saved_again_since_keeps_what_is_newer(project: Project) -> None:
    await project.run(save_to_runtime, event("one"))
    await project.execution().run(save_to_runtime, event("two"), minute=1)

    answer = await project.take_back(save_to_runtime, event("one"))

    assert answer["restored"] is False
    assert "not what this execution saved any more" in answer["reason"]
    assert saved(project) == "two"


async def test_a_page_that_did_not_exist_before_is_gone(project: Project) -> None:
    await project.run(save_to_runtime, event("one"))

    assert (await project.take_back(save_to_runtime, event("one")))["restored"] is True
    assert store.list_pages(project.root, "shop") == []
    assert (await project.take_back(save_to_runtime, event("one")))["restored"] is False


async def test_a_page_that_was_deleted_before_is_deleted_again(project: Project) -> None:
    project.save(HOME)
    store.delete_page(project.root, "shop", "home", store.Stamp(project.context("x", {}, 1).occurred_at))
    await project.run(save_to_runtime, event("back"), minute=2)

    assert (await project.take_back(save_to_runtime, event("back"), minute=2))["restored"] is True
    assert saved(project) is None
    late = await project.execution().run(save_to_runtime, event("late"), minute=0)
    assert late["saved"] is False


async def test_a_deletion_taken_back_brings_the_page_with_the_version_that_it_had(project: Project) -> None:
    await project.run(save_to_runtime, event("one", 3))
    other = project.execution()
    for _ in range(2):  # killed before it was recorded, and run again
        await delete(other, {"page": {"id": "home"}})

    answers = [await take_back_deletion(other, {"page": {"id": "home"}}) for _ in range(2)]

    assert [one["restored"] for one in answers] == [True, False]
    assert saved(project) == "one"
    assert (await project.execution().run(save_to_runtime, event("old", 2), minute=9))["saved"] is False


async def delete(project: Project, data: Json) -> None:
    step = project.context("save-to-runtime", data, 1)
    step.event_type = "page.deleted"
    project.results["save-to-runtime"] = await save_to_runtime.function(step, save_to_runtime.parse({}))  # type: ignore[assignment]


async def take_back_deletion(project: Project, data: Json) -> Any:
    step = project.context("save-to-runtime", data, 1)
    step.event_type = "page.deleted"
    assert save_to_runtime.rollback is not None
    return await save_to_runtime.rollback(step, save_to_runtime.parse({}))


async def test_without_a_backup_a_saved_page_stays_and_the_log_says_so(project: Project) -> None:
    await project.run(save_to_runtime, event("one"))
    other = project.execution()
    await other.run(save_to_runtime, event("two"), minute=1, backup_previous=False)

    answer = await other.take_back(save_to_runtime, event("two"), minute=1, backup_previous=False)

    assert answer["restored"] is False
    assert any(line.startswith("WARNING") and "backup_previous" in line for line in other.lines)
    assert saved(project) == "two"


async def test_a_save_that_wrote_nothing_takes_nothing_back(project: Project) -> None:
    await project.run(save_to_runtime, event("one"), minute=1)
    late, dry = project.execution(), project.execution()
    await late.run(save_to_runtime, event("older"))
    await dry.run(save_to_runtime, event("two"), minute=2, update_files=False)

    assert (await late.take_back(save_to_runtime, event("older")))["restored"] is False
    assert (await dry.take_back(save_to_runtime, event("two"), minute=2, update_files=False))["restored"] is False
    assert saved(project) == "one"


# --- releases -------------------------------------------------------------------------------------------------


async def published(project: Project, environment: str = "production") -> tuple[Project, str]:
    """An execution that has published, and its release."""
    other = project.execution()
    for kind in (compile_pages, generate_structure, optimize_assets):
        await other.run(kind)
    return other, (await other.run(deploy_to_runtime, environment=environment))["version"]


def live(project: Project, environment: str = "production") -> str | None:
    return releases.live_version(project.root, "shop", environment)


async def test_a_deployed_release_gives_way_to_what_was_live_before_and_stays_on_the_disk(project: Project) -> None:
    project.save(HOME)
    _, first = await published(project)
    project.save(HOME | {"name": "New"}, minute=1)
    other, second = await published(project)

    for _ in range(2):
        answer = await other.take_back(deploy_to_runtime)
        assert answer == {"restored": True, "environment": "production", "live": first}
        assert live(project) == first
    assert second in releases.list_releases(project.root, "shop")


async def test_what_was_published_since_stays_live(project: Project) -> None:
    project.save(HOME)
    await published(project)
    overtaken, second = await published(project)
    _, third = await published(project)

    answer = await overtaken.take_back(deploy_to_runtime)

    assert answer["restored"] is False
    assert third in answer["reason"]
    assert second in answer["reason"]
    assert live(project) == third


async def test_the_first_release_of_all_leaves_an_empty_environment(project: Project) -> None:
    project.save(HOME)
    first, version = await published(project)

    assert (await first.take_back(deploy_to_runtime))["live"] is None
    assert live(project) is None
    assert (await first.run(deploy_to_runtime))["version"] == version
    assert live(project) == version


async def test_a_deploy_that_was_killed_before_it_was_recorded_still_knows_what_was_live(project: Project) -> None:
    project.save(HOME)
    _, first = await published(project)
    await published(project)
    await project.operate("rollback")
    third, _ = await published(project)
    await third.run(deploy_to_runtime)  # again: its own release is live already

    await third.take_back(deploy_to_runtime)

    assert live(project) == first


async def test_promoting_what_is_live_switches_nothing_and_takes_nothing_back(project: Project) -> None:
    project.save(HOME)
    await published(project)
    _, second = await published(project)
    other = project.execution()
    await other.run(verify_release, {"input": {"action": "promote"}})
    await other.run(deploy_to_runtime)

    assert (await other.take_back(deploy_to_runtime))["restored"] is False
    assert live(project) == second


async def test_a_rollback_by_hand_that_is_taken_back_shows_the_newer_release_again(project: Project) -> None:
    project.save(HOME)
    _, first = await published(project)
    _, second = await published(project)
    other = project.execution()
    await other.run(verify_release, {"input": {"action": "rollback"}})
    await other.run(deploy_to_runtime)
    assert live(project) == first

    await other.take_back(deploy_to_runtime)

    assert live(project) == second


async def test_a_superseded_deploy_takes_nothing_back(project: Project) -> None:
    project.save(HOME)
    old = project.execution()
    await old.run(compile_pages)
    await old.run(generate_structure)
    await old.run(optimize_assets)
    _, newer = await published(project)
    assert (await old.run(deploy_to_runtime))["deployed"] is False

    assert (await old.take_back(deploy_to_runtime))["restored"] is False
    assert live(project) == newer


async def test_a_release_that_was_removed_cannot_come_back_and_that_is_an_error(project: Project) -> None:
    project.keep_releases = 1
    project.save(HOME)
    await published(project)
    other, second = await published(project)

    with pytest.raises(ValidationError, match="was removed"):
        await other.take_back(deploy_to_runtime)
    assert live(project) == second


async def test_a_backup_file_is_the_page_as_it_was_before_it_was_replaced(project: Project) -> None:
    await project.run(save_to_runtime, event("one", 1))
    before = (project.folder / "pages" / "home.json").read_bytes()
    other = project.execution()
    await other.run(save_to_runtime, event("two", 2), minute=1)
    await other.take_back(save_to_runtime, event("two", 2), minute=1)

    assert (project.folder / "pages" / "home.json").read_bytes() == before
    assert json.loads(before)["_saved"]["version"] == 1
