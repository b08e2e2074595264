"""Settings that are right each by itself, and contradict each other or their surroundings."""

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

from automation.alerting.rules import load
from automation.doctor.findings import Findings, failed, ok, warning
from automation.doctor.patient import Patient
from automation.errors import SettingError
from automation.settings import Settings
from automation.supervisor import GRACE

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def settings(patient: Patient) -> Findings:
    """Whether the settings go with each other."""
    found = [*contradictions(patient.settings), *surroundings(patient.settings, patient.environ)]
    given = sum(name.startswith("AUTOMATION_") for name in patient.environ)
    return [one for pair in found for one in warning(*pair)] or ok(f"{given} AUTOMATION_ variables are set")


async def alerts(patient: Patient) -> Findings:
    """Whether the rules of alerts can be read."""
    own = patient.settings.alerts_file
    try:
        rules = await asyncio.to_thread(load, own)
    except SettingError as error:
        return failed(str(error).splitlines()[0], "mend the file (docs/alerts.md), or unset AUTOMATION_ALERTS_FILE")
    return ok(f"{len(rules.enabled())} rules{f', with those of {own}' if own else ''}")


def contradictions(settings: Settings) -> list[tuple[str, str]]:
    """What is set so that it defeats something else: what, and what to do."""
    soft, hard, whole = settings.step_soft_time_limit, settings.step_hard_time_limit, settings.workflow_timeout
    ports = (settings.api_port, settings.prefect_port, settings.sites_port)
    rules = (
        (
            soft >= hard,
            f"AUTOMATION_STEP_SOFT_TIME_LIMIT={soft:g} is not below AUTOMATION_STEP_HARD_TIME_LIMIT={hard:g}, so that "
            "a slow step is killed with its process and everything in it",
            "make the soft limit smaller",
        ),
        (
            soft > whole,
            f"AUTOMATION_STEP_SOFT_TIME_LIMIT={soft:g} is above WORKFLOW_TIMEOUT={whole:g}, which ends the step first",
            "raise WORKFLOW_TIMEOUT, or lower the limit",
        ),
        (
            settings.max_in_flight < settings.max_concurrent_workflows,
            f"AUTOMATION_MAX_IN_FLIGHT={settings.max_in_flight} is below "
            f"MAX_CONCURRENT_WORKFLOWS={settings.max_concurrent_workflows}, so that the pool is never full",
            "make AUTOMATION_MAX_IN_FLIGHT twice MAX_CONCURRENT_WORKFLOWS",
        ),
        (
            settings.max_batch_runs >= settings.max_concurrent_workflows,
            f"AUTOMATION_MAX_BATCH_RUNS={settings.max_batch_runs} of one kind may fill the pool of "
            f"MAX_CONCURRENT_WORKFLOWS={settings.max_concurrent_workflows}, so that a publish waits for saves",
            "lower AUTOMATION_MAX_BATCH_RUNS, or raise MAX_CONCURRENT_WORKFLOWS",
        ),
        (
            settings.batch_linger > settings.batch_max_age,
            f"AUTOMATION_BATCH_LINGER={settings.batch_linger:g} is above "
            f"AUTOMATION_BATCH_MAX_AGE={settings.batch_max_age:g}, so that it never counts",
            "lower AUTOMATION_BATCH_LINGER",
        ),
        (
            settings.shutdown_grace >= GRACE,
            f"AUTOMATION_SHUTDOWN_GRACE={settings.shutdown_grace:g} is not below the {GRACE:g} s after which "
            "`automation up` kills a worker that does not end",
            f"set it below {GRACE:g}, unless something else than `automation up` stops your workers",
        ),
        (
            settings.queue_age_alert <= settings.dispatch_grace,
            f"AUTOMATION_QUEUE_AGE_ALERT={settings.queue_age_alert:g} is not above "
            f"AUTOMATION_DISPATCH_GRACE={settings.dispatch_grace:g}, so that work in order counts as late",
            "raise AUTOMATION_QUEUE_AGE_ALERT",
        ),
        (
            settings.body_limit_bytes > settings.events_body_limit_bytes,
            f"AUTOMATION_EVENTS_BODY_LIMIT_BYTES={settings.events_body_limit_bytes} is below "
            f"AUTOMATION_BODY_LIMIT_BYTES={settings.body_limit_bytes}, though lists of events are the larger",
            "raise AUTOMATION_EVENTS_BODY_LIMIT_BYTES",
        ),
        (
            len(set(ports)) < len(ports),
            f"AUTOMATION_API_PORT, AUTOMATION_PREFECT_PORT and AUTOMATION_SITES_PORT are {ports}, two of them the same",
            "give each a port of its own",
        ),
    )
    return [(saw, todo) for is_so, saw, todo in rules if is_so]


def surroundings(settings: Settings, environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """What the environment says beside the settings, and against them."""
    found = []
    try:
        url = urlsplit(environ.get("PREFECT_API_URL", ""))
        host, port = url.hostname, url.port
    except ValueError as error:
        found.append((f"PREFECT_API_URL is no URL: {error}", "set it to http://host:port/api, or unset it"))
        host, port = None, None
    if host in _LOOPBACK and port not in (None, settings.prefect_port):
        found.append(
            (
                f"PREFECT_API_URL names port {port} of this machine, "
                f"AUTOMATION_PREFECT_PORT is {settings.prefect_port}: `automation up` takes that for a server of "
                "somebody else's and starts none",
                "unset PREFECT_API_URL, or make the two agree",
            )
        )
    if environ.get("PREFECT_LOGGING_TO_API_ENABLED", "").lower() in ("false", "0"):
        found.append(
            ("PREFECT_LOGGING_TO_API_ENABLED is off, so that runs leave no log in Prefect", "unset it for the workers")
        )
    return found
