"""Which workflows have a deployment of their own, and what it shall be."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from automation.catalog import definitions
from automation.models import Json, Trigger, Workflow
from automation.triggers.types import ScheduledConfig

_TAG = "automation"
_FROM_KIND = {
    "flow_id",
    "entrypoint",
    "path",
    "pull_steps",
    "work_pool_name",
    "work_queue_name",
    "job_variables",
    "parameter_openapi_schema",
    "enforce_parameter_schema",
}
"""What a workflow's own deployment has from the deployment of its kind."""


@dataclass(slots=True)
class Wanted:
    """A workflow that has a deployment of its own; `schedules` by trigger id: cron, timezone, active, parameters."""

    workflow_id: UUID
    kind: str
    description: str
    tags: list[str]
    concurrency_limit: int | None
    schedules: dict[str, Json]

    def like(self, kinds: DeploymentResponse) -> Json:
        """The deployment that it shall have, in the form of `as_found`; `kinds` is the deployment of its kind."""
        deployment = kinds.model_dump(mode="json", include=_FROM_KIND) | {
            "description": self.description,
            "tags": self.tags,
            "concurrency_limit": self.concurrency_limit,
        }
        return {"deployment": deployment, "schedules": self.schedules}


async def wanted(session: AsyncSession, ids: Collection[UUID] | None = None) -> dict[UUID, Wanted]:
    """The workflows (of `ids`, or all) that have a deployment of their own.

    Those of a kind that stands in prefect.yaml with its schedule (the platform's) have none; paused ones keep theirs.
    """
    is_scheduled = and_(Trigger.workflow_id == Workflow.id, Trigger.trigger_type == "SCHEDULED")
    query = (
        select(Workflow, Trigger.id, Trigger.config, Trigger.is_active)
        .outerjoin(Trigger, is_scheduled)
        .where(
            Workflow.archived_at.is_(None),
            Workflow.kind.not_in(platform_kinds()),
            or_(Trigger.id.is_not(None), Workflow.config.contains({"own_deployment": True})),
        )
    )
    if ids is not None:
        query = query.where(Workflow.id.in_(ids))
    found: dict[UUID, Wanted] = {}
    for workflow, trigger_id, config, is_active in (await session.execute(query)).tuples():
        one = found.setdefault(workflow.id, _wanted(workflow))
        if trigger_id is not None:
            schedule = ScheduledConfig.model_construct(**config)
            one.schedules[str(trigger_id)] = {
                "cron": schedule.cron,
                "timezone": schedule.timezone,
                "active": bool(is_active and workflow.is_active),
                "parameters": {"workflow_id": str(workflow.id), "trigger_data": {"trigger_id": str(trigger_id)}},
            }
    return found


def platform_kinds() -> list[str]:
    """Kinds that exist once for the platform: their schedules stand in prefect.yaml."""
    return [one.kind for one in definitions().values() if one.scope == "platform"]


def _wanted(workflow: Workflow) -> Wanted:
    project = [f"project:{workflow.project_id}"] if workflow.project_id else []
    return Wanted(
        workflow_id=workflow.id,
        kind=workflow.kind,
        description=workflow.name,
        tags=sorted([_TAG, f"workflow:{workflow.id}", *project]),
        concurrency_limit=workflow.config.get("concurrency_limit"),
        schedules={},
    )


def as_found(deployment: DeploymentResponse) -> Json:
    """What a deployment in Prefect is, without what is none of our business: schedules that people added to it."""
    limit = deployment.global_concurrency_limit
    values: dict[str, Any] = deployment.model_dump(mode="json", include=_FROM_KIND | {"description"})
    return {
        "deployment": values | {"tags": sorted(deployment.tags), "concurrency_limit": limit.limit if limit else None},
        "schedules": {
            str(one.slug): {
                "cron": getattr(one.schedule, "cron", None),
                "timezone": getattr(one.schedule, "timezone", None),
                "active": one.active,
                "parameters": one.parameters,
            }
            for one in deployment.schedules
            if is_ours(one)
        },
    }


def is_ours(schedule: DeploymentSchedule) -> bool:
    """Whether a schedule belongs to a trigger, whose id is its slug.

    One that somebody made in Prefect has another slug, none, or its own id (`automation deploy` gives it that).
    """
    try:
        return schedule.slug is not None and UUID(schedule.slug) != schedule.id
    except ValueError:
        return False


def owner_of(deployment: DeploymentResponse) -> UUID | None:
    """The workflow whose own deployment this is."""
    if f"workflow:{deployment.name}" not in deployment.tags:
        return None
    try:
        return UUID(deployment.name)
    except ValueError:
        return None
