from pathlib import Path

import pytest

from automation.errors import RefusedError
from automation.settings import Settings
from automation.watch import check_root


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    return Settings(watch_roots=(tmp_path / "in",))


def test_a_folder_that_may_be_watched_is_answered_without_symlinks(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "in" / "real").mkdir()
    (tmp_path / "in" / "link").symlink_to("real")

    for root in ("in", "in/real", "in/link", "in/not/yet/there", "in/real/../real"):
        check_root(str(tmp_path / root), settings, "config.root")
    assert check_root(str(tmp_path / "in" / "link"), settings, "config.root") == (tmp_path / "in" / "real").resolve()


@pytest.mark.parametrize(
    "root",
    ["{0}/out", "{0}/inside", "{0}", "/", "{0}/in/../out", "{0}/in/escape", "{0}/in/loop", "in", "", "{0}/in/\0"],
)
def test_a_root_outside_is_refused_also_by_way_of_a_symlink(tmp_path: Path, settings: Settings, root: str) -> None:
    (tmp_path / "in" / "escape").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in" / "loop")

    with pytest.raises(RefusedError) as caught:
        check_root(root.format(tmp_path), settings, "config.root")

    assert caught.value.field == "config.root"


def test_without_watch_roots_nothing_may_be_watched(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="AUTOMATION_WATCH_ROOTS is not set"):
        check_root(str(tmp_path), Settings(watch_roots=()), "config.root")
