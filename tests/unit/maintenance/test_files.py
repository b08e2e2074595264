"""Which leftovers go, and what must stay."""

import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from automation.maintenance import delete_page_backups, delete_temporary
from automation.models import utc_now

TEMP = ".0123456789abcdef0123456789abcdef.tmp"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runtime"


@pytest.fixture
def yesterday() -> datetime:
    return utc_now() - timedelta(hours=24)


def write(path: Path, *, hours_old: float = 100, text: str = "four") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    age(path, hours_old)
    return path


def age(path: Path, hours_old: float = 100) -> None:
    then = (utc_now() - timedelta(hours=hours_old)).timestamp()
    os.utime(path, (then, then), follow_symlinks=False)


def test_old_temporary_files_go_and_are_counted(root: Path, yesterday: datetime) -> None:
    names = (f"shop/pages/{TEMP}", "shop/pages/.deleted/half.tmp", "half.tmp")
    old = [write(root / name) for name in names]
    removed = delete_temporary(root, yesterday)
    assert (removed.files, removed.bytes) == (3, 12)
    assert not any(path.exists() for path in old)


def test_fresh_temporary_files_stay(root: Path, yesterday: datetime) -> None:
    fresh = write(root / "shop/pages" / TEMP, hours_old=1)
    assert delete_temporary(root, yesterday).files == 0
    assert fresh.exists()


def test_what_a_killed_process_left_of_a_release_or_a_link_goes(root: Path, yesterday: datetime) -> None:
    half = write(root / "shop/releases" / TEMP / "index.html").parent
    live = write(root / "shop/releases/v1/index.html").parent
    link = root / "shop/environments" / TEMP
    link.parent.mkdir()
    link.symlink_to("../releases/v1")
    for path in (half, live, link):
        age(path)
    delete_temporary(root, yesterday)
    assert not half.exists()
    assert not link.is_symlink()
    assert (live / "index.html").exists()


def test_an_old_build_goes_unless_it_is_still_needed(root: Path, yesterday: datetime) -> None:
    names = ("done", "needed", "fresh")
    builds = [write(root / f"shop/builds/{name}/site/index.html").parents[1] for name in names]
    for build in builds[:2]:
        age(build)
    assert delete_temporary(root, yesterday, keep={"needed"}).files == 1
    assert [build.exists() for build in builds] == [False, True, True]


@pytest.mark.parametrize(
    "name",
    [
        "shop/pages/home.json", "shop/pages/home.previous.json", "shop/pages/.deleted/about.json",
        "shop/releases/v1/index.html", "shop/releases/v1/download.tmp", "shop.tmp/pages/home.json",
        f"{TEMP}/pages/home.json", "shop/environments/x.tmp/note", "shop/.pages.lock",
    ],
)  # fmt: skip
def test_what_people_made_stays_however_old_it_is(root: Path, yesterday: datetime, name: str) -> None:
    path = write(root / name)
    for parent in path.parents:
        if parent == root:
            break
        age(parent)
    assert delete_temporary(root, yesterday).files == 0
    assert path.exists()


def test_links_are_not_followed(root: Path, tmp_path: Path, yesterday: datetime) -> None:
    outside = write(tmp_path / "outside/precious.tmp")
    age(outside.parent)
    for link in ("project", "shop/pages", f"shop/builds/{'b' * 8}", f"shop/builds/{TEMP}", "shop/plain.tmp"):
        path = root / link
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(outside.parent)
        age(path)
    delete_temporary(root, yesterday)
    delete_page_backups(root, yesterday)
    assert outside.exists()


def test_a_folder_that_does_not_exist_yet_holds_nothing(root: Path, yesterday: datetime) -> None:
    assert delete_temporary(root, yesterday).files == 0
    assert delete_page_backups(root, yesterday).files == 0


def test_the_root_itself_may_be_a_link(root: Path, tmp_path: Path, yesterday: datetime) -> None:
    (tmp_path / "big-disk").mkdir()
    root.symlink_to(tmp_path / "big-disk")
    old = write(tmp_path / "big-disk/shop/half.tmp")
    assert delete_temporary(root, yesterday).files == 1
    assert not old.exists()


def test_backups_of_deleted_pages_go_with_their_previous_version(root: Path, yesterday: datetime) -> None:
    pages = root / "shop/pages"
    gone = [write(pages / ".deleted/old.json"), write(pages / "old.previous.json")]
    kept = [
        write(pages / ".deleted/fresh.json", hours_old=1), write(pages / "fresh.previous.json"),
        write(pages / ".deleted/again.json"), write(pages / "again.json"),
        write(pages / "again.previous.json"),
    ]  # fmt: skip
    assert delete_page_backups(root, yesterday).files == 2
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in kept)
