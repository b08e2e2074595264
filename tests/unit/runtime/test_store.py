"""Saved pages: the newest is on disk, whatever comes in whatever order."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.errors import ValidationError
from automation.runtime.store import (
    Stamp,
    delete_page,
    list_pages,
    page_file,
    preview_save,
    read_page,
    save_page,
    version_of,
)

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def page(text: str = "", **more: Any) -> dict[str, Any]:
    return {"id": "home", "name": "Accueil", "route": "/", "config": {"text": text}, **more}


def stamp(minute: int, version: int | None = None, execution_id: str = "e") -> Stamp:
    return Stamp(NOON + timedelta(minutes=minute), version, execution_id)


def save(root: Path, document: dict[str, Any], minute: int, *, backup: bool = True) -> bool:
    at = stamp(minute, version_of(document))
    return save_page(root, "shop", document, at, backup_previous=backup).saved


def previous(root: Path) -> str | None:
    file = root / "shop/pages/home.previous.json"
    return json.loads(file.read_text())["config"]["text"] if file.exists() else None


def test_the_file_is_the_page_as_it_was_sent_with_its_order_under_one_key(tmp_path: Path) -> None:
    sent = page("é", version=3, more={"unknown": [1, 2.5, None]})
    save(tmp_path, sent, 0)
    stored = json.loads((tmp_path / "shop/pages/home.json").read_text())
    assert stored.pop("_saved") == {"occurred_at": NOON.isoformat(), "version": 3, "execution_id": "e"}
    assert stored == sent
    assert read_page(tmp_path, "shop", "home") == sent


def test_a_newer_page_is_never_overwritten_by_an_older_one(tmp_path: Path) -> None:
    save(tmp_path, page("new", version=9), 0)
    result = save_page(tmp_path, "shop", page("old", version=7), stamp(5, 7), backup_previous=True)
    assert result.saved is False
    assert result.reason == "page 'home' version 7 is older than the saved version 9; nothing written"
    assert read_page(tmp_path, "shop", "home") == page("new", version=9)
    assert previous(tmp_path) is None


def test_without_versions_the_time_of_the_event_decides(tmp_path: Path) -> None:
    save(tmp_path, page("later"), 2)
    result = save_page(tmp_path, "shop", page("earlier"), stamp(1), backup_previous=True)
    assert not result.saved
    assert "12:01" in result.reason
    assert "12:02" in result.reason
    assert read_page(tmp_path, "shop", "home") == page("later")


def test_a_version_on_one_side_only_does_not_count(tmp_path: Path) -> None:
    save(tmp_path, page("with", version=9), 0)
    assert save(tmp_path, page("without"), 1)
    assert not save(tmp_path, page("before", version=10), 0)


def test_the_same_version_again_with_a_later_event_is_saved(tmp_path: Path) -> None:
    save(tmp_path, page("one", version=3), 0)
    assert save(tmp_path, page("two", version=3), 1)
    assert not save(tmp_path, page("zero", version=3), 0)
    assert read_page(tmp_path, "shop", "home") == page("two", version=3)


def test_what_a_save_replaces_is_kept_beside_it(tmp_path: Path) -> None:
    for minute, text in enumerate(["one", "two", "three"]):
        save(tmp_path, page(text), minute)
    assert previous(tmp_path) == "two"


def test_without_backup_nothing_is_kept_and_an_older_backup_stays(tmp_path: Path) -> None:
    save(tmp_path, page("one"), 0)
    save(tmp_path, page("two"), 1, backup=False)
    assert previous(tmp_path) is None
    save(tmp_path, page("three"), 2)
    save(tmp_path, page("four"), 3, backup=False)
    assert previous(tmp_path) == "two"


def test_the_same_save_again_changes_nothing_and_answers_the_same(tmp_path: Path) -> None:
    save(tmp_path, page("one"), 0)
    first = save_page(tmp_path, "shop", page("two"), stamp(1), backup_previous=True)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "shop/pages").iterdir()}
    second = save_page(tmp_path, "shop", page("two"), stamp(1), backup_previous=True)
    assert first == second
    assert first.previous == page("one")
    assert previous(tmp_path) == "one"
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "shop/pages").iterdir()} == before


def test_a_preview_tells_the_outcome_and_writes_nothing(tmp_path: Path) -> None:
    assert preview_save(tmp_path, "shop", page("one"), stamp(0)).saved
    assert list(tmp_path.iterdir()) == []
    save(tmp_path, page("one"), 1)
    assert preview_save(tmp_path, "shop", page("two"), stamp(2)).previous == page("one")
    assert not preview_save(tmp_path, "shop", page("zero"), stamp(0)).saved
    assert read_page(tmp_path, "shop", "home") == page("one")


def test_a_deleted_page_is_no_longer_listed_and_its_files_are_kept(tmp_path: Path) -> None:
    save(tmp_path, page("one"), 0)
    save(tmp_path, page("two"), 1)
    save_page(tmp_path, "shop", {**page(), "id": "other"}, stamp(0), backup_previous=True)
    assert delete_page(tmp_path, "shop", "home", stamp(2)).saved
    assert [one["id"] for one in list_pages(tmp_path, "shop")] == ["other"]
    assert read_page(tmp_path, "shop", "home") is None
    assert previous(tmp_path) == "one"
    assert json.loads((tmp_path / "shop/pages/.deleted/home.json").read_text())["config"] == {"text": "two"}


def test_a_newer_save_revives_a_deleted_page_and_an_older_one_does_not(tmp_path: Path) -> None:
    save(tmp_path, page("one"), 0)
    delete_page(tmp_path, "shop", "home", stamp(5))
    assert not save(tmp_path, page("late"), 3)
    assert read_page(tmp_path, "shop", "home") is None
    assert save(tmp_path, page("again"), 6)
    assert read_page(tmp_path, "shop", "home") == page("again")
    assert previous(tmp_path) == "one"
    assert not (tmp_path / "shop/pages/.deleted/home.json").exists()


def test_a_deletion_that_comes_before_the_page_still_counts(tmp_path: Path) -> None:
    delete_page(tmp_path, "shop", "home", stamp(5))
    assert not save(tmp_path, page("late"), 3)
    assert list_pages(tmp_path, "shop") == []


def test_a_deletion_older_than_the_page_does_nothing(tmp_path: Path) -> None:
    save(tmp_path, page("again"), 6)
    result = delete_page(tmp_path, "shop", "home", stamp(5))
    assert not result.saved
    assert "deletion" in result.reason
    assert read_page(tmp_path, "shop", "home") == page("again")


def test_a_deletion_killed_halfway_counts_and_a_revival_killed_halfway_too(tmp_path: Path) -> None:
    save(tmp_path, page("one"), 0)
    file = page_file(tmp_path, "shop", "home")
    content = file.read_bytes()
    delete_page(tmp_path, "shop", "home", stamp(1))
    file.write_bytes(content)  # the kill came before the page itself was removed
    assert list_pages(tmp_path, "shop") == []
    tombstone = (tmp_path / "shop/pages/.deleted/home.json").read_bytes()
    save(tmp_path, page("two"), 2)
    (tmp_path / "shop/pages/.deleted/home.json").write_bytes(tombstone)  # … or before the deletion was
    assert list_pages(tmp_path, "shop") == [page("two")]


def test_a_leftover_of_a_killed_save_is_no_page_and_disturbs_no_later_save(tmp_path: Path) -> None:
    save(tmp_path, page("one"), 0)
    (tmp_path / "shop/pages/.0123456789abcdef0123456789abcdef.tmp").write_bytes(b'{"id": "ho')
    assert list_pages(tmp_path, "shop") == [page("one")]
    assert save(tmp_path, page("two"), 1)
    assert list_pages(tmp_path, "shop") == [page("two")]


def test_a_failing_save_leaves_the_old_page_and_no_temporary_file(tmp_path: Path) -> None:
    save(tmp_path, page("one"), 0)
    with pytest.raises(TypeError):
        save(tmp_path, page("\ud800"), 1)
    assert read_page(tmp_path, "shop", "home") == page("one")
    assert list((tmp_path / "shop/pages").glob("*.tmp")) == []


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"id": "home"}', b"\xff"])
def test_a_damaged_file_is_named_and_healed_by_the_next_save(tmp_path: Path, damage: bytes) -> None:
    save(tmp_path, page("one"), 5)
    page_file(tmp_path, "shop", "home").write_bytes(damage)
    with pytest.raises(ValidationError, match=r"home\.json is damaged"):
        list_pages(tmp_path, "shop")
    assert save(tmp_path, page("two"), 1)
    assert list_pages(tmp_path, "shop") == [page("two")]


def test_pages_of_a_project_that_nobody_knows_are_none(tmp_path: Path) -> None:
    assert list_pages(tmp_path, "nobody") == []
    assert list(tmp_path.iterdir()) == []


def test_of_many_saves_at_once_the_newest_stays_and_the_backup_is_a_whole_page(tmp_path: Path) -> None:
    numbers = [number * 7 % 60 for number in range(60)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: save(tmp_path, page(str(number), version=number), 0), numbers))
    assert read_page(tmp_path, "shop", "home") == page("59", version=59)
    assert previous(tmp_path) is not None


Operation = tuple[str, int, int | None]  # what, minute, version


@st.composite
def operations(draw: st.DrawFn) -> list[Operation]:
    """Saves and deletions, some of them delivered twice; either all with versions or all without."""
    versions = st.integers(0, 5) if draw(st.booleans()) else st.none()
    one = st.tuples(st.sampled_from(["save", "save", "delete"]), st.integers(0, 5), versions)
    once = draw(st.lists(one, min_size=1, max_size=8))
    return draw(st.permutations(once + draw(st.lists(st.sampled_from(once), max_size=4))))


@given(operations())
def test_after_any_sequence_the_newest_state_is_on_disk(sequence: list[Operation]) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for what, minute, version in sequence:
            text = f"{minute} {version}"
            if what == "delete":
                delete_page(root, "shop", "home", stamp(minute, version))
            else:
                save_page(root, "shop", page(text), stamp(minute, version), backup_previous=True)
        arrived = enumerate(sequence)
        newest = max(arrived, key=lambda one: (one[1][2] or 0, one[1][1], one[0]))[1]
        expected = page(f"{newest[1]} {newest[2]}") if newest[0] == "save" else None
        assert read_page(root, "shop", "home") == expected
        assert list_pages(root, "shop") == ([expected] if expected else [])
        assert not list(root.rglob("*.tmp"))
