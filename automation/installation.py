"""What an installation in a home folder consists of, and the environment that its processes share.

home/api.key                    the API's bearer key          made at the first start, mode 0600
home/studio-webhook.secret      Studio signs with it          likewise
home/studio-callback.secret     we sign with it for Studio    likewise
home/alert-webhook.secret       we sign alerts with it        likewise
home/postgres/                  the embedded database
home/prefect/                   PREFECT_HOME
home/runtime/                   generated apps
home/logs/                      one file for each part of `automation up`
"""

import base64
import os
import secrets
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from pydantic import SecretStr

from automation import embedded
from automation.database import driver_url
from automation.errors import SettingError, UnavailableError
from automation.settings import Settings, get_settings

API_KEY_FILE = "api.key"
WEBHOOK_SECRET_FILE = "studio-webhook.secret"  # noqa: S105 (a file's name)
CALLBACK_SECRET_FILE = "studio-callback.secret"  # noqa: S105
ALERT_SECRET_FILE = "alert-webhook.secret"  # noqa: S105
PREFECT_AUTH = "PREFECT_SERVER_API_AUTH_STRING"

_SECRET = {
    "AUTOMATION_API_KEY",
    "AUTOMATION_STUDIO_WEBHOOK_SECRET",
    "AUTOMATION_STUDIO_CALLBACK_SECRET",
    "AUTOMATION_ALERT_WEBHOOK_SECRET",
    "AUTOMATION_DATABASE_URL",
    "AUTOMATION_PREFECT_DATABASE_URL",
    PREFECT_AUTH,
    "PREFECT_API_AUTH_STRING",
}

