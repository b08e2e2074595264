"""Scheduled workflows that tests write, and what Prefect has of them."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun as PrefectRun
from prefect.client.schemas.responses import DeploymentResponse
from sqlalchemy import select, update

from automation.database import Database
from automation.models import Execution, Trigger, Workflow, utc_now
from tests.integration import rows

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
EVERY_MINUTE = "* * * * *"


async def scheduled(database: Database, *crons: str, config: dict[str, Any] | None = None, **values: Any) -> UUID:
    """A workflow that somebody defined, with a trigger for each cron; `config` is the workflow's."""
    of = await rows.workflow(database, kind="custom-workflow")
    async with database.transaction() as session:
        await session.execute(update(Workflow).where(Workflow.id == of).values(config=config or {}))
    for cron in crons:
        await trigger(database, of, cron, **values)
    return of


async def trigger(
    database: Database, of: UUID, cron: str = EVERY_MINUTE, *, last_slot: datetime | None = None, **config: Any
) -> UUID:
    id_ = uuid4()
    async with database.transaction() as session:
        workflow = await session.get_one(Workflow, of)
    made = Trigger(
        id=id_,
        workflow_id=of,
        project_id=workflow.project_id,
        trigger_type="SCHEDULED",
        config={"cron": cron, **config},
        last_slot=last_slot or utc_now(),
    )
    await rows.write(database, made)
    return id_


async def triggers_of(database: Database, of: UUID) -> list[Trigger]:
    async with database.transaction() as session:
        query = select(Trigger).where(Trigger.workflow_id == of).order_by(Trigger.created_at)
        return list(await session.scalars(query))


async def change(database: Database, id_: UUID, **values: Any) -> None:
    """Change a trigger as the API does: what came before is over."""
    async with database.transaction() as session:
        await session.execute(update(Trigger).where(Trigger.id == id_).values(last_slot=utc_now(), **values))


async def deployment_of(prefect: PrefectClient, of: UUID) -> DeploymentResponse | None:
    chosen = DeploymentFilter(name=DeploymentFilterName(any_=[str(of)]))
    found = await prefect.read_deployments(deployment_filter=chosen)
    return found[0] if found else None


async def existing(prefect: PrefectClient, of: UUID) -> DeploymentResponse:
    found = await deployment_of(prefect, of)
    assert found is not None
    return found


async def runs_of(prefect: PrefectClient, deployment_id: UUID) -> list[PrefectRun]:
    chosen = DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id]))
    return await prefect.read_flow_runs(deployment_filter=chosen)


async def backfill(prefect: PrefectClient, of: UUID, since: datetime, until: datetime) -> list[PrefectRun]:
    """Have Prefect's scheduler make the runs between two times, oldest first."""
    deployment = await existing(prefect, of)
    await prefect.request(
        "POST",
        "/deployments/{id}/schedule",
        path_params={"id": deployment.id},
        json={"start_time": since.isoformat(), "end_time": until.isoformat(), "min_runs": 1000, "max_runs": 1000},
    )
    found = [run for run in await runs_of(prefect, deployment.id) if run.expected_start_time <= until]
    return sorted(found, key=lambda run: run.expected_start_time)


async def executions(database: Database) -> list[Execution]:
    return sorted(await rows.every(database, Execution), key=lambda one: one.occurred_at)


def minute(ago: int) -> datetime:
    """The beginning of a minute, so many before the present one."""
    return utc_now().replace(second=0, microsecond=0) - ago * MINUTE
