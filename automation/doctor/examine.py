"""All checks, side by side, each within its time; whatever happens to one of them, the others answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from automation.doctor import (
    configuration,
    database,
    home,
    neighbours,
    orchestration,
    packages,
    prefect_server,
    processes,
    work,
)
from automation.doctor.findings import Finding, Findings, NotAskedError, State, failed, warning
from automation.doctor.patient import Patient
from automation.redaction import redact_text
from automation.steps import one_line

log = logging.getLogger(__name__)

TIME = 8.0
"""Seconds that one check may take, all of them at the same time. A part that hangs is given up after `PATIENCE`; this
is for what else may hang, and for a machine under load."""

Check = Callable[[Patient], Awaitable[Findings]]


async def _packages(patient: Patient) -> Findings:
    return await asyncio.to_thread(packages.check)


CHECKS: Mapping[str, Check] = {
    "settings": configuration.settings,
    "alert-rules": configuration.alerts,
    "packages": _packages,
    "home": home.home,
    "disk": home.disk,
    "secret-files": home.secrets,
    "api-key": home.api_key,
    "webhook-secret": home.webhook_secret,
    "callback-secret": home.callback_secret,
    "alert-webhook-secret": home.alert_webhook_secret,
    "watch-roots": home.watch_roots,
    "database": database.database,
    "migrations": database.migrations,
    "connections": database.connections,
    "database-clock": database.database_clock,
    "prefect-server": prefect_server.prefect_server,
    "prefect-version": prefect_server.prefect_version,
    "prefect-settings": prefect_server.prefect_settings,
    "prefect-database": prefect_server.prefect_database,
    "prefect-clock": prefect_server.prefect_clock,
    "work-pool": orchestration.work_pool,
    "work-queues": orchestration.work_queues,
    "limits": orchestration.limits,
    "deployments": orchestration.deployments,
    "automations": orchestration.automations,
    "schedules": orchestration.schedules,
    "service": processes.service,
    "sites": processes.sites,
    "worker": processes.worker,
    "mirror": work.mirror,
    "executions": work.executions,
    "queue": work.queue,
    "missed-slots": work.missed,
    "runtime": neighbours.runtime,
    "insights": neighbours.insights,
    "foundation": neighbours.foundation,
    "callback": neighbours.callback,
    "alert-webhook": neighbours.alert_webhook,
    "mail": neighbours.mail,
}
"""By name, in the order in which they are told: what others stand on comes first."""


async def examine(patient: Patient) -> Findings:
    """The findings of all checks, in their order. Nothing is raised."""
    found = await asyncio.gather(*(_within_time(name, check, patient) for name, check in CHECKS.items()))
    return [one for findings in found for one in findings]


async def _within_time(name: str, check: Check, patient: Patient) -> Findings:
    try:
        async with asyncio.timeout(TIME):
            findings = await check(patient)
    except NotAskedError as error:
        findings = warning(f"not looked at: {error}", f"see to {error.check} first")
    except TimeoutError:
        findings = failed(f"no answer within {TIME:g} s", "ask again; if it stays so, see what makes it slow")
    except Exception as error:  # the doctor is asked when anything may be broken
        log.debug("Check %s failed", name, exc_info=True)
        findings = failed(f"could not be looked at: {type(error).__name__}: {error}", "ask again; then look by hand")
    return [_told(one, name) for one in findings]


def _told(finding: Finding, name: str) -> Finding:
    """A finding as it may be shown: in one line, without secrets."""
    return replace(finding, check=name, saw=one_line(redact_text(finding.saw)))


def is_well(findings: Findings) -> bool:
    """Whether nothing has failed."""
    return all(one.state is not State.FAILED for one in findings)
