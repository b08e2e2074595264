"""Leaving the worker to wait: the flow run is Suspended in Prefect, where somebody may resume it, too.

Prefect asks whoever resumes a run that waits for an approval for a name, a comment and the answer; what is typed
there is recorded as unverified. A run that waits for anything else is resumed by the dispatcher.
"""

import json
from collections.abc import Sequence
from typing import Any

from httpx import HTTPStatusError
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun as PrefectRun
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from automation.engine.plan import Item
from automation.engine.work import Work
from automation.intake.waits import Answer
from automation.models import Wait

_NAME_LENGTH = 150
_COMMENT_LENGTH = 2000


class Approval(RunInput):
    """What Prefect's Resume button asks for."""

    approve: bool = Field(True, description="Go on? If not, the workflow fails.")
    name: str = Field("", description="Who says so. It is recorded as typed, unverified.")
    comment: str = Field("", description="Why.")


async def suspend(work: Work, items: Sequence[Item]) -> None:
    """Suspend the current flow run, since its executions wait; does not return.

    Raises:
        Pause: always; Prefect's engine leaves the run with it.
    """

    async def read(session: AsyncSession) -> Sequence[Wait]:
        ids = [item.execution_id for item in items]
        return (await session.scalars(select(Wait).where(Wait.execution_id.in_(ids)).order_by(Wait.id))).all()

    waits = await work.record(read)
    key = str(max((wait.created_at.timestamp() for wait in waits), default=0))  # Prefect takes each key but once
    if any(wait.kind == "approval" and wait.status == "WAITING" for wait in waits):
        await asuspend_flow_run(wait_for_input=Approval, key=key)
    await asuspend_flow_run(key=key)


async def past_of(flow_run: PrefectRun) -> list[State[Any]]:
    """The states of a run that begins again, oldest first; none of one that begins for the first time."""
    if flow_run.run_count <= 1:
        return []
    async with get_client() as client:
        return sorted(await client.read_flow_run_states(flow_run.id), key=lambda state: state.timestamp)


def was_retried(past: Sequence[State[Any]]) -> bool:
    """Whether somebody had the run begin again after it had ended: Prefect's Retry button."""
    last = max((place for place, state in enumerate(past) if state.is_scheduled()), default=0)
    return last > 0 and past[last - 1].is_final()


async def answer_of(flow_run: PrefectRun, past: Sequence[State[Any]]) -> Answer:
    """What somebody typed who resumed this run in Prefect; an answer without a name of a person if nobody did."""
    nobody = Answer(name="prefect-ui")
    paused = next((state for state in reversed(past) if state.is_paused()), None)
    keys = paused.state_details.run_input_keyset if paused else None
    if not keys:
        return nobody
    async with get_client() as client:
        try:
            given = json.loads(await client.read_flow_run_input(flow_run.id, keys["response"]))
        except (ObjectNotFound, HTTPStatusError, ValueError):
            return nobody  # the dispatcher resumed it
    return Answer(
        approve=bool(given.get("approve", True)),
        name=f"{given.get('name') or 'prefect-ui'}"[:_NAME_LENGTH],
        comment=f"{given.get('comment') or ''}"[:_COMMENT_LENGTH],
    )
