"""The dispatcher's loop: woken by NOTIFY, by the clock, or after a second."""

import asyncio
import logging
from datetime import timedelta
from uuid import UUID

from httpx import HTTPStatusError
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun as PrefectRun
from prefect.exceptions import ObjectNotFound

from automation.database import Database
from automation.dispatcher import assign, batches, runs
from automation.dispatcher.age import QueueAge
from automation.dispatcher.dispatch import Dispatch
from automation.intake.create import WORK_CHANNEL
from automation.models import utc_now
from automation.settings import Settings

log = logging.getLogger(__name__)

_PAUSE = 1.0
"""Longest wait in seconds between two rounds, should a NOTIFY be lost."""
_UNSENT_AFTER = timedelta(seconds=10)
"""A stored run that Prefect has not confirmed by then is sent again; its idempotency key makes that harmless."""
_PARALLEL = 4
"""Calls to Prefect under way at once; a run costs its server 31 ms of CPU, so more only queue up there."""


class Dispatcher:
    """Makes flow runs of what is due. Any number may run side by side."""

    def __init__(self, database: Database, prefect: PrefectClient, settings: Settings) -> None:
        self.database = database
        self.prefect = prefect
        self.settings = settings
        self._wake = asyncio.Event()
        self._deployments: dict[str, UUID] = {}
        self._gate = asyncio.Semaphore(_PARALLEL)
        self._turn = assign.Turn(settings.project_concurrency, settings.project_concurrency_of)
        self._age = QueueAge(database, prefect, settings)

    async def run(self) -> None:
        """Dispatch until cancelled."""
        connection = await self.database.listen()
        try:
            await connection.add_listener(WORK_CHANNEL, lambda *_: self._wake.set())
            while not connection.is_closed():
                self._wake.clear()
                while await self.round():
                    pass
                await self._sleep()
        finally:
            connection.terminate()

    async def round(self) -> int:
        """One look at what is due; the number of flow runs that were made."""
        async with self.database.transaction() as session:
            capacity = self.settings.max_in_flight - await assign.in_flight(session)
            dispatches = await assign.assign(session, capacity, self._turn)
            dispatches += await batches.assign_batches(session, self.settings)
        async with self.database.transaction() as session:
            dispatches += await assign.unsent(session, _UNSENT_AFTER)
            dispatches += await batches.unsent(session, _UNSENT_AFTER)
        made = sum(await asyncio.gather(*map(self._send, dispatches)))
        await runs.tend(self.database, self.prefect)
        await self._age.look()
        return made

    async def _sleep(self) -> None:
        async with self.database.transaction() as session:
            due = await assign.next_due(session)
        pause = min(_PAUSE, (due - utc_now()).total_seconds()) if due else _PAUSE
        try:
            async with asyncio.timeout(max(pause, 0.01)):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _send(self, dispatch: Dispatch) -> bool:
        """Make the flow run in Prefect. A failure leaves it stored, to be sent again."""
        async with self._gate:
            try:
                run = await self._make(dispatch)
            except Exception as error:
                self._deployments.pop(dispatch.kind, None)
                log.warning("Prefect did not take a run of %s, trying again: %s", dispatch.kind, error)
                return False
        async with self.database.transaction() as session:
            await assign.confirm(session, dispatch.flow_run_id, run.id)
        return True

    async def _make(self, dispatch: Dispatch) -> PrefectRun:
        if dispatch.deployment_id is not None:
            try:
                return await self._make_in(dispatch.deployment_id, dispatch)
            except HTTPStatusError as error:
                if error.response.status_code != 404:  # else somebody deleted it; the kind's own does the work
                    raise
        return await self._make_in(await self._deployment(dispatch.kind), dispatch)

    async def _make_in(self, deployment_id: UUID, dispatch: Dispatch) -> PrefectRun:
        return await self.prefect.create_flow_run_from_deployment(
            deployment_id,
            parameters=dispatch.parameters,
            name=dispatch.name,
            tags=dispatch.tags,
            idempotency_key=dispatch.idempotency_key,
        )

    async def _deployment(self, kind: str) -> UUID:
        """The id of the deployment that runs this kind of workflow (`kind/kind`)."""
        if kind not in self._deployments:
            try:
                deployment = await self.prefect.read_deployment_by_name(f"{kind}/{kind}")
            except ObjectNotFound:
                raise LookupError(f"deployment {kind}/{kind} does not exist; run `automation deploy`") from None
            self._deployments[kind] = deployment.id
        return self._deployments[kind]
