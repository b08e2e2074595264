from pathlib import Path
from uuid import uuid4

from automation.triggers.types import FileChangeConfig
from automation.watch.tree import Tree
from automation.watch.watcher import Watched


def watched(root: str = "/srv/in") -> Watched:
    config = FileChangeConfig(root=root, settle_seconds=2)
    return Watched(uuid4(), "p1", config, Path(root), Tree())


def test_a_burst_is_over_when_nothing_came_for_its_settle_seconds() -> None:
    one = watched()
    assert one.due is None

    one.hint()
    one.first_hint, one.last_hint = 100.0, 101.5

    assert one.due == 103.5


def test_a_burst_without_end_is_over_some_time() -> None:
    one = watched()
    one.first_hint, one.last_hint = 100.0, 1000.0

    assert one.due == 100.0 + 2 * 60


def test_a_hint_concerns_the_folder_its_parents_and_what_is_below() -> None:
    one = watched()

    assert [one.concerns(f) for f in ("/srv/in", "/srv/in/a/b", "/srv", "/srv/index", "/srv/i", "/tmp")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
