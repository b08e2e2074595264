"""Making the deployments in Prefect what our rows say, with as few calls as that takes.

What was written last stands in `workflow_deployments`, so that what has not changed costs no call. Any change of a
schedule makes Prefect delete the future runs of all schedules of the deployment; they are made again at once.
"""

import logging
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from httpx import HTTPStatusError
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    DeploymentFilterTags,
)
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from automation.catalog import definitions
from automation.database import Database
from automation.models import Json, WorkflowDeployment, utc_now
from automation.schedules.wanted import Wanted, as_found, is_ours, owner_of, wanted

log = logging.getLogger(__name__)

_PAGE = 200
_ENQUEUE = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE)


class Reconciler:
    """The deployments that workflows have for themselves. One process at a time may change them."""

    def __init__(self, database: Database, prefect: PrefectClient) -> None:
        self.database = database
        self.prefect = prefect
        self._kinds: dict[str, DeploymentResponse] = {}
        self._known: dict[UUID, UUID] = {}

    async def refresh(self) -> set[UUID]:
        """Note what Prefect really has.

        Returns:
            The workflows whose deployment is not what it shall be: missing, other, or too many.
        """
        found: dict[UUID, DeploymentResponse] = {}
        self._kinds.clear()
        async for deployment in self._deployments():
            if deployment.name in definitions():
                self._kinds[deployment.name] = deployment
            elif owner := owner_of(deployment):
                found[owner] = deployment
        self._known = {owner: deployment.id for owner, deployment in found.items()}
        async with self.database.transaction() as session:
            wants = await wanted(session)
            rows = await _rows(session)
            await _forget(session, rows.keys() - found.keys())
            for owner in found.keys() & wants.keys():
                held, row = as_found(found[owner]), rows.get(owner)
                if row is None or (row.deployment_id, row.applied) != (found[owner].id, held):
                    await _note(session, owner, found[owner].id, held)
        return {one.workflow_id for one in wants.values() if not self._is_right(one, found)} | (
            (found.keys() | rows.keys()) - wants.keys()
        )

    def _is_right(self, one: Wanted, found: dict[UUID, DeploymentResponse]) -> bool:
        kinds, deployment = self._kinds.get(one.kind), found.get(one.workflow_id)
        return kinds is not None and deployment is not None and as_found(deployment) == one.like(kinds)

    async def reconcile(self, ids: Collection[UUID]) -> set[UUID]:
        """Make the deployments of these workflows what they shall be, or remove them.

        Returns:
            Those for which that failed; the reason is logged.
        """
        async with self.database.transaction() as session:
            wants = await wanted(session, ids)
            rows = await _rows(session, ids)
        failed = set()
        for id_ in ids:
            try:
                if one := wants.get(id_):
                    await self._apply(one, rows.get(id_))
                else:
                    await self._remove(id_, rows.get(id_))
            except Exception as error:
                log.warning("The deployment of workflow %s is not as it shall be: %s", id_, error)
                failed.add(id_)
        return failed

    async def _apply(self, one: Wanted, row: WorkflowDeployment | None) -> None:
        shall = one.like(await self._kind(one.kind))
        if row is not None and row.applied == shall:
            return
        found = await self._read(one) if row is None else None
        deployment_id = row.deployment_id if row else found.id if found else None
        held = row.applied if row else as_found(found) if found else None
        if deployment_id and held and held["deployment"]["flow_id"] != shall["deployment"]["flow_id"]:
            await self._delete(deployment_id)
            deployment_id = None
        if deployment_id and held:
            try:
                await self._change(deployment_id, held, shall)
            except HTTPStatusError as error:
                if error.response.status_code != 404:
                    raise
                deployment_id = None  # somebody deleted it
            except ObjectNotFound:
                deployment_id = None
        if deployment_id is None:
            deployment_id = await self._create(one.workflow_id, shall)
        self._known[one.workflow_id] = deployment_id
        async with self.database.transaction() as session:
            await _note(session, one.workflow_id, deployment_id, shall)

    async def _create(self, workflow_id: UUID, shall: Json) -> UUID:
        """A new deployment; Prefect's scheduler finds it within seconds."""
        values = dict(shall["deployment"])
        schedules = [_schedule(slug, one) for slug, one in shall["schedules"].items()]
        return await self.prefect.create_deployment(
            UUID(values.pop("flow_id")), str(workflow_id), schedules=schedules, concurrency_options=_ENQUEUE, **values
        )

    async def _change(self, deployment_id: UUID, held: Json, shall: Json) -> None:
        began = utc_now()
        if held["deployment"] != shall["deployment"]:
            values = {name: value for name, value in shall["deployment"].items() if name != "flow_id"}
            await self.prefect.update_deployment(
                deployment_id, DeploymentUpdate(concurrency_options=_ENQUEUE, **values)
            )
        if held["schedules"] != shall["schedules"]:
            await self._change_schedules(deployment_id, held["schedules"], shall["schedules"])
        await self._schedule_runs(deployment_id, began)

    async def _change_schedules(self, deployment_id: UUID, held: Json, shall: Json) -> None:
        """Each by its id, so that the others, and those that people made, stay the schedules they are."""
        found = await self.prefect.read_deployment_schedules(deployment_id)
        ids = {one.slug: one.id for one in found if is_ours(one)}
        for slug, one in shall.items():
            if slug not in ids:
                await self.prefect.create_deployment_schedules(deployment_id, [_schedule(slug, one)])
            elif held.get(slug) != one:
                await self.prefect.update_deployment_schedule(
                    deployment_id,
                    ids[slug],
                    active=one["active"],
                    schedule=_cron(one),
                    parameters=one["parameters"],
                )
        for gone in ids.keys() - shall.keys():
            await self.prefect.delete_deployment_schedule(deployment_id, ids[gone])

    async def _schedule_runs(self, deployment_id: UUID, since: datetime) -> None:
        """Make the future runs again that Prefect deleted with the change; its scheduler would take up to a minute."""
        await self.prefect.request(
            "POST",
            "/deployments/{id}/schedule",
            path_params={"id": deployment_id},
            json={"start_time": since.isoformat()},
        )

    async def _remove(self, workflow_id: UUID, row: WorkflowDeployment | None) -> None:
        """The deployment of a workflow that shall have none; Prefect keeps the runs that it had."""
        deployment_id = row.deployment_id if row else self._known.get(workflow_id)
        if deployment_id is not None:
            await self._delete(deployment_id)
        self._known.pop(workflow_id, None)
        if row is not None:
            async with self.database.transaction() as session:
                await _forget(session, [workflow_id])

    async def _delete(self, deployment_id: UUID) -> None:
        with suppress(ObjectNotFound):
            await self.prefect.delete_deployment(deployment_id)

    async def _kind(self, kind: str) -> DeploymentResponse:
        if kind not in self._kinds:
            try:
                self._kinds[kind] = await self.prefect.read_deployment_by_name(f"{kind}/{kind}")
            except ObjectNotFound:
                raise LookupError(f"deployment {kind}/{kind} does not exist; run `automation deploy`") from None
        return self._kinds[kind]

    async def _read(self, one: Wanted) -> DeploymentResponse | None:
        """One that is there although we do not know it: we died when it was made."""
        chosen = DeploymentFilter(name=DeploymentFilterName(any_=[str(one.workflow_id)]))
        found = await self.prefect.read_deployments(deployment_filter=chosen, limit=1)
        return found[0] if found else None

    async def _deployments(self) -> AsyncIterator[DeploymentResponse]:
        chosen = DeploymentFilter(tags=DeploymentFilterTags(all_=["automation"]))
        offset = 0
        while True:
            page = await self.prefect.read_deployments(deployment_filter=chosen, limit=_PAGE, offset=offset)
            for deployment in page:
                yield deployment
            if len(page) < _PAGE:
                return
            offset += _PAGE


def _schedule(slug: str, one: Json) -> DeploymentScheduleCreate:
    return DeploymentScheduleCreate(schedule=_cron(one), active=one["active"], parameters=one["parameters"], slug=slug)


def _cron(one: Json) -> CronSchedule:
    return CronSchedule(cron=one["cron"], timezone=one["timezone"])


async def _rows(session: AsyncSession, ids: Collection[UUID] | None = None) -> dict[UUID, WorkflowDeployment]:
    query = select(WorkflowDeployment)
    if ids is not None:
        query = query.where(WorkflowDeployment.workflow_id.in_(ids))
    return {row.workflow_id: row for row in await session.scalars(query)}


async def _note(session: AsyncSession, workflow_id: UUID, deployment_id: UUID, applied: Json) -> None:
    values = {"deployment_id": deployment_id, "applied": applied}
    statement = insert(WorkflowDeployment).values(workflow_id=workflow_id, **values)
    await session.execute(statement.on_conflict_do_update(index_elements=["workflow_id"], set_=values))


async def _forget(session: AsyncSession, ids: Collection[UUID]) -> None:
    if ids:
        await session.execute(delete(WorkflowDeployment).where(WorkflowDeployment.workflow_id.in_(ids)))
