"""GENERATE_STRUCTURE, VERIFY_RELEASE and DEPLOY_TO_RUNTIME: from compiled pages to a live site, and back."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from automation.errors import ValidationError
from automation.runtime.files import point
from automation.runtime.health import check_release
from automation.runtime.releases import list_releases, live_version, release_folder
from tasks.assets import optimize_assets
from tasks.pages import compile_pages
from tasks.runtime import deploy_to_runtime, generate_structure, verify_release
from tests.unit.tasks.site_steps import Project, component, page

FIELD = {"name": "email", "type": "email", "label": "E-mail", "required": True}
FORM = component("Form", "contact", fields=[FIELD])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.save(page("home", "/", component("Header", "top", title="First")), page("about", "/about", FORM))
    return made


def live(project: Project, environment: str = "production") -> str | None:
    return live_version(project.root, project.project_id, environment)


def home(project: Project) -> str:
    return (project.folder / "current/index.html").read_text()


def files(folder: Path) -> dict[str, bytes]:
    every = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in every}


async def built(project: Project) -> Project:
    """An execution that has everything but the deployment."""
    other = project.execution()
    for step in (compile_pages, generate_structure, optimize_assets):
        await other.run(step)
    return other


async def test_the_structure_has_styles_script_404_and_routes(project: Project) -> None:
    await project.run(compile_pages)
    result = await project.run(generate_structure)
    assert result == {"files": 4, "routes": 2, "models": 0}
    names = {"index.html", "about/index.html", "404.html", "routes.json", "assets/site.css", "assets/site.js"}
    assert set(files(project.build)) == names
    routes = json.loads((project.build / "routes.json").read_text())["routes"]
    assert [one["route"] for one in routes] == ["/", "/about"]


async def test_without_create_routes_there_is_no_table_of_routes(project: Project) -> None:
    await project.run(compile_pages)
    assert (await project.run(generate_structure, create_routes=False))["routes"] == 0
    assert "routes.json" not in files(project.build)


async def test_generate_models_writes_a_json_schema_for_each_form(project: Project) -> None:
    await project.run(compile_pages)
    assert (await project.run(generate_structure, generate_models=True))["models"] == 1
    [schema] = (project.build / "models").iterdir()
    model = json.loads(schema.read_text())
    assert model["required"] == ["email"]
    assert model["properties"]["email"]["format"] == "email"


async def test_minify_counts_for_styles_and_script_too(project: Project) -> None:
    sizes = []
    for minify in (True, False):
        await project.run(compile_pages, minify=minify)
        await project.run(generate_structure)
        written = files(project.build)
        sizes.append([len(written[name]) for name in ("assets/site.css", "assets/site.js", "404.html")])
    assert all(small < large for small, large in zip(*sizes, strict=True))


async def test_a_site_without_a_page_at_its_root_gets_a_list_of_its_pages(project: Project) -> None:
    project.delete("home")
    await project.run(compile_pages)
    await project.run(generate_structure)
    assert "about/" in (project.build / "index.html").read_text()


async def test_the_structure_again_is_the_same(project: Project) -> None:
    await project.run(compile_pages)
    await project.run(generate_structure)
    before = files(project.build)
    await project.run(generate_structure)
    assert files(project.build) == before


async def test_the_structure_needs_compiled_pages(project: Project) -> None:
    with pytest.raises(ValidationError, match="generate-structure: there is no build"):
        await project.run(generate_structure)


async def test_a_publish_is_live_and_leaves_no_build(project: Project) -> None:
    result = await project.publish()
    assert result["deployed"] is True
    assert result["environment"] == "production"
    assert result["previous"] is None
    assert result["files"] == 6
    assert live(project) == result["version"]
    assert "First" in home(project)
    assert list((project.folder / "builds").iterdir()) == []
    assert check_release(project.folder / "current").warnings == []


async def test_the_next_publish_shows_the_change_and_tells_what_was_before(project: Project) -> None:
    first = await project.publish()
    project.save(page("home", "/", component("Header", "top", title="Second")), minute=1)
    second = await project.publish()
    assert second["previous"] == first["version"]
    assert "Second" in home(project)
    assert second["version"] > first["version"]


async def test_a_dead_link_in_a_page_does_not_stop_the_publish_and_is_in_the_log(project: Project) -> None:
    project.save(page("home", "/", component("Card", "c", title="T", link="/not-there-yet")), minute=1)
    other = await built(project)
    assert (await other.run(deploy_to_runtime))["deployed"]
    assert "WARNING Dead links: index.html: '/not-there-yet' leads nowhere" in other.lines


async def test_another_environment_leaves_production_alone(project: Project) -> None:
    first = await project.publish()
    second = await project.publish(environment="staging")
    assert live(project) == first["version"]
    assert live(project, "staging") == second["version"]


async def test_only_so_many_releases_are_kept(project: Project) -> None:
    project.keep_releases = 2
    versions = [(await project.publish())["version"] for _ in range(4)]
    assert list_releases(project.root, "shop") == [versions[3], versions[2]]


@pytest.mark.parametrize("killed_after", ["the manifest", "the rename", "the switch", "everything"])
async def test_run_again_after_a_kill_it_ends_in_the_same_state(project: Project, killed_after: str) -> None:
    first = await project.publish()
    other = await built(project)
    version = json.loads((other.build.parent / "build.json").read_text())["version"]
    release = release_folder(project.root, "shop", version)
    if killed_after == "the manifest":
        (other.build / ".release.json").write_text("{")
    elif killed_after == "everything":
        await other.run(deploy_to_runtime)
    else:
        kept = shutil.copytree(other.build.parent, project.home / "kept")
        await other.run(deploy_to_runtime)
        shutil.rmtree(kept / "site")
        shutil.copytree(kept, other.build.parent)
        if killed_after == "the rename":
            point(project.folder / "environments/production", f"../releases/{first['version']}")
    result = await other.run(deploy_to_runtime)
    assert (result["version"], result["previous"]) == (version, first["version"])
    assert live(project) == version
    assert list_releases(project.root, "shop") == [version, first["version"]]
    assert check_release(release).faults == []
    assert not other.build.parent.exists()


async def test_a_retry_that_a_newer_publish_has_overtaken_switches_nothing(project: Project) -> None:
    late = await built(project)
    newer = await project.publish()
    result = await late.run(deploy_to_runtime)
    assert (result["deployed"], result["superseded"]) == (False, True)
    assert newer["version"] in result["reason"]
    assert live(project) == newer["version"]


async def test_a_broken_release_never_goes_live_and_is_set_aside(project: Project) -> None:
    first = await project.publish()
    other = await built(project)
    (other.build / "404.html").unlink()
    with pytest.raises(ValidationError, match=r"404\.html is missing; production shows " + first["version"]):
        await other.run(deploy_to_runtime)
    assert live(project) == first["version"]
    assert list_releases(project.root, "shop") == [first["version"]]
    assert len(list((project.folder / "releases").glob("*.failed"))) == 1
    with pytest.raises(ValidationError, match="publish again"):
        await other.run(deploy_to_runtime)


async def test_without_rollback_a_broken_release_stays_for_repair(project: Project) -> None:
    first = await project.publish()
    other = await built(project)
    version = json.loads((other.build.parent / "build.json").read_text())["version"]
    release = release_folder(project.root, "shop", version)
    await make_release_but_fail_to_switch(other)
    content = (release / "404.html").read_bytes()
    (release / "404.html").write_text("damaged")
    with pytest.raises(ValidationError, match=r"404\.html has 7 bytes"):
        await other.run(deploy_to_runtime, rollback_enabled=False)
    assert live(project) == first["version"]
    (release / "404.html").write_bytes(content)
    assert (await other.run(deploy_to_runtime, rollback_enabled=False))["deployed"]
    assert live(project) == version


async def make_release_but_fail_to_switch(execution: Project) -> None:
    current = execution.folder / "current"
    current.unlink()
    current.mkdir()
    with pytest.raises(OSError, match="current"):
        await execution.run(deploy_to_runtime)
    current.rmdir()


@pytest.mark.parametrize("rollback", [True, False])
async def test_a_live_release_found_damaged_goes_back_to_the_one_before_if_wanted(
    project: Project, rollback: bool
) -> None:
    first = await project.publish()
    other = await built(project)
    second = await other.run(deploy_to_runtime)
    (project.folder / "current/404.html").unlink()
    with pytest.raises(ValidationError, match=r"404\.html cannot be read"):
        await other.run(deploy_to_runtime, rollback_enabled=rollback)
    assert live(project) == (first if rollback else second)["version"]


async def test_a_switch_that_fails_keeps_the_old_release_and_can_be_tried_again(project: Project) -> None:
    first = await project.publish()
    other = await built(project)
    await make_release_but_fail_to_switch(other)
    assert live(project) == first["version"]
    assert (await other.run(deploy_to_runtime))["previous"] == first["version"]
    assert (project.folder / "current").resolve().name == live(project) != first["version"]


async def test_deploying_nothing_says_which_steps_are_missing(project: Project) -> None:
    with pytest.raises(ValidationError, match="COMPILE_PAGES"):
        await project.run(deploy_to_runtime)


@pytest.mark.parametrize("environment", ["../x", "a/b", "", "x\n"])
async def test_an_environment_with_path_tricks_is_refused(project: Project, environment: str) -> None:
    other = await built(project)
    with pytest.raises(ValidationError, match="environment"):
        await other.run(deploy_to_runtime, environment=environment)
    assert not (project.folder / "environments").exists()


async def test_a_rollback_goes_to_the_release_before_the_live_one_and_forward_again(project: Project) -> None:
    first = await project.publish()
    project.save(page("home", "/", component("Header", "top", title="Second")), minute=1)
    second = await project.publish()
    result = await project.operate("rollback")
    assert (result["version"], result["previous"]) == (first["version"], second["version"])
    assert "First" in home(project)
    await project.operate("promote", version=second["version"])
    assert "Second" in home(project)
    assert len(list_releases(project.root, "shop")) == 2


async def test_a_release_is_promoted_to_the_environment_that_is_asked_for(project: Project) -> None:
    first = await project.publish()
    second = await project.publish()
    await project.operate("promote", version=first["version"], environment="staging")
    assert live(project, "staging") == first["version"]
    await project.operate("promote", environment="staging")
    assert live(project, "staging") == second["version"]
    await project.operate("rollback", environment="staging")
    assert live(project, "staging") == first["version"]
    assert live(project) == second["version"]


async def test_a_rollback_to_a_named_release_skips_those_between(project: Project) -> None:
    versions = [(await project.publish())["version"] for _ in range(3)]
    await project.operate("rollback", version=versions[0])
    assert live(project) == versions[0]


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (None, "input.action"),
        ("promote", "input.action"),
        ({"action": "explode"}, "input.action"),
        ({"action": "promote", "version": "../../etc"}, r"input\.version"),
        ({"action": "promote", "version": 7}, r"input\.version"),
        ({"action": "promote", "environment": "a/b"}, r"input\.environment"),
        ({"action": "promote", "version": "v0"}, "no release 'v0'; the newest are 20"),
        ({"action": "rollback"}, "none is left to roll back to"),
        ({"action": "rollback", "environment": "staging"}, "nothing is live in staging"),
    ],
)
async def test_a_wish_that_cannot_be_met_is_refused(project: Project, wish: Any, why: str) -> None:
    await project.publish()
    with pytest.raises(ValidationError, match=why):
        await project.run(verify_release, {"input": wish})


async def test_promoting_in_a_project_that_was_never_published_says_so(project: Project) -> None:
    with pytest.raises(ValidationError, match="never published"):
        await project.run(verify_release, {"input": {"action": "promote"}})


async def test_a_damaged_release_is_not_promoted(project: Project) -> None:
    first = await project.publish()
    await project.publish()
    (release_folder(project.root, "shop", first["version"]) / "index.html").write_text("defaced")
    with pytest.raises(ValidationError, match=r"damaged: index\.html has 7 bytes"):
        await project.run(verify_release, {"input": {"action": "rollback"}})