# Prefect turns CANCELLING into CANCELLED after 300 s even if the process still runs; ours end it themselves,
# at the latest when a step's hard limit and the grace period are over.
_CANCELLING_TIMEOUT = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Installation:
    """An installation as its settings and its home folder say.

    Attributes:
        home: absolute path.
        data_dir: the embedded PostgreSQL's folder, or None when a database was given.
        prefect_database_url: None when `prefect_api_url` names a server that runs elsewhere.
    """

    settings: Settings
    home: Path
    data_dir: Path | None
    database_url: str = field(repr=False)
    prefect_database_url: str | None = field(repr=False)
    prefect_api_url: str
    api_key: str = field(repr=False)
    studio_webhook_secret: str = field(repr=False)
    studio_callback_secret: str = field(repr=False)
    alert_webhook_secret: str = field(repr=False)

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def own_prefect_server(self) -> bool:
        return self.prefect_database_url is not None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the parts of an installation are, as its settings say; whether they are there is another question.

    Attributes:
        data_dir: the embedded PostgreSQL's folder, or None when a database was given.
        prefect_database_url: None when Prefect's server runs elsewhere, or nobody says where its tables are.
        own_prefect_server: whether it is this installation that runs Prefect's server.
    """

    home: Path
    data_dir: Path | None
    database_url: str = field(repr=False)
    prefect_database_url: str | None = field(repr=False)
    prefect_api_url: str
    own_prefect_server: bool


def addresses(settings: Settings) -> Addresses:
    """A PREFECT_API_URL or AUTOMATION_DATABASE_URL that is this installation's own, from `automation env`, counts as
    not set."""
    home = settings.home.expanduser().absolute()
    data_dir = home / "postgres"
    ours, prefects = (embedded.url(data_dir, name) for name in embedded.DATABASES)
    own_api_url = f"{local_url(settings.prefect_host, settings.prefect_port)}/api"
    api_url = os.environ.get("PREFECT_API_URL") or own_api_url
    database_url = settings.database_url or ours
    prefect_url = settings.prefect_database_url or (prefects if database_url == ours else None)
    return Addresses(
        home=home,
        data_dir=data_dir if ours == database_url else None,
        database_url=database_url,
        prefect_database_url=prefect_url if api_url == own_api_url else None,
        prefect_api_url=api_url,
        own_prefect_server=api_url == own_api_url,
    )


def prepare(settings: Settings) -> Installation:
    """Make what is missing in the home folder, and answer what the installation consists of; starts nothing.

    Raises:
        SettingError: a Prefect server is to run here, and nobody says on which database.
    """
    at = addresses(settings)
    _make_folders(at.home)
    if at.own_prefect_server:
        if at.prefect_database_url is None:
            raise SettingError(
                "AUTOMATION_PREFECT_DATABASE_URL: expected postgresql://user:password@host:port/database for "
                "Prefect's own tables, since AUTOMATION_DATABASE_URL is set and no PREFECT_API_URL names a "
                "Prefect server that runs elsewhere"
            )
        _check_prefect_host(settings.prefect_host)
    return Installation(
        settings=settings,
        home=at.home,
        data_dir=at.data_dir,
        database_url=at.database_url,
        prefect_database_url=at.prefect_database_url,
        prefect_api_url=at.prefect_api_url,
        api_key=_given(settings.api_key) or _kept(at.home / API_KEY_FILE, _new_key),
        studio_webhook_secret=_given(settings.studio_webhook_secret)
        or _kept(at.home / WEBHOOK_SECRET_FILE, _new_webhook_secret),
        studio_callback_secret=_given(settings.studio_callback_secret)
        or _kept(at.home / CALLBACK_SECRET_FILE, _new_webhook_secret),
        alert_webhook_secret=_given(settings.alert_webhook_secret)
        or _kept(at.home / ALERT_SECRET_FILE, _new_webhook_secret),
    )


def environment(installation: Installation) -> dict[str, str]:
    """The variables that every process of the installation needs, beside those that it inherits."""
    settings = installation.settings
    ours = {
        "AUTOMATION_HOME": str(installation.home),
        "AUTOMATION_DATABASE_URL": installation.database_url,
        "AUTOMATION_API_KEY": installation.api_key,
        "AUTOMATION_STUDIO_WEBHOOK_SECRET": installation.studio_webhook_secret,
        "AUTOMATION_STUDIO_CALLBACK_SECRET": installation.studio_callback_secret,
        "AUTOMATION_ALERT_WEBHOOK_SECRET": installation.alert_webhook_secret,
        "AUTOMATION_HOST": settings.host,
        "AUTOMATION_API_PORT": str(settings.api_port),
        "AUTOMATION_PREFECT_HOST": settings.prefect_host,
        "AUTOMATION_PREFECT_PORT": str(settings.prefect_port),
        "AUTOMATION_SITES_PORT": str(settings.sites_port),
        "PREFECT_API_URL": installation.prefect_api_url,
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "DO_NOT_TRACK": "1",
    }
    if installation.prefect_database_url is None:
        return ours
    if auth := os.environ.get(PREFECT_AUTH):
        ours |= {PREFECT_AUTH: auth, "PREFECT_API_AUTH_STRING": auth}  # what the server asks for, its clients say
    return ours | _server_environment(installation, installation.prefect_database_url)


def _server_environment(installation: Installation, database_url: str) -> dict[str, str]:
    """What Prefect's own server needs. Names and forms are those of `prefect.settings` 3.8."""
    settings = installation.settings
    retention = timedelta(days=settings.retention_days)
    return {
        "AUTOMATION_PREFECT_DATABASE_URL": database_url,
        "PREFECT_HOME": str(installation.home / "prefect"),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": driver_url(database_url, "asyncpg").render_as_string(
            hide_password=False
        ),
        "PREFECT_SERVER_API_HOST": settings.prefect_host,
        "PREFECT_SERVER_API_PORT": str(settings.prefect_port),
        # behind a proxy, browsers reach it elsewhere
        "PREFECT_SERVER_UI_API_URL": os.environ.get("PREFECT_SERVER_UI_API_URL") or installation.prefect_api_url,
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        # seconds; when it starts with a thousand schedules its scheduler is busy for longer than the default of 10,
        # and `automation deploy` beside it was refused with a 500
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
        # without it, Prefect keeps every flow run for ever
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": f"{retention.total_seconds():.0f}",
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"P{retention.days}D",  # seconds are refused here
        # a run that finds its deployment full comes again after so long; the default of 30 s is felt by people
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "3",
        # leases in memory end with the server, and with them the runs that hold one
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS": (
            f"{_CANCELLING_TIMEOUT.total_seconds():.0f}"
        ),
    }


