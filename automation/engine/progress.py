"""Showing how far steps have come, while they run: in our table, and, of a long one, as an artifact in Prefect."""

import logging
from collections.abc import Iterable
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from sqlalchemy import update

from automation.database import Database
from automation.models import Status, StepExecution
from automation.steps import StepContext, StepItem

log = logging.getLogger(__name__)

Place = tuple[UUID, str]


class Progress:
    """What was shown last of the steps that are under way in this flow run."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._told: dict[Place, tuple[float, str]] = {}
        self._artifacts: dict[Place, UUID] = {}

    async def show(self, working: Iterable[StepItem]) -> None:
        """Write what is new; neither a database nor a Prefect that is away disturbs the steps."""
        for context in [work.context for work in working]:
            place = (context.execution_id, context.identifier)
            if context.fraction is None or self._told.get(place) == (context.fraction, context.progress_message):
                continue
            try:
                await self._write(context)
                await self._tell_prefect(place, context)
            except Exception as error:
                log.warning("Progress could not be shown: %s", error)
            self._told[place] = (context.fraction, context.progress_message)

    async def _write(self, context: StepContext) -> None:
        mine = (StepExecution.execution_id == context.execution_id, StepExecution.identifier == context.identifier)
        async with self._database.transaction() as session:
            await session.execute(
                update(StepExecution)
                .where(*mine, StepExecution.status == Status.RUNNING)
                .values(progress=context.fraction, progress_message=context.progress_message)
            )

    async def _tell_prefect(self, place: Place, context: StepContext) -> None:
        percent = round((context.fraction or 0.0) * 100, 1)
        description = f"{context.identifier}: {context.progress_message}"
        if place in self._artifacts:
            await aupdate_progress_artifact(self._artifacts[place], progress=percent, description=description)
        else:
            key = f"progress-{context.execution_id}"
            self._artifacts[place] = await acreate_progress_artifact(percent, key=key, description=description)
