"""The embedded PostgreSQL as its users meet it: started, stopped, killed and started again."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import asyncpg
import psycopg2
import pytest
from sqlalchemy import text

from automation import embedded
from automation.database import Database, driver_url
from automation.errors import UnavailableError


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "home" / "postgres"
    yield folder
    embedded.stop(folder)


def _psycopg2(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def _pid(data_dir: Path) -> int:
    return int((data_dir / "postmaster.pid").read_text().split()[0])


async def test_every_driver_reaches_both_databases(data_dir: Path) -> None:
    for name, url in zip(embedded.DATABASES, embedded.start(data_dir), strict=True):
        assert _psycopg2(url, "SELECT current_database()") == [(name,)]
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT current_database()") == name
        await connection.close()
        database = Database(url)
        async with database.transaction() as session:
            assert await session.scalar(text("SELECT current_database()")) == name
        await database.close()
        assert "asyncpg" in driver_url(url, "asyncpg").render_as_string()


def test_prefects_database_has_the_extension_that_its_server_needs(data_dir: Path) -> None:
    _, prefect_url = embedded.start(data_dir)
    assert _psycopg2(prefect_url, "SELECT extname FROM pg_extension WHERE extname = 'pg_trgm'")


def test_commits_are_durable_as_shipped_and_connections_suffice(data_dir: Path) -> None:
    url, _ = embedded.start(data_dir)
    assert _psycopg2(url, "SHOW synchronous_commit") == [("on",)]
    assert _psycopg2(url, "SHOW fsync") == [("on",)]
    assert _psycopg2(url, "SHOW max_connections") == [("200",)]


def test_what_was_committed_survives_a_stop_and_a_kill(data_dir: Path) -> None:
    url, _ = embedded.start(data_dir)
    _psycopg2(url, "CREATE TABLE kept (value int)")
    for value, end in enumerate((embedded.stop, _kill)):
        _psycopg2(url, f"INSERT INTO kept VALUES ({value})")
        end(data_dir)
        assert not embedded.is_running(data_dir)
        assert embedded.start(data_dir)[0] == url
        assert len(_psycopg2(url, "SELECT value FROM kept")) == value + 1


def _kill(data_dir: Path) -> None:
    """A hard end, after which the pid file names a living program that is no PostgreSQL."""
    os.kill(_pid(data_dir), signal.SIGKILL)
    while any(_is_backend_of(data_dir, one) for one in Path("/proc").glob("[0-9]*")):
        pass
    pid_file = data_dir / "postmaster.pid"
    pid_file.write_text(pid_file.read_text().replace(pid_file.read_text().split()[0], str(os.getpid()), 1))


def _is_backend_of(data_dir: Path, process: Path) -> bool:
    try:
        return (process / "cwd").readlink() == data_dir.resolve()
    except OSError:
        return False


def test_starting_twice_is_starting_once(data_dir: Path) -> None:
    first = embedded.start(data_dir)
    pid = _pid(data_dir)
    assert embedded.start(data_dir) == first
    assert _pid(data_dir) == pid


def test_stopping_what_does_not_run_is_no_error(data_dir: Path) -> None:
    embedded.stop(data_dir)


def test_a_start_that_was_killed_half_way_is_begun_again(data_dir: Path) -> None:
    unfinished = data_dir.with_name("postgres.new")
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    url, _ = embedded.start(data_dir)
    assert _psycopg2(url, "SELECT 1") == [(1,)]
    assert not unfinished.exists()


@pytest.mark.parametrize("name", ["x" * 120, "with blank, comma & ünïcode"])
def test_a_home_whose_path_fits_no_socket_works_too(tmp_path: Path, name: str) -> None:
    data_dir = tmp_path / name / "postgres"
    url, _ = embedded.start(data_dir)
    try:
        assert _psycopg2(url, "SELECT 1") == [(1,)]
        socket_dir = Path(str(_psycopg2(url, "SHOW unix_socket_directories")[0][0]))
        assert socket_dir.stat().st_mode & 0o077 == 0
    finally:
        embedded.stop(data_dir)
    socket_dir.rmdir()


def test_a_strangers_socket_folder_is_refused(tmp_path: Path) -> None:
    data_dir = tmp_path / ("x" * 120) / "postgres"
    socket_dir = Path(embedded.url(data_dir, "automation").partition("host=")[2])
    socket_dir.mkdir(mode=0o777)
    socket_dir.chmod(0o777)
    try:
        with pytest.raises(UnavailableError, match="nobody else can enter"):
            embedded.start(data_dir)
    finally:
        socket_dir.rmdir()


def test_nobody_but_the_owner_enters_the_data(data_dir: Path) -> None:
    embedded.start(data_dir)
    assert data_dir.stat().st_mode & 0o077 == 0


def test_a_server_that_cannot_start_says_why(data_dir: Path) -> None:
    embedded.start(data_dir)
    embedded.stop(data_dir)
    (data_dir / "PG_VERSION").write_text("9\n")
    with pytest.raises(UnavailableError, match="pg_ctl failed"):
        embedded.start(data_dir)
    assert "not compatible" in (data_dir / "server.log").read_text()
