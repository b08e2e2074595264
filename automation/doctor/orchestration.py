"""What Prefect must hold for us: the pool, its queues, limits, deployments, automations, schedules."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from automation.catalog import step_types
from automation.doctor.findings import Findings, failed, listed, ok, warning
from automation.doctor.patient import Patient
from automation.models import Json
from automation.settings import WORK_POOL

_ROOT = Path(__file__).resolve().parents[2]
PREFECT_YAML = _ROOT / "prefect.yaml"
AUTOMATIONS = _ROOT / "deployments" / "automations.yaml"

POOL_TYPE = "warm"
DEPLOY = "automation deploy"

MANY_SCHEDULES = 100
"""Schedules of one deployment; a thousand keep Prefect's server busy for ever."""
_SCHEDULED_AFTER = timedelta(minutes=3)
"""Prefect's scheduler has made the next runs of a deployment so long after a change, at the latest."""


@cache
def _shipped() -> list[Json]:
    """The deployments of prefect.yaml."""
    return list(yaml.safe_load(PREFECT_YAML.read_text())["deployments"])


async def work_pool(patient: Patient) -> Findings:
    """Whether the pool is there, of our type, open, and as large as the setting says."""
    pool = await patient.prefect("GET", f"/work_pools/{WORK_POOL}")
    if pool is None:
        return failed(f"there is no work pool {WORK_POOL!r}", DEPLOY)
    if pool["type"] != POOL_TYPE:
        return failed(f"work pool {WORK_POOL!r} is of type {pool['type']!r}, not {POOL_TYPE!r}", DEPLOY)
    if pool["is_paused"]:
        return failed(f"work pool {WORK_POOL!r} is paused: nothing begins", f"prefect work-pool resume {WORK_POOL}")
    limit, wanted = pool["concurrency_limit"], patient.settings.max_concurrent_workflows
    if limit != wanted:
        return warning(f"its limit is {limit}, MAX_CONCURRENT_WORKFLOWS is {wanted}", DEPLOY)
    return ok(f"{WORK_POOL!r}, {limit} runs at once")


async def work_queues(patient: Patient) -> Findings:
    """Whether each queue that a deployment names is there and open."""
    queues = await patient.prefect("POST", f"/work_pools/{WORK_POOL}/queues/filter", {"limit": 200})
    if queues is None:
        return failed(f"there is no work pool {WORK_POOL!r}, so it has no queues", DEPLOY)
    there = {queue["name"]: queue for queue in queues}
    wanted = sorted({one["work_pool"]["work_queue_name"] for one in await asyncio.to_thread(_shipped)})
    if missing := [name for name in wanted if name not in there]:
        return failed(f"missing: {listed(missing)}", DEPLOY)
    if paused := [name for name in wanted if there[name]["is_paused"]]:
        resume = f"prefect work-queue resume {paused[0]} --pool {WORK_POOL}"
        return failed(f"paused: {listed(paused)}, nothing of it begins", resume)
    if closed := [name for name in wanted if there[name]["concurrency_limit"] == 0]:
        clear = f"prefect work-queue clear-concurrency-limit {closed[0]} --pool {WORK_POOL}"
        return failed(f"limited to 0: {listed(closed)}, nothing of it begins", clear)
    return ok(listed(wanted, 10))


async def limits(patient: Patient) -> Findings:
    """Whether the shared resources that step types name have their limits."""
    types = (await asyncio.to_thread(step_types)).values()
    wanted = sorted({f"tag:{tag}" for one in types for tag in one.task.tags})
    found = await patient.prefect_pages("/v2/concurrency_limits/filter", {})
    there = {one["name"]: one for one in found}
    if missing := [name for name in wanted if name not in there]:
        return warning(f"no limit for {listed(missing)}: as many at once as there are runs", DEPLOY)
    if closed := [name for name in wanted if there[name]["limit"] == 0 and there[name]["active"]]:
        update = f"prefect global-concurrency-limit update {closed[0]} --limit 2"
        return failed(f"{listed(closed)} allows none, its steps wait for ever", update)
    return ok(", ".join(f"{name} {there[name]['limit']}" for name in wanted))


async def deployments(patient: Patient) -> Findings:
    """Whether each deployment of prefect.yaml is in Prefect, and as it stands there."""
    shipped = await asyncio.to_thread(_shipped)
    there = {
        (one["flow_name"], one["name"]): one for one in await _deployments(patient, [one["name"] for one in shipped])
    }
    missing = [one["name"] for one in shipped if (one["name"], one["name"]) not in there]
    if missing:
        return failed(f"not in Prefect: {listed(missing)}", DEPLOY)
    pairs = [(one, there[one["name"], one["name"]]) for one in shipped]
    differing = [f"{one['name']} ({listed(parts)})" for one, held in pairs if (parts := differences(one, held))]
    if differing:
        return warning(f"not as prefect.yaml has them: {listed(differing)}", DEPLOY)
    if paused := [one["name"] for one, held in pairs if held["paused"]]:
        return warning(f"paused: {listed(paused)}", "resume it in Prefect's UI, or wait for whoever paused it")
    return ok(f"{len(pairs)} as prefect.yaml has them")


