import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update

from automation.database import Database
from automation.models import Event, Execution, Trigger
from automation.models.channels import TRIGGERS_CHANNEL
from automation.settings import Settings
from automation.watch import Watcher
from tests.integration import rows

SETTLE = 0.15


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "watched" / "in"
    root.mkdir(parents=True)
    return root


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(watch_roots=(tmp_path / "watched",))


@pytest.fixture
async def watcher(database: Database, settings: Settings) -> AsyncIterator[Watcher]:
    """A watcher whose rounds the test makes; it holds no lock."""
    watcher = Watcher(database, settings)
    yield watcher
    watcher.stop()


async def trigger(database: Database, root: Path, project_id: str | None = "p1", **config: Any) -> UUID:
    workflow_id = await rows.workflow(database, project_id=project_id, kind="custom-workflow")
    config = {"root": str(root), "settle_seconds": SETTLE, **config}
    made = Trigger(
        id=uuid4(), workflow_id=workflow_id, project_id=project_id, trigger_type="FILE_CHANGE", config=config
    )
    await rows.write(database, made)
    return made.id


async def events(database: Database) -> list[Event]:
    async with database.transaction() as session:
        return list(await session.scalars(select(Event).order_by(Event.received_at)))


async def rounds_until(watcher: Watcher, count: int) -> list[Event]:
    """Let the watcher work until there are so many events."""

    async def there() -> bool:
        return len(await events(watcher.database)) >= count

    async with asyncio.timeout(60):
        while not await there():
            await watcher.round()
            await asyncio.sleep(0.02)
    return await events(watcher.database)


def make(root: Path, name: str, text: str = "1") -> None:
    root.mkdir(exist_ok=True)
    (root / name).write_text(text)


def told(event: Event) -> dict[str, str]:
    """What an event says of each path."""
    return {one["path"]: one["change"] for one in event.data["changes"]}


# --- what fires ---------------------------------------------------------------------------------------------


async def test_files_that_are_created_modified_and_deleted_fire_with_their_paths(
    database: Database, watcher: Watcher, root: Path
) -> None:
    for name in ("changed", "gone", "same"):
        (root / name).write_text("1")
    await trigger(database, root)
    await watcher.round()

    (root / "new").write_text("1")
    (root / "changed").write_text("22")
    (root / "gone").unlink()
    [event] = await rounds_until(watcher, 1)

    assert (event.type, event.project_id, event.source) == ("file.changed", "p1", "files")
    assert event.data == {
        "project_id": "p1",
        "root": str(root),
        "changes": [
            {"path": "changed", "change": "modified"},
            {"path": "gone", "change": "deleted"},
            {"path": "new", "change": "created"},
        ],
        "count": 3,
    }
    [execution] = await rows.every(database, Execution)
    assert execution.trigger_type == "FILE_CHANGE"
    assert execution.trigger_data == event.data


async def test_a_burst_fires_once_and_lists_a_thousand_changes_at_most(
    database: Database, watcher: Watcher, root: Path
) -> None:
    await trigger(database, root)
    await watcher.round()

    for number in range(1100):
        (root / f"{number:04}").write_text("1")
    [event] = await rounds_until(watcher, 1)
    (root / "later").write_text("1")
    [_, later] = await rounds_until(watcher, 2)

    assert (len(event.data["changes"]), event.data["count"]) == (1000, 1100)
    assert told(later) == {"later": "created"}


async def test_a_file_that_comes_and_goes_within_a_burst_fires_nothing(
    database: Database, watcher: Watcher, root: Path
) -> None:
    await trigger(database, root)
    await watcher.round()

    (root / "temporary").write_text("1")
    (root / "temporary").rename(root / "final")
    [event] = await rounds_until(watcher, 1)

    assert told(event) == {"final": "created"}


async def test_only_what_the_glob_and_on_name_fires(database: Database, watcher: Watcher, root: Path) -> None:
    (root / "old.csv").write_text("1")
    await trigger(database, root, glob="**/*.csv", on="created")
    await watcher.round()

    (root / "old.csv").write_text("22")
    (root / "note.txt").write_text("1")
    (root / "new.csv").write_text("1")
    [event] = await rounds_until(watcher, 1)

    assert told(event) == {"new.csv": "created"}


async def test_folders_that_are_made_later_are_watched_too(database: Database, watcher: Watcher, root: Path) -> None:
    await trigger(database, root)
    await watcher.round()

    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "first").write_text("1")
    await rounds_until(watcher, 1)
    (root / "a" / "b" / "second").write_text("1")
    [first, second] = await rounds_until(watcher, 2)

    assert told(first) == {"a/b/first": "created"}
    assert told(second) == {"a/b/second": "created"}


