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

    async def asks(session: AsyncSession) -> bool:
        mine = (Wait.execution_id.in_([item.execution_id for item in items]), Wait.status == "WAITING")
        return await session.scalar(select(Wait.id).where(*mine, Wait.kind == "approval").limit(1)) is not None

    key = "-".join(str(item.dispatch_no) for item in items)  # Prefect takes each key but once
    if await work.record(asks):
        await asuspend_flow_run(wait_for_input=Approval, key=key)
    await asuspend_flow_run(key=key)


async def past_of(flow_run: PrefectRun) -> list[State[Any]]:
    """The states of a run that begins again, oldest first; none of one that begins for the first time."""
    if flow_run.run_count <= 1 and not flow_run.empirical_policy.pause_keys:  # resuming is not counted
        return []
    async with get_client() as client:
        return sorted(await client.read_flow_run_states(flow_run.id), key=lambda state: state.timestamp)


def left_in(past: Sequence[State[Any]]) -> State[Any] | None:
    """The state that a run was in before it was scheduled, perhaps late, and taken, to begin again.

    A final one: somebody pressed Prefect's Retry button. A paused one: somebody, or the dispatcher, resumed it.
    """
    begun = max((place for place, state in enumerate(past) if state.is_running()), default=0)
    return next((one for one in reversed(past[:begun]) if not (one.is_scheduled() or one.is_pending())), None)


async def answer_of(flow_run: PrefectRun, left_in: State[Any] | None) -> Answer | None:
    """What was typed when this run was resumed in Prefect; None if it was not suspended."""
    if left_in is None or not left_in.is_paused():
        return None
    nobody = Answer(name="prefect-ui")
    keys = left_in.state_details.run_input_keyset
    if not keys:
        return nobody
    async with get_client() as client:
        try:
            given = json.loads(await client.read_flow_run_input(flow_run.id, keys["response"]))
        except (ObjectNotFound, HTTPStatusError, ValueError):
            return nobody
    return Answer(
        approve=bool(given.get("approve", True)),
        name=f"{given.get('name') or 'prefect-ui'}"[:_NAME_LENGTH],
        comment=f"{given.get('comment') or ''}"[:_COMMENT_LENGTH],
    )
