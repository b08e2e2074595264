"""Our processes: the service, the sites, the workers with their children."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from automation.doctor.findings import Findings, NotAskedError, failed, listed, ok, warning
from automation.doctor.patient import Patient
from automation.installation import API_KEY_FILE, local_url
from automation.monitoring.now import standing
from automation.settings import WORK_POOL

_SILENT = 75.0
"""Seconds after its last sign of life from which a worker is taken to be gone: it gives one each 30 s."""


async def service(patient: Patient) -> Findings:
    """Whether the API is there and ready, and takes our key."""
    url = f"{local_url(patient.settings.host, patient.settings.api_port)}/api/automation"
    todo = f"start it with `automation up` (or `automation serve`); see {patient.at.home / 'logs/service.log'}"
    try:
        answer = await patient.api.get(f"{url}/health/ready/")
        body: Any = answer.json() if "json" in answer.headers.get("content-type", "") else None
    except (httpx.HTTPError, ValueError) as error:
        return failed(f"{url} does not answer: {str(error) or type(error).__name__}", todo)
    if answer.status_code == 503 and isinstance(body, dict):
        return failed(f"{url} is not ready: {body.get('detail')}", "mend what it names; it gets ready by itself")
    if not isinstance(body, dict) or body.get("status") != "ready":
        return failed(
            f"at {url} answers something else ({answer.status_code})",
            "stop what uses AUTOMATION_API_PORT, or set it to another number",
        )
    return await _accepts(patient, url) or ok(f"{url} is ready")


async def _accepts(patient: Patient, url: str) -> Findings:
    """What is wrong with the key, if anything."""
    given = patient.settings.api_key
    key = given.get_secret_value() if given else await asyncio.to_thread(_read, patient.at.home / API_KEY_FILE)
    if not key:
        return []  # `api-key` says so
    answer = await patient.api.get(
        f"{url}/executions/", params={"page_size": 1}, headers={"authorization": f"Bearer {key}"}
    )
    if answer.status_code != 401:
        return []
    where = "AUTOMATION_API_KEY" if given else str(patient.at.home / API_KEY_FILE)
    return warning(
        f"{url} is ready, and does not know the key in {where}",
        'ask in the environment of the service (eval "$(automation env)"), or restart it if the key was replaced',
    )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


async def sites(patient: Patient) -> Findings:
    """Whether the published sites are served."""
    url = f"{local_url(patient.settings.host, patient.settings.sites_port)}/"
    if patient.settings.runtime_url:
        return ok("RUNTIME_URL is set: Runtime serves them")
    try:
        answer = await patient.api.get(url)
    except httpx.HTTPError as error:
        return warning(
            f"{url} does not answer: {str(error) or type(error).__name__}",
            f"start it with `automation up` (or `automation sites`); see {patient.at.home / 'logs/sites.log'}",
        )
    if answer.status_code >= 500:
        return warning(f"{url} answers {answer.status_code}", f"see {patient.at.home / 'logs/sites.log'}")
    return ok(url)


async def worker(patient: Patient) -> Findings:
    """Whether a worker polls the pool, and has processes to run flows in."""
    found = await patient.prefect("POST", f"/work_pools/{WORK_POOL}/workers/filter", {})
    now = patient.now()
    living = {one["name"]: silence for one in found or [] if (silence := _silence(one, now)) < _SILENT}
    todo = f"prefect worker start --pool {WORK_POOL} (or `automation up`); worker.log says why the last one ended"
    if not living:
        last = min((_silence(one, now) for one in found or []), default=None)
        return failed(
            f"no worker; the last was heard of {last:.0f} s ago" if last else "there never was a worker", todo
        )
    heard = f"{listed(sorted(living))}, heard of {min(living.values()):.0f} s ago"
    try:
        children = await _children(patient)
    except NotAskedError:
        return ok(heard)
    return ok(f"{heard}, {children} processes to run flows in") if children else ok(heard)


def _silence(worker: dict[str, Any], now: datetime) -> float:
    """Seconds since a worker gave a sign of life."""
    at = worker.get("last_heartbeat_time")
    return max(0.0, (now - datetime.fromisoformat(at)).total_seconds()) if at else float("inf")


async def _children(patient: Patient) -> int:
    async with patient.session() as session:
        return sum(one.role == "child" for one in (await standing(session)).processes)
