"""What `automation deploy` puts into Prefect, and what it leaves alone."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.cli.deploy._models import ConcurrencyLimitSpec, DeploymentConfig, PrefectYamlModel, WorkPoolConfig
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from pydantic import BaseModel

from automation.catalog import definitions
from deployments.__main__ import ROOT, apply
from deployments.pool import POOL_TYPE, QUEUES, TAG_LIMITS

FILE = yaml.safe_load((ROOT / "prefect.yaml").read_text())
DEPLOYMENTS = {one["name"]: one for one in FILE["deployments"]}


def keys_of(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields) | {field.alias for field in model.model_fields.values() if field.alias}


def test_every_key_of_prefect_yaml_is_one_that_prefect_knows() -> None:
    assert set(FILE) <= keys_of(PrefectYamlModel) | {"definitions"}
    for one in DEPLOYMENTS.values():
        assert set(one) <= keys_of(DeploymentConfig)
        assert set(one["work_pool"]) <= keys_of(WorkPoolConfig)
        assert set(one.get("concurrency_limit", ())) <= keys_of(ConcurrencyLimitSpec)
        for trigger in one.get("triggers", ()):
            assert set(trigger) <= keys_of(DeploymentEventTrigger)


def test_every_schedule_has_a_slug_for_without_one_a_deploy_deletes_those_made_at_run_time() -> None:
    schedules = [schedule for one in DEPLOYMENTS.values() for schedule in one.get("schedules", ())]

    assert schedules
    assert all(one.get("slug") for one in schedules)


def test_every_kind_of_workflow_has_a_deployment_that_carries_its_name() -> None:
    assert set(definitions()) <= set(DEPLOYMENTS)
    for name, one in DEPLOYMENTS.items():
        module, function = one["entrypoint"].rsplit(".", 1)
        assert (module, function) == (f"flows.{name.replace('-', '_')}", name.replace("-", "_"))


@pytest.mark.parametrize("name", DEPLOYMENTS)
async def test_a_deployment_in_prefect_is_what_the_file_says(deployed: None, prefect: PrefectClient, name: str) -> None:
    wanted, found = DEPLOYMENTS[name], await read(prefect, name)

    assert found.entrypoint == wanted["entrypoint"]
    assert (found.work_pool_name, found.work_queue_name) == ("automation", wanted["work_pool"]["work_queue_name"])
    assert found.work_queue_name in {queue.name for queue in QUEUES}
    limit = found.global_concurrency_limit
    assert (limit.limit if limit else None) == wanted.get("concurrency_limit", {}).get("limit")
    assert {one.slug: cron(one) for one in found.schedules} == {
        one["slug"]: one["cron"] for one in wanted.get("schedules", ())
    }
    names = {one.name for one in await prefect.read_resource_related_automations(f"prefect.deployment.{found.id}")}
    assert names >= {one["name"] for one in wanted.get("triggers", ())}


async def test_the_pool_its_queues_and_the_limits_are_there(deployed: None, prefect: PrefectClient) -> None:
    assert (await prefect.read_work_pool("automation")).type == POOL_TYPE
    queues = {one.name: one.priority for one in await prefect.read_work_queues(work_pool_name="automation")}
    assert {queue.name: queue.priority for queue in QUEUES}.items() <= queues.items()
    for tag, limit in TAG_LIMITS.items():
        assert (await prefect.read_global_concurrency_limit_by_name(f"tag:{tag}")).limit == limit


async def test_a_deploy_keeps_the_limits_that_an_operator_has_set(deployed: None, prefect: PrefectClient) -> None:
    queue = await prefect.read_work_queue_by_name("generate", work_pool_name="automation")
    name = "tag:image-optimisation"
    await prefect.update_work_queue(queue.id, concurrency_limit=1)
    await prefect.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(limit=7))
    try:
        await apply()

        kept = await prefect.read_work_queue_by_name("generate", work_pool_name="automation")
        assert (kept.id, kept.concurrency_limit) == (queue.id, 1)
        assert (await prefect.read_global_concurrency_limit_by_name(name)).limit == 7
    finally:
        await prefect.update_work_queue(queue.id, concurrency_limit=None)
        restored = GlobalConcurrencyLimitUpdate(limit=TAG_LIMITS["image-optimisation"])
        await prefect.update_global_concurrency_limit(name, restored)


async def test_a_second_deploy_keeps_the_schedules_and_automations_that_people_made(
    deployed: None, prefect: PrefectClient
) -> None:
    deployment = await read(prefect, "cleanup")
    weekly = IntervalSchedule(interval=timedelta(days=7))
    [made] = await prefect.create_deployment_schedules(deployment.id, [(weekly, True)])
    ours = AutomationCore(
        name="Made by hand",
        trigger=EventTrigger(expect={"by.hand"}, posture=Posture.Reactive, threshold=1),
        actions=[RunDeployment(deployment_id=deployment.id)],
    )
    automation_id = await prefect.create_automation(ours)
    try:
        await apply()

        again = await read(prefect, "cleanup")
        assert again.id == deployment.id
        assert {one.id for one in again.schedules} >= {made.id}
        assert [one.slug for one in again.schedules].count("cleanup") == 1
        assert (await prefect.read_automation(automation_id)) is not None
    finally:
        await prefect.delete_deployment_schedule(deployment.id, made.id)
        await prefect.delete_automation(automation_id)


async def test_a_flow_can_be_imported_as_a_worker_does(deployed: None, prefect: PrefectClient) -> None:
    for name in DEPLOYMENTS:
        found = await read(prefect, name)
        assert found.pull_steps in (None, [])
        assert found.path is None or Path(found.path) == ROOT


async def read(prefect: PrefectClient, name: str) -> DeploymentResponse:
    return await prefect.read_deployment_by_name(f"{name}/{name}")


def cron(schedule: DeploymentSchedule) -> Any:
    return getattr(schedule.schedule, "cron", None)