async def test_two_triggers_may_watch_one_root_and_the_platforms_have_no_project(
    database: Database, watcher: Watcher, root: Path
) -> None:
    await trigger(database, root)
    await trigger(database, root, project_id=None)
    await watcher.round()

    (root / "a").write_text("1")

    assert {one.project_id for one in await rounds_until(watcher, 2)} == {"p1", ""}


# --- symlinks and roots -------------------------------------------------------------------------------------


async def test_nothing_outside_the_root_fires_at_a_symlink_or_through_one(
    database: Database, watcher: Watcher, root: Path
) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_text("1")
    (root / "before").symlink_to(outside)
    await trigger(database, root)
    await watcher.round()

    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "before" / "through").write_text("1")
    (outside / "secret").write_text("22")
    (root / "before").unlink()
    (root / "inside").write_text("1")
    [event] = await rounds_until(watcher, 1)

    assert told(event) == {"inside": "created"}


async def test_a_symlink_to_a_file_below_the_root_is_one_of_its_files(
    database: Database, watcher: Watcher, root: Path
) -> None:
    (root / "file").write_text("1")
    await trigger(database, root)
    await watcher.round()

    (root / "link").symlink_to("file")
    (root / "link").write_text("22")
    [event] = await rounds_until(watcher, 1)

    assert told(event) == {"file": "modified", "link": "created"}


async def test_a_root_outside_of_the_watch_roots_is_not_watched_and_the_log_says_so_once(
    database: Database, watcher: Watcher, root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (root.parent / "link").symlink_to(outside)
    await trigger(database, outside)
    await trigger(database, root.parent / "link")
    await trigger(database, root)
    for _ in range(2):
        watcher.read_again()
        await watcher.round()

    (outside / "a").write_text("1")
    (root / "b").write_text("1")
    [event] = await rounds_until(watcher, 1)

    assert told(event) == {"b": "created"}
    assert caplog.text.count("watches nothing") == 2


async def test_a_root_that_is_not_there_is_a_warning_once_and_watched_when_it_appears_and_appears_again(
    database: Database, watcher: Watcher, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(root)
    await trigger(database, root)
    for _ in range(3):
        await watcher.round()
    assert caplog.text.count("watched when it appears") == 1

    make(root, "a")
    assert told((await rounds_until(watcher, 1))[-1]) == {"a": "created"}
    shutil.rmtree(root)
    assert told((await rounds_until(watcher, 2))[-1]) == {"a": "deleted"}
    assert caplog.text.count("watched when it appears") == 2
    make(root, "b")
    assert told((await rounds_until(watcher, 3))[-1]) == {"b": "created"}


# --- the process --------------------------------------------------------------------------------------------


async def count(database: Database) -> int:
    async with database.transaction() as session:
        return await session.scalar(select(func.count()).select_from(Event)) or 0


async def changes_until_seen(database: Database, root: Path) -> None:
    """Change a file again and again until somebody has seen it."""
    before, size = await count(database), 0
    async with asyncio.timeout(60):
        while await count(database) == before:
            size += 1
            make(root, "a", "x" * size)
            await asyncio.sleep(SETTLE * 3)


async def test_one_process_watches_learns_of_new_triggers_and_is_taken_over(
    database: Database, settings: Settings, root: Path
) -> None:
    first = asyncio.create_task(Watcher(database, settings).run())
    await trigger(database, root)
    async with database.transaction() as session:
        await session.execute(select(func.pg_notify(TRIGGERS_CHANNEL, "")))
    await changes_until_seen(database, root)

    second = asyncio.create_task(Watcher(database, settings).run())
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await changes_until_seen(database, root)

    second.cancel()
    await asyncio.gather(second, return_exceptions=True)


async def test_a_trigger_that_is_switched_off_is_watched_no_more(
    database: Database, watcher: Watcher, root: Path
) -> None:
    off, _ = await trigger(database, root), await trigger(database, root, glob="b")
    await watcher.round()
    async with database.transaction() as session:
        await session.execute(update(Trigger).where(Trigger.id == off).values(is_active=False))
    watcher.read_again()
    await watcher.round()

    (root / "a").write_text("1")
    (root / "b").write_text("1")
    [event] = await rounds_until(watcher, 1)

    assert told(event) == {"b": "created"}