def exports(installation: Installation) -> str:
    """Shell lines after which `prefect …`, `psql …` and `automation …` talk to this installation.

    No secret stands in them: keys in files are read by the shell, and what somebody else keeps secret, so
    that it stands in the environment already, is left out.
    """
    written = {
        "AUTOMATION_API_KEY": _read_by_shell(installation.home / API_KEY_FILE),
        "AUTOMATION_STUDIO_WEBHOOK_SECRET": _read_by_shell(installation.home / WEBHOOK_SECRET_FILE),
        "AUTOMATION_STUDIO_CALLBACK_SECRET": _read_by_shell(installation.home / CALLBACK_SECRET_FILE),
        "AUTOMATION_ALERT_WEBHOOK_SECRET": _read_by_shell(installation.home / ALERT_SECRET_FILE),
    }
    if os.environ.get(PREFECT_AUTH):
        written["PREFECT_API_AUTH_STRING"] = f'"${PREFECT_AUTH}"'
    if installation.settings.prefect_database_url:
        written["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = (
            '"$(printf %s "$AUTOMATION_PREFECT_DATABASE_URL" |'
            " sed 's,^[a-z]*://,postgresql+asyncpg://,;s,sslmode=,ssl=,')\""
        )
    return "\n".join(
        f"export {name}={written.get(name) or shlex.quote(value)}"
        for name, value in environment(installation).items()
        if name not in _SECRET or os.environ.get(name) != value
    )


def local_url(host: str, port: int) -> str:
    """The URL under which this machine reaches what listens on `host`."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (compared, not bound)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _check_prefect_host(host: str) -> None:
    """Raises SettingError when Prefect's API would obey strangers."""
    try:
        is_loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name, of whatever addresses
        is_loopback = False
    if not is_loopback and not os.environ.get(PREFECT_AUTH):
        raise SettingError(
            f"AUTOMATION_PREFECT_HOST={host!r}: expected an address of loopback, or {PREFECT_AUTH}=user:password "
            "beside it, since whoever reaches Prefect's API can run anything here"
        )


def require_database(installation: Installation) -> None:
    """Raises UnavailableError when the database is the embedded one and does not run."""
    if installation.data_dir and not embedded.is_running(installation.data_dir):
        raise UnavailableError(
            f"The database in {installation.data_dir} does not run: start it with `automation up` in another "
            "terminal, or set AUTOMATION_DATABASE_URL."
        )


def join() -> Installation:
    """Make this process one of the installation, whose database must run.

    Raises:
        SettingError: a setting is wrong.
        UnavailableError: the database does not run.
    """
    installation = prepare(get_settings())
    require_database(installation)
    os.environ.update(environment(installation))
    get_settings.cache_clear()
    return prepare(get_settings())


def _make_folders(home: Path) -> None:
    """The folders, closed to other users; a home that somebody made before keeps its mode."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("prefect", "runtime", "logs"):
            (home / name).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise SettingError(
            f"AUTOMATION_HOME={str(home)!r}: expected a folder that can be made and written "
            f"({error.strerror}: {error.filename})"
        ) from None


def _read_by_shell(path: Path) -> str:
    return f'"$(cat {shlex.quote(str(path))})"'


def _new_key() -> str:
    return secrets.token_urlsafe(32)


def _new_webhook_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def _given(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


def _kept(path: Path, make: Callable[[], str]) -> str:
    """What stands in the file, which is made first if need be: whole, and by one process only."""
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(make() + "\n")
                file.flush()
                os.fsync(descriptor)
            with suppress(FileExistsError):  # another process was faster, and its key counts
                path.hardlink_to(draft)
        finally:
            draft.unlink()
    key = path.read_text().strip()
    if not key:
        raise SettingError(f"{path}: is empty; write a key into it, or remove it to get a new one")
    return key
