"""`automation up`: a whole installation in one terminal, from its database to its worker.

    async with running(settings) as installation:
        …  # everything is ready

The parts start in the order in which they need each other and stop in the reverse order.
"""

import asyncio
import errno
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx

from automation import embedded
from automation.errors import ConflictError, SettingError
from automation.installation import API_KEY_FILE, Installation, environment, local_url, prepare
from automation.logs.process import announcer
from automation.settings import WORK_POOL, Settings
from automation.supervisor import Part, Ready, Supervisor, answers

ROOT = Path(__file__).resolve().parent.parent

# Seconds that the parts of an `up` which was killed may still need to end.
_LEFTOVERS = 20.0


def run(settings: Settings) -> int:
    """Run until Ctrl-C or SIGTERM, and answer the exit code: 0, or 1 when a second one cut the end short.

    Raises:
        SettingError: a setting cannot work: a port is taken, a URL is missing.
        ConflictError: it runs already in the same home.
        UnavailableError: a part does not start.
    """
    return asyncio.run(_until_told(settings))


@asynccontextmanager
async def running(settings: Settings, supervisor: Supervisor | None = None) -> AsyncIterator[Installation]:
    """Start everything, and stop it at the context's end, or when the start fails or is cancelled.

    Raises: as `run`. Must be entered in the main thread: the parts end with the thread that started them.
    """
    installation = prepare(settings)
    with _only_one(installation) as left_over:
        if left_over:
            await _wait_for_ports(installation)
        _check_ports(installation)
        if installation.data_dir:  # left over too, or started for a restore
            await asyncio.to_thread(embedded.stop, installation.data_dir)
        async with supervisor or Supervisor(installation.logs, announcer(settings, "up")) as supervisor:
            await _start(installation, supervisor)
            yield installation


async def _until_told(settings: Settings) -> int:
    began = time.monotonic()
    say = announcer(settings, "up")
    supervisor = Supervisor(prepare(settings).logs, say)

    async def stay() -> None:
        async with running(settings, supervisor) as installation:
            say(_addresses(installation))
            say(f"Ready in {time.monotonic() - began:.0f} s. Ctrl-C stops everything.")
            await asyncio.Event().wait()

    staying = asyncio.create_task(stay())
    signals = 0

    def told() -> None:
        nonlocal signals
        signals += 1
        if signals == 1:
            say("Stopping …")
            staying.cancel()
        else:
            supervisor.kill()

    for one in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(one, told)
    with suppress(asyncio.CancelledError):
        await staying
    say("Stopped.")
    return 0 if signals == 1 else 1


# Prefect lists all time zones whenever it reads a schedule: 6 ms where Python looks for them in the system's folders,
# 0.2 ms where it has only the package `tzdata`. A thousand schedules made its server's answers take seconds.
_FASTER = {"PYTHONTZPATH": ""}


async def _start(installation: Installation, supervisor: Supervisor) -> None:
    settings, env = installation.settings, _FASTER | os.environ | environment(installation)
    api, sites = local_url(settings.host, settings.api_port), local_url(settings.host, settings.sites_port)

    async def timed(name: str, work: Awaitable[None]) -> None:
        began = time.monotonic()
        await work
        supervisor.say(f"  {name:<15}{time.monotonic() - began:5.1f} s")

    async def once(name: str, *arguments: str) -> None:
        await timed(name, supervisor.run(name, [sys.executable, "-m", *arguments], env, cwd=ROOT))

    async def start(name: str, ready: Ready, *arguments: str) -> None:
        part = Part(name, [sys.executable, "-m", *arguments], env, ready, cwd=ROOT)
        await timed(name, supervisor.start(part))

    supervisor.say(f"Automation in {installation.home}")
    if installation.data_dir:
        await timed("postgresql", _start_postgresql(installation.data_dir, env, supervisor))
    await once("migrations", "automation.cli", "db", "upgrade")
    if installation.own_prefect_server:
        address = ("--host", settings.prefect_host, "--port", str(settings.prefect_port))
        healthy = answers(f"{installation.prefect_api_url}/health")
        await start("prefect-server", healthy, "automation.logs.prefect", "server", "start", *address)
    await once("deployments", "deployments")
    await start("service", answers(f"{api}/api/automation/health/ready/"), "automation.cli", "serve")
    await start("sites", answers(f"{sites}/", 404), "automation.runtime.sites")
    worker = f"up-{socket.gethostname()}"
    polling = _worker_polls(installation.prefect_api_url, worker, env)
    named = ("--pool", WORK_POOL, "--name", worker)
    await start("worker", polling, "automation.logs.prefect", "worker", "start", *named)


