"""`automation worker`: the worker of this installation on this machine."""

import os
import signal
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from automation.cli.exits import Code, CommandError
from automation.cli.formatting import ago, clean, say
from automation.cli.remote import home_of

if TYPE_CHECKING:
    from automation.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The worker of this installation, on this machine.")


@app.command()
def restart() -> None:
    """Replace the worker's processes, each as soon as its run is over; nothing is interrupted."""
    from automation.settings import get_settings

    settings = get_settings()
    home = home_of(settings)
    found = workers(home)
    if not found:
        raise CommandError(
            f"No worker of {home} runs on this machine under your account. {_elsewhere(settings)}", Code.NOT_FOUND
        )
    for pid in found:
        try:
            os.kill(pid, signal.SIGHUP)
        except PermissionError:
            raise CommandError(f"Process {pid} is another user's; ask as that user.", Code.REFUSED) from None
        say(f"The worker (process {pid}) replaces its processes as their runs end.")


def workers(home: Path) -> list[int]:
    """The processes of `prefect worker start` that have this home and know what SIGHUP asks of them (Linux)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, or another user's
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if _starts_worker(words) and _home(folder) == home.resolve() and _catches_hangup(folder):
                found.append(int(folder.name))
    return sorted(found)


def _starts_worker(words: list[bytes]) -> bool:
    """Of the shells and programs that have these words among theirs, only Python runs the worker itself."""
    return b"python" in Path(os.fsdecode(words[0])).name.encode() and any(
        pair == (b"worker", b"start") for pair in pairwise(words)
    )


def _home(folder: Path) -> Path | None:
    for line in (folder / "environ").read_bytes().split(b"\0"):
        if line.startswith(b"AUTOMATION_HOME="):
            given = Path(os.fsdecode(line.partition(b"=")[2])).expanduser()
            return ((folder / "cwd").resolve() / given).resolve()
    return None


def _catches_hangup(folder: Path) -> bool:
    """A worker that is just being started does not yet: the signal would end it."""
    for line in (folder / "status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGHUP - 1) & 1)
    return False


def _elsewhere(settings: "Settings") -> str:
    """Which workers Prefect hears from, to be asked where they run."""
    import httpx

    from automation.settings import WORK_POOL

    url = os.environ.get("PREFECT_API_URL") or f"http://127.0.0.1:{settings.prefect_port}/api"
    key, user = os.environ.get("PREFECT_API_KEY"), os.environ.get("PREFECT_API_AUTH_STRING")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    auth = httpx.BasicAuth(*user.split(":", 1)) if user else None
    try:
        answer = httpx.post(f"{url}/work_pools/{WORK_POOL}/workers/filter", json={}, headers=headers, auth=auth)
        answer.raise_for_status()
        online = [one for one in answer.json() if one["status"] == "ONLINE"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return f"Prefect, at {clean(url)}, does not say where others are."
    if not online:
        return "Prefect hears from none elsewhere, either: start one with `prefect worker start --pool automation`."
    names = ", ".join(f"{clean(one['name'])} ({ago(one['last_heartbeat_time'])})" for one in online)
    return f"Prefect hears from: {names}. Give this command where they run, or `kill -HUP` them there."
