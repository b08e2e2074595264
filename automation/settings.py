"""Every setting, once: its variable, its unit, its default and the reason for that default.

Variables are `AUTOMATION_<NAME>`, except the three that the platform already uses and that keep their names:
`MAX_CONCURRENT_WORKFLOWS`, `WORKFLOW_TIMEOUT`, `AUTO_SAVE_INTERVAL`.
"""

import json
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, PositiveInt, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from automation.addresses import parse_allowed
from automation.errors import RefusedError, SettingError
from automation.retries import Rule, parse_rules

_SECRET = {
    "database_url", "prefect_database_url", "api_key", "studio_webhook_secret", "studio_callback_secret",
    "alert_webhook_secret", "neighbour_key", "smtp_url", "notify_urls", "admin_notify_urls", "RUNTIME_URL",
    "INSIGHTS_URL", "FOUNDATION_URL",
}  # fmt: skip

WORK_POOL = "automation"
"""Name of the Prefect work pool; `prefect worker start --pool automation` serves it."""

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """The settings of one installation, read from the environment."""

    model_config = SettingsConfigDict(env_prefix="AUTOMATION_", extra="ignore", frozen=True)

    # --- where things are -------------------------------------------------------------------------------
    home: Path = Path(".automation")
    """Folder of everything that is not in a database: the embedded PostgreSQL, generated apps, keys, logs."""

    database_url: str | None = None
    """`postgresql://…` of our own tables; None starts the embedded PostgreSQL below `home`."""

    prefect_database_url: str | None = None
    """`postgresql://…` of Prefect's tables; None with an embedded PostgreSQL, required beside `database_url`
    unless PREFECT_API_URL names a server that runs elsewhere."""

    # --- doors ------------------------------------------------------------------------------------------
    host: str = "127.0.0.1"
    """Address that the API and the sites listen on; loopback, since a proxy with TLS belongs before them."""

    prefect_host: str = "127.0.0.1"
    """Address that Prefect's API and UI listen on. They obey whoever reaches them, so that elsewhere than on loopback
    they are only bound with PREFECT_SERVER_API_AUTH_STRING set."""

    api_port: Port = 8000
    prefect_port: Port = 4200
    sites_port: Port = 8080

    api_key: SecretStr | None = None
    """Bearer key of the API, with the scope `admin`, to make other keys with; `automation up` makes one in `home` when
    it is not set."""

    rate_limit: Rate = 500
    """Requests a second that one key may send to one process, five seconds' worth of them at once; more get a 429. A
    core answered 145 (lists of 50 executions) to 300 (events) a second, with other load beside it: honest work is never
    refused, and a loop of cheap requests is. An address whose requests carry no good key gets a tenth of it."""

    studio_webhook_secret: SecretStr | None = None
    """Standard Webhooks secret (`whsec_…`) that Studio signs with; made in `home` like the key."""

    body_limit_bytes: PositiveInt = 2 * 1024 * 1024
    """Largest request body; twice the largest page document."""

    events_body_limit_bytes: PositiveInt = 8 * 1024 * 1024
    """Largest body of the events endpoint, which takes lists."""

    slow_client_timeout: Seconds = 30
    """Seconds that a client may take to send a request's head, its body, or to take a part of the answer; then it is
    dropped. 8 MB need 2.2 Mbit/s."""

    webhook_secret_overlap: float = Field(86_400, ge=0, le=30 * 86_400, allow_inf_nan=False)
    """Seconds for which the old secret of a webhook trigger stays valid beside a new one; Stripe gives up to a
    day, too."""

    # --- what Studio is told ----------------------------------------------------------------------------
    studio_callback_url: str | None = None
    """Where Studio wants to be told, by signed webhooks, of executions that ended and of workflows that are ready;
    None tells nobody. An operator's own word, so that it may lead into our network."""

    studio_callback_secret: SecretStr | None = None
    """Standard Webhooks secret (`whsec_…`) that these are signed with; made in `home` like the key."""

    # --- neighbours -------------------------------------------------------------------------------------
    runtime_url: str | None = Field(None, validation_alias="RUNTIME_URL")
    """Where pages and releases go (docs/services.md says how); None: folders below `home`."""

    insights_url: str | None = Field(None, validation_alias="INSIGHTS_URL")
    """Where activities go; None: the table `activities`."""

    foundation_url: str | None = Field(None, validation_alias="FOUNDATION_URL")
    """Who tells people; None: we do, by `smtp_url` and `notify_urls`."""

    neighbour_key: SecretStr | None = None
    """Bearer key that these three are asked with."""

    # --- executions -------------------------------------------------------------------------------------
    max_concurrent_workflows: PositiveInt = Field(10, validation_alias="MAX_CONCURRENT_WORKFLOWS")
    """Flow runs that may run at once in the work pool; the platform's own default."""

    workflow_timeout: Seconds = Field(1800, validation_alias="WORKFLOW_TIMEOUT")
    """Seconds that one execution may run at a stretch, its waits for a retry not counted; the platform's own
    default."""

    auto_save_interval: float = Field(30, ge=0, allow_inf_nan=False, validation_alias="AUTO_SAVE_INTERVAL")
    """Seconds between two saves of one page; the platform's own default."""

    dispatch_grace: float = Field(5, ge=0, allow_inf_nan=False)
    """Seconds that Prefect's trigger has to start a rare event's run before the dispatcher does it: the
    trigger takes 0.2–0.5 s, the run's start as long again."""

    max_in_flight: PositiveInt = 20
    """Flow runs that exist in Prefect and have not ended; the rest waits in our table, where it is cheap.
    Twice MAX_CONCURRENT_WORKFLOWS, so that the pool never runs dry between two rounds of the dispatcher."""

    project_concurrency: int = Field(10, ge=0)
    """Single runs of one project in flight at once; 0 sets no limit. Half of AUTOMATION_MAX_IN_FLIGHT, and as many as
    run at once by default: a project alone has the whole pool, and no other waits behind more than what runs."""

    project_concurrency_of: Annotated[dict[str, Annotated[int, Field(ge=0)]], NoDecode] = {}
    """The same for single projects: JSON, `{"<project id>": n}`."""

    lease_seconds: Seconds = 30
    """A run whose process has not renewed its lease for so long counts as lost; renewed every third of it."""

    pending_seconds: Seconds = 30
    """A run that a worker took and that has not begun after so long counts as lost. A warm worker
    hands it to a process at once; a new interpreter on a machine under load needs up to 20 s."""

    step_soft_time_limit: Seconds = 300
    """Seconds that one step may take for one execution; the old CELERY_TASK_SOFT_TIME_LIMIT."""

    step_hard_time_limit: Seconds = 600
    """Seconds that one step of a flow run may take over all its executions; then its process is killed. The old
    CELERY_TASK_TIME_LIMIT."""

    retry_config: Annotated[dict[str, Rule], NoDecode] = {}
    """How often and when a failed execution is tried again, by class of error: JSON in the platform's shape
    (`{"NETWORK_ERROR": {"max_retries": 5, "backoff": 30}}`); what it does not name keeps its default."""

    # --- worker -----------------------------------------------------------------------------------------
    worker_concurrency: PositiveInt = 4
    """Processes of one worker, each with one flow run at a time; the platform's own default."""

    worker_max_runs: PositiveInt = 1000
    """Flow runs after which a process is replaced, against memory that leaks; a new one costs 7 ms."""

    cancel_grace: Seconds = 30
    """Seconds that a cancelled flow run may take to stop and roll back before its process is killed."""

    shutdown_grace: Seconds = 8
    """Seconds that flow runs may still take when their worker is told to stop; the rest is handed back. Two
    less than `automation up` gives the worker itself."""

    # --- batch runs -------------------------------------------------------------------------------------
    batch_size: PositiveInt = 500
    """Executions that a batch run takes at a time: as many as a list of events may hold."""

    batch_linger: Seconds = 5
    """Seconds that a batch run waits for more before it ends; a run costs 0.4 s of CPU to start."""

    batch_max_age: Seconds = 300
    """Seconds after which a batch run ends although there is more, so that its history stays readable."""

    max_batch_runs: PositiveInt = 2
    """Batch runs of one kind at once: one per core here, and half of the worker's slots stay for single runs."""

    # --- what operators are told -------------------------------------------------------------------------
    decision_events_per_second: int = Field(10, ge=0)
    """Prefect events that tell of incoming events and of what triggers made of them; over that many none are
    told until it is less, and 0 tells none ever. Each is a row of Prefect's database for `retention_days`."""

    alerts_file: Path | None = None
    """A file of rules that count before those of `automation/alerting/alerts.yaml` (docs/alerts.md)."""

    alert_webhook_url: str | None = None
    """Who is told of alerts by signed webhooks, beside people; None: nobody. An operator's own word, like the
    callback's."""

    alert_webhook_secret: SecretStr | None = None
    """Standard Webhooks secret (`whsec_…`) that these are signed with; made in `home` like the key."""

    public_url: str | None = None
    """Where people reach what listens on `host` and `api_port`, for the links of messages; None: by these."""

    queue_age_alert: Seconds = 60
    """Seconds after which work that is due and that nothing has begun is told of (`automation.queue.old`): a run
    begins within a second, so a minute means that something is wrong or too small."""

    # --- metrics ------------------------------------------------------------------------------------------
    metrics_projects: int = Field(0, ge=0, le=20)
    """Projects with most work waiting that the metrics name; none by default, since each is a series for Prometheus to
    keep, and who sees the metrics need not know the projects."""

    worker_metrics_port: Port | None = None
    """Port on which a worker answers Prometheus, at AUTOMATION_HOST and without a key; none by default, since two
    workers on one machine cannot share it, and a service tells of all of them."""

    # --- mirror -----------------------------------------------------------------------------------------
    mirror_interval: Seconds = 1
    """Seconds between two readings of Prefect's open runs."""

    retention_days: PositiveInt = 30
    """Days that Prefect keeps ended flow runs and events; the platform's own default for executions, which the
    cleanup workflow deletes by its `older_than_days`, Prefect's runs of our pool with them."""

    event_retention_days: PositiveInt = 7
    """Days that events are kept, with what each trigger made of them and remembers of them: time to ask why after
    a long weekend. An event id or a dedupe key that is older is new again."""

    # --- logs -------------------------------------------------------------------------------------------
    log_format: Literal["auto", "json", "text"] = "auto"
    """How each part logs on standard output; `auto` is text on a terminal, and a line of JSON each elsewhere."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    """The least that is logged there. What executions log is stored whatever its level is."""

    audit_retention_days: PositiveInt = 365
    """Days that the audit keeps who did what: people ask about a change long after the executions that it led to are
    gone, and a year covers what comes back once a year."""

    # --- secrets --------------------------------------------------------------------------------------------
    redact_fields: Annotated[tuple[str, ...], NoDecode] = (
        "password", "passwd", "secret", "token", "authorization", "api_key", "access_key", "private_key", "credential",
        "cookie",
    )  # fmt: skip
    """Parts of names of fields whose values are shown as `[redacted]` in answers, logs, errors and the audit;
    separated by blanks or commas."""

    # --- files that are watched -----------------------------------------------------------------------------
    watch_roots: Annotated[tuple[Path, ...], NoDecode] = ()
    """Absolute folders, separated as in PATH, below which FILE_CHANGE triggers may watch; none by default, since a
    workflow could else see what lies on the machine."""

    # --- generated apps ---------------------------------------------------------------------------------
    keep_releases: PositiveInt = 10
    """Release folders kept for each project, to roll back to."""

    # --- requests to addresses that people give ----------------------------------------------------------
    egress_allow: Annotated[tuple[str, ...], NoDecode] = ()
    """Networks, addresses, hosts and host:port, separated by blanks or commas, that such requests may reach although
    they do not belong to the internet; none by default, since a workflow could else reach what trusts this machine."""

    # --- notifications ----------------------------------------------------------------------------------
    smtp_url: SecretStr | None = None
    """`smtp://[user:password@]host[:port]` or `smtps://…`, for e-mail to the owner of a project."""

    mail_from: str = "automation@localhost"
    """Sender of those e-mails."""

    notify_urls: Annotated[tuple[str, ...], NoDecode] = ()
    """Apprise URLs, separated by blanks, that get every notification beside the e-mail."""

    admin_notify_urls: Annotated[tuple[str, ...], NoDecode] = ()
    """Apprise URLs, separated by blanks, of those who are told what is wrong."""

    admin_notify_cooldown: float = Field(900, ge=0, allow_inf_nan=False)
    """Seconds between two such messages about the same thing, however often it comes and goes: four an hour."""

    language: str = "fr"
    """Language of what end users read (generated pages, e-mails): the platform's own, French; or `en`."""

    @field_validator("runtime_url", "insights_url", "foundation_url", "public_url")
    @classmethod
    def _neighbour(cls, value: str | None) -> str | None:
        if value and not _is_http(value):
            raise ValueError("expected http://host[:port][/path] or https://…, without query and credentials")
        return value.rstrip("/") if value else None

    @field_validator("notify_urls", "admin_notify_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.split()) if isinstance(value, str) else value

    @field_validator("notify_urls", "admin_notify_urls")
    @classmethod
    def _have_schemes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all("://" in url for url in value):
            raise ValueError("expected Apprise URLs (service://…), separated by blanks")
        return value

    @field_validator("egress_allow", "redact_fields", mode="before")
    @classmethod
    def _split_at_commas_too(cls, value: object) -> object:
        return tuple(filter(None, re.split(r"[\s,]+", value))) if isinstance(value, str) else value

    @field_validator("egress_allow")
    @classmethod
    def _can_be_allowed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            parse_allowed(entry)
        return value

    @field_validator("redact_fields")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(r"[A-Za-z0-9_-]{3,}", name) for name in value):
            raise ValueError("expected names of three characters or more, separated by blanks or commas")
        return value

    @field_validator("watch_roots", mode="before")
    @classmethod
    def _as_in_path(cls, value: object) -> object:
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value

    @field_validator("watch_roots")
    @classmethod
    def _absolute(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        if not all(path.is_absolute() for path in value):
            raise ValueError(f"expected absolute folders, separated by {os.pathsep!r}")
        return value

    @field_validator("retry_config", mode="before")
    @classmethod
    def _retry_rules(cls, value: object) -> object:
        try:
            return parse_rules(value, "rules")
        except RefusedError as error:
            raise ValueError(str(error).removeprefix("rules.")) from None

    @field_validator("retry_config", "project_concurrency_of", mode="before")  # of two such, the last one runs first
    @classmethod
    def _json(cls, value: object) -> object:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError as error:
            raise ValueError(f"expected a JSON object: {error}") from None

    @field_validator("smtp_url")
    @classmethod
    def _mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not _is_mail_server(value.get_secret_value()):
            raise ValueError("expected smtp://[user:password@]host[:port] or smtps://…")
        return value

    @field_validator("studio_callback_url", "alert_webhook_url")
    @classmethod
    def _callback(cls, value: str | None) -> str | None:
        if value and not _is_http(value):
            raise ValueError("expected http://host[:port][/path] or https://…, without query and credentials")
        return value or None

    @field_validator("studio_webhook_secret", "studio_callback_secret", "alert_webhook_secret")
    @classmethod
    def _webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            if value:
                Webhook(value.get_secret_value())
        except (ValueError, EmptyWebhookSecretError):
            raise ValueError("expected whsec_ and base64, as Standard Webhooks says") from None
        return value

    @field_validator("language")
    @classmethod
    def _known_language(cls, value: str) -> str:
        if value not in ("fr", "en"):
            raise ValueError("expected fr or en")
        return value

    @field_validator("database_url", "prefect_database_url")
    @classmethod
    def _postgresql(cls, value: str | None) -> str | None:
        if value is not None and not _is_postgresql(value):
            raise ValueError("expected postgresql://user:password@host:port/database")
        return value

    @property
    def runtime_root(self) -> Path:
        """Folder of the generated apps, one sub-folder a project."""
        return self.home.absolute() / "runtime"


@lru_cache
def get_settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        SettingError: a variable has a wrong value; the text names it and what it expects.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise SettingError("\n".join(_describe(one) for one in error.errors())) from None


def _is_postgresql(url: str) -> bool:
    try:
        port = make_url(url).port
    except (ArgumentError, ValueError):
        return False
    return url.startswith(("postgresql://", "postgres://")) and (port is None or 0 < port < 65536)


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # a port that is no number, a host that is no host
        return False
    plain = parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
    return plain and not (parts.query or parts.fragment or parts.username or parts.password)


def _is_mail_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a host that is no host
        return False


def _describe(error: object) -> str:
    assert isinstance(error, dict)
    name = str(error["loc"][0])
    field = Settings.model_fields.get(name)
    alias = field.validation_alias if field else None
    variable = name if name.isupper() else alias if isinstance(alias, str) else f"AUTOMATION_{name.upper()}"
    shown = "" if name in _SECRET else f"={error['input']!r}"
    return f"{variable}{shown}: {error['msg'].removeprefix('Value error, ')}"
