"""Prefect's server: does it answer, is it of the version that we know, and is it set up as we need it?"""

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
from packaging.requirements import Requirement

from automation.doctor.database import judge_clock
from automation.doctor.findings import Findings, NotAskedError, failed, ok, warning
from automation.doctor.packages import PACKAGE
from automation.doctor.patient import AWAY, PATIENCE, Patient
from automation.settings import Settings

_OLD_LIMIT = 200
"""Largest page that we ask Prefect's API for; a server that allows less refuses the question."""

_SERVICES = {
    "scheduler": "nothing starts by a schedule",
    "late_runs": "runs that nobody takes do not become Late",
    "event_persister": "events are not kept, and no automation sees them",
    "triggers": "no automation fires, so that a publish starts 5 s late",
    "task_run_recorder": "its UI shows no task runs",
    "foreman": "a worker that is gone stays online",
    "repossessor": "places under a concurrency limit that a crashed run held are never free again",
}
"""Services of Prefect's server that we need, and what happens without each."""


async def prefect_server(patient: Patient) -> Findings:
    """Whether it answers, reaches its database, and lets us in."""
    url = patient.at.prefect_api_url
    start = "start it with `automation up`" if patient.at.own_prefect_server else "start it where it runs"
    todo = f"{start}, or mend PREFECT_API_URL (it is {_where(url)})"
    try:
        health = await patient.server.get("/ready")
        if health.status_code == 503:
            return failed(f"{_where(url)} does not reach its database", "see prefect-server.log; is PostgreSQL there?")
        health.raise_for_status()
        there = await patient.server.get("/admin/version")
    except httpx.HTTPStatusError as error:
        return failed(f"{_where(url)} answers {error.response.status_code}: is it Prefect?", todo)
    except httpx.HTTPError as error:
        return failed(f"{_where(url)} does not answer: {str(error) or type(error).__name__}", todo)
    if there.status_code in (401, 403):
        return failed(
            f"{_where(url)} does not let us in ({there.status_code})",
            'set PREFECT_API_AUTH_STRING as the server has it: eval "$(automation env)"',
        )
    return ok(_where(url))


def _where(url: str) -> str:
    """An address without what may be secret in it."""
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except ValueError:
        return "PREFECT_API_URL"


async def prefect_version(patient: Patient) -> Findings:
    """Whether the server is of a version that this program was made for."""
    theirs, ours = str(await patient.prefect("GET", "/admin/version")), version("prefect")
    wanted = _wanted()
    if wanted and not wanted.specifier.contains(theirs, prereleases=True):
        return failed(
            f"the server is {theirs}, not {wanted.specifier}", f"install prefect=={ours} where the server runs"
        )
    if theirs != ours:
        return warning(f"the server is {theirs}, this program has {ours}", "install the same version on both")
    return ok(f"{theirs}, as here")


def _wanted() -> Requirement | None:
    try:
        all_ = [Requirement(line) for line in requires(PACKAGE) or []]
    except PackageNotFoundError:
        return None
    return next((one for one in all_ if one.name == "prefect"), None)


async def prefect_settings(patient: Patient) -> Findings:
    """Whether the server is set up as `automation up` sets it up."""
    found = traps(await patient.prefect("GET", "/admin/settings") or {}, patient.settings)
    return found or ok("as `automation up` has them")