async def _deployments(patient: Patient, names: Sequence[str]) -> list[Json]:
    """Deployments of these names, each with the name of its flow."""
    found = await patient.prefect_pages("/deployments/filter", {"deployments": {"name": {"any_": list(names)}}})
    flows = await patient.prefect_pages("/flows/filter", {"flows": {"name": {"any_": list(names)}}})
    by_id = {one["id"]: one["name"] for one in flows}
    return [one | {"flow_name": by_id.get(one["flow_id"], "")} for one in found]


def differences(shipped: Json, held: Json) -> list[str]:
    """In which respects a deployment in Prefect is not the one of prefect.yaml; what people added to it is theirs."""
    limit = (held.get("global_concurrency_limit") or {}).get("limit")
    pairs = {
        "entrypoint": (shipped["entrypoint"], held["entrypoint"]),
        "work pool": (shipped["work_pool"]["name"], held["work_pool_name"]),
        "queue": (shipped["work_pool"]["work_queue_name"], held["work_queue_name"]),
        "limit": ((shipped.get("concurrency_limit") or {}).get("limit"), limit),
        "tags": (True, set(shipped.get("tags", [])) <= set(held["tags"])),
    }
    found = [name for name, (wanted, there) in pairs.items() if wanted != there]
    schedules = {one["slug"]: one for one in held["schedules"]}
    for one in shipped.get("schedules", []):
        schedule = schedules.get(one["slug"])
        if schedule is None:
            found.append(f"schedule {one['slug']} is missing")
        elif (schedule["schedule"].get("cron"), schedule["schedule"].get("timezone")) != (one["cron"], one["timezone"]):
            found.append(f"schedule {one['slug']}")
        elif not schedule["active"]:
            found.append(f"schedule {one['slug']} is off")
    return found


async def automations(patient: Patient) -> Findings:
    """Whether the automations that come with us, and those that start flows, are there and on."""
    wanted = await asyncio.to_thread(_automation_names)
    found = await patient.prefect_pages("/automations/filter", {})
    there: dict[str, Mapping[str, Any]] = {one["name"]: one for one in found}
    if missing := [name for name in wanted if name not in there]:
        return failed(f"missing: {listed(missing)}", DEPLOY)
    if off := [name for name in wanted if not there[name]["enabled"]]:
        return warning(f"off: {listed(off)}", "switch it on under Automations in Prefect's UI, if nobody means it so")
    return ok(f"{len(wanted)} there and on")


def _automation_names() -> list[str]:
    triggers = [one["name"] for deployment in _shipped() for one in deployment.get("triggers", [])]
    return [*triggers, *(one["name"] for one in yaml.safe_load(AUTOMATIONS.read_text())["automations"])]


async def schedules(patient: Patient) -> Findings:
    """Whether the schedules in Prefect survive a deploy, are not too many, and have their next runs."""
    pool = {"work_pools": {"name": {"any_": [WORK_POOL]}}}
    found = await patient.prefect_pages("/deployments/filter", pool)
    loaded = [one["name"] for one in found if len(one["schedules"]) > MANY_SCHEDULES]
    if loaded:
        return failed(
            f"more than {MANY_SCHEDULES} schedules on deployment {listed(loaded)}",
            "spread them over several: Prefect's server is busy with them all the time",
        )
    if nameless := [one["name"] for one in found if any(not each["slug"] for each in one["schedules"])]:
        return warning(
            f"a schedule without slug on {listed(nameless)}: a deploy from elsewhere would remove it", DEPLOY
        )
    now = patient.now()
    active = [one for one in found if _is_due(one, now)]
    if idle := await _without_runs(patient, active):
        return failed(
            f"no next run of {listed(idle)}: Prefect's scheduler does nothing",
            "see prefect-server.log (SQLAlchemy 2.1 kills it silently), and restart the server",
        )
    return ok(f"{sum(len(one['schedules']) for one in found)} on {len(found)} deployments")


def _is_due(deployment: Json, now: datetime) -> bool:
    """Whether it has a schedule whose next runs must be there already."""
    changed = datetime.fromisoformat(deployment["updated"])
    on = any(one["active"] for one in deployment["schedules"])
    return on and not deployment["paused"] and now - changed > _SCHEDULED_AFTER


async def _without_runs(patient: Patient, active: Sequence[Json]) -> list[str]:
    """Those of the first few that Prefect has planned nothing for."""
    found = []
    for one in active[:3]:
        planned = {
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING"]}}},
            "deployments": {"id": {"any_": [one["id"]]}},
        }
        if not await patient.prefect("POST", "/flow_runs/count", planned):
            found.append(one["name"])
    return found
