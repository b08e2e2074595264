"""Releases: complete or not there, switched in one step, checked before."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from automation.runtime.builds import Build, build_folder, new_version, open_build, start_build
from automation.runtime.health import check_release
from automation.runtime.releases import (
    create_release,
    environments,
    list_files,
    list_releases,
    live_version,
    previous_release,
    prune,
    read_release,
    release_folder,
    release_of,
    set_aside,
    switch,
)

EXECUTION = "1f0c9a2b-0000-4000-8000-000000000000"
PAGE = '<!doctype html><link rel="stylesheet" href="assets/site.css"><a href="about/">About</a>'
ABOUT = '<!doctype html><script src="../assets/site.js"></script><a href="../">Home</a><a href="../#x">X</a>'
FILES = {
    "index.html": PAGE,
    "about/index.html": ABOUT,
    "404.html": "<!doctype html><p>Nothing here",
    "assets/site.css": "p{}",
    "assets/site.js": "1",
}


def release(root: Path, version: str, files: dict[str, str] = FILES, execution_id: str = EXECUTION) -> Path:
    site = root / "site-to-be"
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(content)
    return create_release(
        root, "shop", site, version=version, execution_id=execution_id, created_at="2026-01-15", pages=["/"]
    )


def test_versions_sort_by_time_and_tell_the_execution() -> None:
    first = new_version(datetime(2026, 1, 15, 10, 30, 0, 123_456, tzinfo=UTC), EXECUTION)
    second = new_version(datetime(2026, 1, 15, 10, 30, 0, 124_000, tzinfo=UTC), "0" + EXECUTION)
    assert first == "20260115T103000123Z-1f0c9a2b"
    assert first < second


def test_a_release_lists_its_files_and_is_fit_to_go_live(tmp_path: Path) -> None:
    folder = release(tmp_path, "v1")
    listed = read_release(folder)
    assert set(listed.files) == set(FILES)
    assert listed.files["assets/site.css"].bytes == 3
    assert (listed.version, listed.execution_id, listed.pages) == ("v1", EXECUTION, ["/"])
    health = check_release(folder)
    assert (health.faults, health.warnings) == ([], [])


def test_making_a_release_again_finds_it(tmp_path: Path) -> None:
    folder = release(tmp_path, "v1")
    before = (folder / ".release.json").read_bytes()
    again = create_release(
        tmp_path, "shop", tmp_path / "gone", version="v1", execution_id="other", created_at="", pages=[]
    )
    assert again == folder
    assert (folder / ".release.json").read_bytes() == before


def test_a_release_of_nothing_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone"):
        create_release(tmp_path, "shop", tmp_path / "gone", version="v1", execution_id="e", created_at="", pages=[])
    assert list(tmp_path.iterdir()) == []


def test_a_release_is_found_by_the_execution_that_made_it(tmp_path: Path) -> None:
    release(tmp_path, "1-1f0c9a2b")
    release(tmp_path, "2-1f0c9a2b", execution_id="1f0c9a2b-ffff")
    assert release_of(tmp_path, "shop", EXECUTION) == "1-1f0c9a2b"
    assert release_of(tmp_path, "shop", "1f0c9a2b-ffff") == "2-1f0c9a2b"
    assert release_of(tmp_path, "shop", "1f0c9a2b-eeee") is None


def test_nothing_is_live_before_the_first_switch(tmp_path: Path) -> None:
    assert live_version(tmp_path, "shop", "production") is None
    assert environments(tmp_path, "shop") == {}
    assert list_releases(tmp_path, "shop") == []


def test_current_follows_production_and_no_other_environment(tmp_path: Path) -> None:
    one, two = release(tmp_path, "v1"), release(tmp_path, "v2")
    switch(tmp_path, "shop", "production", "v1")
    switch(tmp_path, "shop", "staging", "v2")
    current = tmp_path / "shop/current"
    assert current.resolve() == one
    assert not current.readlink().is_absolute()
    switch(tmp_path, "shop", "production", "v2")
    assert current.resolve() == two
    assert environments(tmp_path, "shop") == {"production": "v2", "staging": "v2"}


def test_the_whole_folder_may_be_moved(tmp_path: Path) -> None:
    release(tmp_path / "here", "v1")
    switch(tmp_path / "here", "shop", "production", "v1")
    (tmp_path / "here").rename(tmp_path / "there")
    assert (tmp_path / "there/shop/current/index.html").read_text() == PAGE


def test_a_switch_that_fails_leaves_what_was_live(tmp_path: Path) -> None:
    release(tmp_path, "v1")
    (tmp_path / "shop/current").mkdir()
    with pytest.raises(OSError, match="current"):
        switch(tmp_path, "shop", "production", "v1")
    assert live_version(tmp_path, "shop", "production") is None
    assert not list((tmp_path / "shop").glob(".*.tmp"))


def test_an_unfinished_switch_is_no_environment(tmp_path: Path) -> None:
    release(tmp_path, "v1")
    switch(tmp_path, "shop", "production", "v1")
    (tmp_path / "shop/environments/.0123456789abcdef0123456789abcdef.tmp").symlink_to("../releases/v9")
    assert environments(tmp_path, "shop") == {"production": "v1"}


def test_the_oldest_releases_go_but_never_one_that_is_live(tmp_path: Path) -> None:
    for number in range(1, 7):
        release(tmp_path, f"v{number}")
    switch(tmp_path, "shop", "production", "v1")
    assert prune(tmp_path, "shop", keep=2) == ["v4", "v3", "v2"]
    assert list_releases(tmp_path, "shop") == ["v6", "v5", "v1"]
    assert prune(tmp_path, "shop", keep=2) == []


def test_a_broken_release_is_kept_aside_and_is_no_release_any_more(tmp_path: Path) -> None:
    for number in range(1, 6):
        release(tmp_path, f"v{number}")
    for number in range(2, 5):
        assert set_aside(tmp_path, "shop", f"v{number}").name == f"v{number}.failed"
    assert list_releases(tmp_path, "shop") == ["v5", "v1"]
    assert previous_release(tmp_path, "shop", "v5") == "v1"
    assert prune(tmp_path, "shop", keep=2) == ["v2.failed"]


def test_the_release_before_the_oldest_is_none(tmp_path: Path) -> None:
    release(tmp_path, "v1")
    assert previous_release(tmp_path, "shop", "v1") is None


def damaged(tmp_path: Path, path: str, content: str | None) -> list[str]:
    folder = release(tmp_path, "v1")
    if content is None:
        (folder / path).unlink()
    else:
        (folder / path).write_text(content)
    return check_release(folder).faults


def test_damage_of_any_kind_is_found_and_named(tmp_path: Path) -> None:
    assert damaged(tmp_path / "a", "about/index.html", None) == [
        "about/index.html cannot be read: No such file or directory"
    ]
    assert damaged(tmp_path / "b", "assets/site.css", "p{") == ["assets/site.css has 2 bytes instead of 3"]
    [changed] = damaged(tmp_path / "c", "assets/site.css", "q{}")
    assert changed == "assets/site.css has changed since the release was made"
    [unreadable] = damaged(tmp_path / "d", ".release.json", '{"files": 3}')
    assert "list of files" in unreadable
    [absent] = damaged(tmp_path / "e", ".release.json", None)
    assert "list of files" in absent


@pytest.mark.parametrize("missing", ["index.html", "404.html"])
def test_a_site_needs_a_start_page_and_a_page_for_what_is_not_found(tmp_path: Path, missing: str) -> None:
    folder = release(tmp_path, "v1", {path: text for path, text in FILES.items() if path != missing})
    assert f"{missing} is missing" in check_release(folder).faults


def test_a_page_whose_style_or_script_is_missing_is_a_fault(tmp_path: Path) -> None:
    folder = release(tmp_path, "v1", {path: text for path, text in FILES.items() if "site" not in path})
    assert check_release(folder).faults == [
        "about/index.html: '../assets/site.js' leads nowhere",
        "index.html: 'assets/site.css' leads nowhere",
    ]


def test_a_dead_link_that_somebody_put_into_a_page_is_only_a_warning(tmp_path: Path) -> None:
    dead = ["gone/", "../../etc/passwd", "/absolute", "http://["]
    fine = ["caf%C3%A9/", "about/?a=1#b", "#top", "//else.where/", "mailto:a@b.c"]
    body = "".join(f'<a href="{link}">x</a>' for link in dead + fine) + '<img src="no.png">'
    folder = release(tmp_path, "v1", FILES | {"index.html": body, "café/index.html": ""})
    health = check_release(folder)
    assert health.faults == []
    assert health.warnings == [f"index.html: {link!r} leads nowhere" for link in [*dead, "no.png"]]


def test_hidden_files_are_not_published(tmp_path: Path) -> None:
    folder = release(tmp_path, "v1", FILES | {".secret": "x", ".well/known": "x"})
    assert list_files(folder) == sorted(FILES)


def build(tmp_path: Path, version: str = "v1") -> Build:
    folder = build_folder(tmp_path, "shop", EXECUTION)
    return Build(folder, version, minify=True, optimize_images=False, routes=["/"], pages=[{"id": "é"}])


def test_a_build_is_read_as_it_was_started(tmp_path: Path) -> None:
    started = build(tmp_path)
    assert open_build(started.folder) is None
    start_build(started, {"about/index.html": "é"})
    assert open_build(started.folder) == started
    assert (started.site / "about/index.html").read_text() == "é"


def test_a_new_start_replaces_what_an_earlier_try_left(tmp_path: Path) -> None:
    half = build_folder(tmp_path, "shop", EXECUTION)
    (half / "site/old").mkdir(parents=True)
    (half.parent / ".0123456789abcdef0123456789abcdef.tmp/site").mkdir(parents=True)
    assert open_build(half) is None
    start_build(build(tmp_path, "v2"), {"index.html": ""})
    assert [file.name for file in (half / "site").iterdir()] == ["index.html"]
    reopened = open_build(half)
    assert reopened is not None
    assert reopened.version == "v2"


def test_a_release_takes_the_folder_of_its_build(tmp_path: Path) -> None:
    started = build(tmp_path)
    start_build(started, FILES)
    create_release(tmp_path, "shop", started.site, version="v1", execution_id=EXECUTION, created_at="", pages=["/"])
    assert not started.site.exists()
    assert check_release(release_folder(tmp_path, "shop", "v1")).faults == []