def traps(server: Mapping[str, Any], ours: Settings) -> Findings:
    """What in a server's settings does harm to us; each of them has."""
    services, database = _at(server, "server", "services"), _at(server, "server", "database")
    vacuum, on = _at(services, "db_vacuum", "enabled"), "set {} for the server"
    found: Findings = []
    if not database.get("connection_url") and "postgresql" not in (database.get("driver") or ""):
        found += failed(
            "Prefect's server runs on SQLite, which answers 503 with several runs at once",
            on.format("PREFECT_SERVER_DATABASE_CONNECTION_URL to a PostgreSQL"),
        )
    found += [
        one
        for name, harm in _SERVICES.items()
        if _at(services, name).get("enabled") is False
        for one in failed(
            f"Prefect's {name} is off: {harm}", on.format(f"PREFECT_SERVER_SERVICES_{name.upper()}_ENABLED=true")
        )
    ]
    if not {"events", "flow_runs"} <= _vacuumed(vacuum):
        found += warning(
            "Prefect keeps ended runs or events for ever",
            on.format("PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED=events,flow_runs"),
        )
    if _at(server, "server", "concurrency").get("lease_storage", "").endswith(".memory"):
        found += warning(
            "places under a concurrency limit are kept in memory: a restart of the server stops the runs that hold one",
            on.format("PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem"),
        )
    needed = ours.step_hard_time_limit + ours.cancel_grace
    if (told := _number(_at(services, "cancellation_cleanup").get("cancelling_timeout_seconds"))) < needed:
        found += warning(
            f"Prefect calls a run cancelled after {told:g} s though it may take {needed:g} s to stop",
            on.format(f"PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS={max(3600, needed):g}"),
        )
    if (told := _number(_at(server, "server", "deployments").get("concurrency_slot_wait_seconds"))) > _FELT:
        found += warning(
            f"a run that finds its deployment full comes again after {told:g} s",
            on.format("PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS=3"),
        )
    if (told := _number(database.get("timeout"))) < _BUSY:
        found += warning(
            f"the server gives its database {told:g} s: busy with many schedules it answers 500",
            on.format("PREFECT_SERVER_DATABASE_TIMEOUT=60"),
        )
    if (told := _number(_at(server, "server", "api").get("default_limit"))) < _OLD_LIMIT:
        found += failed(
            f"the server gives at most {told:g} at a time and refuses the mirror's questions",
            on.format(f"PREFECT_API_DEFAULT_LIMIT={_OLD_LIMIT} or no limit at all"),
        )
    return found


_FELT, _BUSY = 10.0, 30.0


def _at(value: object, *names: str) -> Any:
    """What stands at a path of nested objects; an empty object where there is nothing."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return {} if value is None else value


def _number(value: object) -> float:
    """A setting's number of seconds or things; without one there is no limit."""
    return float(value) if isinstance(value, int | float) else float("inf")


def _vacuumed(enabled: object) -> set[str]:
    """What Prefect's vacuum removes, by its setting's forms."""
    if isinstance(enabled, list | tuple | set):
        return {str(one) for one in enabled}
    if isinstance(enabled, str):
        return {one.strip() for one in enabled.split(",")}
    return {"events", "flow_runs"} if enabled is True else {"events"}


async def prefect_clock(patient: Patient) -> Findings:
    """Whether the server's clock is this machine's, by the header Date of an answer."""
    asked = patient.now()
    try:
        answer = await patient.server.get("/health")
        theirs: datetime = parsedate_to_datetime(answer.headers["date"])
    except (httpx.HTTPError, KeyError, ValueError):
        raise NotAskedError("Prefect's server does not answer", "prefect-server") from None
    return judge_clock("the clock of Prefect's server", theirs, asked, patient.now(), grain=1.0)


async def prefect_database(patient: Patient) -> Findings:
    """Whether Prefect's database is there, with what its server needs in it."""
    url = patient.at.prefect_database_url
    if url is None:
        return ok("of a server elsewhere; not looked at from here")
    todo = "start PostgreSQL, or mend AUTOMATION_PREFECT_DATABASE_URL"
    try:
        connection = await asyncpg.connect(url.replace("postgres://", "postgresql://", 1), timeout=PATIENCE)
    except (*AWAY, TimeoutError, ValueError) as error:
        return failed(f"it does not answer: {str(error) or type(error).__name__}", todo)
    try:
        name = await connection.fetchval("SELECT current_database()")
        trigrams = await connection.fetchval("SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'")
        tables = await connection.fetchval("SELECT to_regclass('flow_run') IS NOT NULL")
    finally:
        connection.terminate()
    if not trigrams:
        return failed(f"database {name!r} has no extension pg_trgm", "CREATE EXTENSION pg_trgm in it, as its owner")
    if not tables:
        return failed(f"database {name!r} has no tables of Prefect", "start Prefect's server, which makes them")
    return ok(f"database {name!r}, with pg_trgm")
