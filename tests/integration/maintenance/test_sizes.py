"""Sizes as PostgreSQL and the disk have them."""

import asyncio
from pathlib import Path

from automation import maintenance
from automation.database import Database
from automation.maintenance.sizes import PREFECT
from automation.models import Base, Project
from tests.conftest import Postgres


async def test_every_table_has_its_size_and_a_larger_one_a_larger_size(database: Database) -> None:
    async with database.transaction() as session:
        before = await maintenance.sizes(session)
    async with database.transaction() as session:
        session.add_all(Project(id=f"p{number}", name="x" * 200) for number in range(5000))
    async with database.transaction() as session:
        after = await maintenance.sizes(session)

    assert set(Base.metadata.tables) <= set(after)
    assert after["projects"] - before["projects"] > 5000 * 200
    assert PREFECT not in after


async def test_prefects_database_counts_where_it_is_on_the_same_server(postgres: Postgres, database: Database) -> None:
    async with database.transaction() as session:
        found = await maintenance.sizes(session, postgres.prefect_url)
        assert found[PREFECT] > 1_000_000
        elsewhere = await maintenance.sizes(session, "postgresql://db.example.org/prefect")
        missing = await maintenance.sizes(session, postgres.prefect_url.replace("/prefect", "/nowhere"))
        shared = await maintenance.sizes(session, postgres.url)
    assert PREFECT not in elsewhere.keys() | missing.keys() | shared.keys()


async def test_folders_are_measured_beside_whoever_asks_and_known_from_then_on(tmp_path: Path) -> None:
    (tmp_path / "runtime/p/releases/v1").mkdir(parents=True)
    (tmp_path / "runtime/p/releases/v1/index.html").write_bytes(b"x" * 100_000)
    (tmp_path / "logs").mkdir()
    (tmp_path / "runtime/elsewhere").symlink_to("/usr")

    assert await maintenance.folder_sizes(tmp_path) == {}
    async with asyncio.timeout(10):
        while not (found := await maintenance.folder_sizes(tmp_path)):
            await asyncio.sleep(0.01)

    assert found.keys() == {"runtime", "logs"}
    assert 100_000 <= found["runtime"] < 1_000_000
    (tmp_path / "runtime/p/more").write_bytes(b"x" * 1_000_000)
    assert await maintenance.folder_sizes(tmp_path) == found  # no walk for each question
