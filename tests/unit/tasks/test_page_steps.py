"""VALIDATE_PAGE, SAVE_TO_RUNTIME and COMPILE_PAGES."""

import json
from pathlib import Path
from typing import Any

import pytest

from automation.errors import ValidationError
from tasks.pages import compile_pages, save_to_runtime, validate_page
from tests.unit.tasks.site_steps import Project, component, page

HOME = page("home", "/", component("Header", "top", title="Welcome"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


async def test_a_good_page_is_valid_and_nothing_is_written(project: Project) -> None:
    assert await project.run(validate_page, {"page": HOME}) == {"valid_pages": 1, "errors": []}
    assert list(project.home.iterdir()) == []


async def test_a_wrong_page_is_refused_with_page_component_and_field(project: Project) -> None:
    wrong = page("home", "/", component("Hologram", "top"))
    with pytest.raises(ValidationError, match=r"page 'home': component 'top'.*type.*Hologram"):
        await project.run(validate_page, {"page": wrong})


async def test_without_check_components_an_unknown_component_passes(project: Project) -> None:
    wrong = page("home", "/", component("Hologram", "top"))
    assert (await project.run(validate_page, {"page": wrong}, check_components=False))["valid_pages"] == 1


async def test_without_validate_json_the_shape_of_the_document_passes(project: Project) -> None:
    wrong = HOME | {"version": "seven"}
    with pytest.raises(ValidationError, match="version"):
        await project.run(validate_page, {"page": wrong})
    assert (await project.run(validate_page, {"page": wrong}, validate_json=False))["valid_pages"] == 1


async def test_an_event_without_a_page_means_every_saved_page(project: Project) -> None:
    project.save(HOME, page("about", "/about"))
    assert (await project.run(validate_page))["valid_pages"] == 2
    project.save(page("bad", "/bad", component("Hologram", "x")))
    with pytest.raises(ValidationError, match="page 'bad'"):
        await project.run(validate_page)


@pytest.mark.parametrize("wrong", [7, "page", [], {}])
async def test_what_is_no_page_at_all_is_refused(project: Project, wrong: Any) -> None:
    with pytest.raises(ValidationError):
        await project.run(validate_page, {"page": wrong})


async def test_a_saved_page_is_on_disk_and_the_result_tells_what_changed(project: Project) -> None:
    await project.run(save_to_runtime, {"page": HOME | {"version": 1}})
    header = component("Header", "top", title="Hello")
    changed = page("home", "/", header, component("Text", "text"), version=2)
    result = await project.execution().run(save_to_runtime, {"page": changed}, minute=1)
    file = project.folder / "pages/home.json"
    assert result["saved"] is True
    assert result["path"] == str(file)
    assert result["bytes"] == file.stat().st_size
    assert result["version"] == 2
    assert result["changes"] == {"added": ["text"], "removed": [], "moved": [], "edited": ["top"], "page": []}
    assert json.loads(file.read_text())["config"] == changed["config"]


async def test_an_older_page_is_superseded_and_the_execution_says_why(project: Project) -> None:
    await project.run(save_to_runtime, {"page": HOME | {"version": 9}})
    result = await project.execution().run(save_to_runtime, {"page": HOME | {"version": 7}}, minute=5)
    reason = "page 'home' version 7 is older than the saved version 9; nothing written"
    assert result == {"saved": False, "superseded": True, "reason": reason}


async def test_without_versions_the_time_of_the_event_counts_and_not_its_arrival(project: Project) -> None:
    await project.run(save_to_runtime, {"page": HOME}, minute=5)
    assert (await project.execution().run(save_to_runtime, {"page": HOME}, minute=4))["superseded"]


async def test_a_second_try_answers_the_same_and_keeps_the_backup(project: Project) -> None:
    await project.execution().run(save_to_runtime, {"page": HOME})
    changed = page("home", "/")
    first = await project.run(save_to_runtime, {"page": changed}, minute=1)
    assert await project.run(save_to_runtime, {"page": changed}, minute=1) == first
    backup = json.loads((project.folder / "pages/home.previous.json").read_text())
    assert backup["config"] == HOME["config"]


async def test_without_backup_previous_no_version_is_kept(project: Project) -> None:
    for minute in range(2):
        await project.run(save_to_runtime, {"page": HOME}, minute=minute, backup_previous=False)
    assert not (project.folder / "pages/home.previous.json").exists()


async def test_without_update_files_it_only_says_what_it_would_do(project: Project) -> None:
    result = await project.run(save_to_runtime, {"page": HOME}, update_files=False)
    assert (result["saved"], result["dry_run"]) == (False, True)
    assert result["bytes"] > 0
    assert result["changes"]["added"] == ["top"]
    assert list(project.home.iterdir()) == []
    assert "would be written" in project.lines[0]


@pytest.mark.parametrize("page_id", ["../../evil", "a/b", "", None, 7, "a\0b", "x" * 129])
async def test_an_id_with_path_tricks_writes_nothing(project: Project, page_id: Any) -> None:
    with pytest.raises(ValidationError, match=r"page\.id"):
        await project.run(save_to_runtime, {"page": HOME | {"id": page_id}})
    project.project_id = "../evil"
    with pytest.raises(ValidationError, match="project_id"):
        await project.run(save_to_runtime, {"page": HOME})
    assert list(project.home.iterdir()) == []


async def test_an_event_without_a_page_cannot_be_saved(project: Project) -> None:
    with pytest.raises(ValidationError, match="no object `page`"):
        await project.run(save_to_runtime, {"user_id": "u"})


async def test_every_saved_page_is_compiled_to_its_route(project: Project) -> None:
    project.save(HOME, page("about", "/about"), page("gone", "/gone"))
    project.delete("gone")
    result = await project.run(compile_pages)
    assert (result["pages"], result["optimize_images"]) == (2, True)
    assert "Welcome" in (project.build / "index.html").read_text()
    assert (project.build / "about/index.html").exists()
    assert not (project.build / "gone").exists()


async def test_minify_makes_the_pages_smaller(project: Project) -> None:
    project.save(HOME)
    sizes = [(await project.run(compile_pages, minify=minify))["bytes"] for minify in (True, False)]
    assert sizes[0] < sizes[1]


async def test_a_second_try_starts_with_an_empty_folder(project: Project) -> None:
    project.save(HOME)
    await project.run(compile_pages)
    (project.build / "leftover.html").write_text("x")
    await project.run(compile_pages)
    assert [file.name for file in project.build.iterdir()] == ["index.html"]


async def test_a_project_without_pages_cannot_be_published_and_is_told_why(project: Project) -> None:
    with pytest.raises(ValidationError, match="'shop' has no saved pages"):
        await project.run(compile_pages)
    project.save(HOME)
    project.delete("home")
    with pytest.raises(ValidationError, match="save a page in Studio first"):
        await project.run(compile_pages)


async def test_a_stored_page_that_cannot_be_compiled_is_named(project: Project) -> None:
    project.save(HOME, {"id": "bad", "name": "Bad", "route": "/bad", "config": {"components": 7}})
    with pytest.raises(ValidationError, match=r"page 'bad' cannot be compiled: .*components"):
        await project.run(compile_pages)
    assert not project.build.exists()


async def test_two_pages_with_one_route_are_both_published_with_a_warning(project: Project) -> None:
    project.save(HOME, page("other", "/"))
    assert (await project.run(compile_pages))["pages"] == 2
    assert any(line.startswith("WARNING page 'other'") for line in project.lines)