async def _start_postgresql(data_dir: Path, env: Mapping[str, str], supervisor: Supervisor) -> None:
    async def ready() -> bool:
        return await asyncio.to_thread(embedded.is_ready, data_dir)

    await asyncio.to_thread(embedded.initialise, data_dir)
    await supervisor.start(
        Part(
            "postgresql",
            embedded.command(data_dir),
            env,
            ready,
            account=embedded.account(),
            stop_signal=signal.SIGINT,  # SIGTERM would wait for the clients
        )
    )
    await asyncio.to_thread(embedded.create_databases, data_dir)


def _worker_polls(api_url: str, worker: str, env: Mapping[str, str]) -> Ready:
    """Whether Prefect hears from the worker: its last heartbeat is another than when we asked first."""
    key, user = env.get("PREFECT_API_KEY"), env.get("PREFECT_API_AUTH_STRING")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    auth = httpx.BasicAuth(*user.split(":", 1)) if user else None
    context = httpx.create_ssl_context()
    beats: list[str | None] = []

    async def ready() -> bool:
        async with httpx.AsyncClient(headers=headers, auth=auth, verify=context) as client:
            try:
                answer = await client.post(f"{api_url}/work_pools/{WORK_POOL}/workers/filter", json={})
                answer.raise_for_status()
            except httpx.HTTPError:
                return False
        beats.append(next((one["last_heartbeat_time"] for one in answer.json() if one["name"] == worker), None))
        return beats[-1] != beats[0]

    return ready


@contextmanager
def _only_one(installation: Installation) -> Iterator[bool]:
    """Hold the home for this process; whether the last one that held it was killed.

    The kernel frees the lock with its process, so there are no stale ones. The file's content is for people.
    """
    path = installation.home / "up.lock"
    with path.open("a+") as file:
        file.seek(0)
        before = file.read().strip()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"Automation runs already in {installation.home} ({before or 'just starting'})."
            ) from None
        file.truncate(0)
        address = local_url(installation.settings.host, installation.settings.api_port)
        file.write(f"process {os.getpid()}, {address}/api/automation/\n")
        file.flush()
        try:
            yield bool(before)
        finally:
            file.truncate(0)


async def _wait_for_ports(installation: Installation) -> None:
    """The parts of an `up` that was killed are told so by the kernel, and need a moment to end."""
    deadline = time.monotonic() + _LEFTOVERS
    while time.monotonic() < deadline:
        with suppress(SettingError):
            _check_ports(installation)
            break
        await asyncio.sleep(0.2)


def _check_ports(installation: Installation) -> None:
    """Raises SettingError when a port that we need is taken; the text names its variable."""
    settings = installation.settings
    wanted = [("API", settings.host, settings.api_port), ("SITES", settings.host, settings.sites_port)]
    if installation.own_prefect_server:
        wanted.append(("PREFECT", settings.prefect_host, settings.prefect_port))
    with ExitStack() as held:  # all at once, so that two settings with one number are found too
        for name, host, port in wanted:
            held.enter_context(_listener(f"AUTOMATION_{name}_PORT", host, port))


def _listener(variable: str, host: str, port: int) -> socket.socket:
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        if listener:
            listener.close()
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            name = "AUTOMATION_PREFECT_HOST" if variable == "AUTOMATION_PREFECT_PORT" else "AUTOMATION_HOST"
            raise SettingError(f"{name}={host!r}: expected an address of this machine ({error.strerror})") from None
        raise SettingError(
            f"{variable}={port}: expected a free port, but {host}:{port} cannot be used ({error.strerror}); "
            "stop what uses it, or set the variable to another number"
        ) from None
    return listener


def _addresses(installation: Installation) -> str:
    settings = installation.settings
    key = "in AUTOMATION_API_KEY" if settings.api_key else f"in {installation.home / API_KEY_FILE}"
    return (
        f"API         {local_url(settings.host, settings.api_port)}/api/automation/\n"
        f"Operations  {local_url(settings.host, settings.api_port)}/ops/\n"
        f"Sites       {local_url(settings.host, settings.sites_port)}/\n"
        f"Prefect UI  {installation.prefect_api_url.removesuffix('/api')}\n"
        f"API key     {key}\n"
        f"Logs        {installation.logs}"
    )
