import os
from pathlib import Path

import pytest

from automation.watch.tree import Tree, changes, look, shown


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "root"
    root.mkdir()
    return root


def test_what_was_created_modified_and_deleted_between_two_looks_is_found(root: Path) -> None:
    for name in ("same", "changed", "replaced", "gone"):
        (root / name).write_text("1")
    before = look(root)

    (root / "sub").mkdir()
    (root / "sub" / "new").write_text("1")
    (root / "changed").write_text("22")
    (root / "temporary").write_text("1")
    (root / "temporary").rename(root / "replaced")
    (root / "gone").unlink()

    assert list(changes(before, look(root))) == [
        ("changed", "modified"),
        ("gone", "deleted"),
        ("replaced", "modified"),
        ("sub/new", "created"),
    ]


def test_reading_and_changing_rights_is_no_change(root: Path) -> None:
    (root / "a").write_text("1")
    before = look(root)

    (root / "a").read_text()
    (root / "a").chmod(0o600)

    assert list(changes(before, look(root))) == []


def test_symlinks_count_only_if_they_lead_to_a_file_below_the_root_and_none_is_followed(root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text("1")
    (root / "file").write_text("1")
    (root / "in").symlink_to("file")
    (root / "out").symlink_to(outside / "secret")
    (root / "through").symlink_to(outside)
    (root / "up").symlink_to("..")
    (root / "self").symlink_to(root)
    (root / "loop").symlink_to("loop")
    (root / "broken").symlink_to("missing")

    tree = look(root)

    assert set(tree.files) == {"file", "in"}
    assert set(tree.folders) == {str(root)}


def test_pipes_and_other_things_are_no_files(root: Path) -> None:
    os.mkfifo(root / "pipe")

    assert look(root).files == {}


def test_a_root_that_is_missing_a_file_or_has_become_a_symlink_has_no_files(root: Path) -> None:
    (root / "a").write_text("1")
    (root.parent / "link").symlink_to(root)

    assert look(root / "missing") == look(root / "a") == look(root.parent / "link") == Tree()


def test_a_folder_that_cannot_be_read_is_passed_over(root: Path) -> None:
    (root / "a").write_text("1")
    name = "d" * os.pathconf(root, "PC_NAME_MAX")
    inside = os.open(root, os.O_RDONLY)
    for _ in range(os.pathconf(root, "PC_PATH_MAX") // len(name) + 1):  # too long a path is refused to root, too
        os.mkdir(name, dir_fd=inside)
        outside, inside = inside, os.open(name, os.O_RDONLY, dir_fd=inside)
        os.close(outside)
    os.close(inside)

    assert set(look(root).files) == {"a"}


def test_a_name_that_is_no_text_is_spelled_out(root: Path) -> None:
    with open(os.fsencode(root) + b"/\xff\xc3\xa9", "w"):  # noqa: PTH123
        pass

    [path] = look(root).files
    assert shown(path) == "\\xffé"
